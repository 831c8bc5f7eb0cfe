/** How far a call is, told to a client that asked for it. */

import type { RequestHandlerExtra } from "@modelcontextprotocol/sdk/shared/protocol.js"
import type { ServerNotification, ServerRequest } from "@modelcontextprotocol/sdk/types.js"
import type { AskOptions, LoadProgress } from "../index"

type AnswerProgress = Parameters<NonNullable<AskOptions["onProgress"]>>[0]

/** A notice for every token would be most of what is sent. */
const LEAST_MS = 200

export class ProgressNotices {
  readonly #extra: RequestHandlerExtra<ServerRequest, ServerNotification>
  /** Counts notices: they must grow, and nobody knows how many tokens an answer will have. */
  #count = 0
  #stage = ""
  #last = Number.NEGATIVE_INFINITY

  constructor(extra: RequestHandlerExtra<ServerRequest, ServerNotification>) {
    this.#extra = extra
  }

  loading({ stage, message, fraction }: LoadProgress): void {
    if (stage === "notice") this.#send(message, message)
    else this.#send(stage, `${stage === "weights" ? "loading weights" : message} ${Math.round(fraction * 100)} %`)
  }

  answering({ stage, done, total }: AnswerProgress): void {
    if (stage === "pictures") this.#send(stage, "looking at the picture")
    else if (stage === "prompt") {
      this.#send(stage, `reading the question ${Math.floor((100 * done) / Math.max(total, 1))} %`)
    } else this.#send(stage, `answering, ${done} ${done === 1 ? "token" : "tokens"}`)
  }

  #send(stage: string, message: string): void {
    const progressToken = this.#extra._meta?.progressToken
    if (progressToken === undefined || this.#extra.signal.aborted) return
    const now = performance.now()
    if (stage === this.#stage && now - this.#last < LEAST_MS) return
    this.#stage = stage
    this.#last = now
    this.#count++
    this.#extra
      .sendNotification({
        method: "notifications/progress",
        params: { progressToken, progress: this.#count, message },
      })
      .catch(() => {}) // the client is gone, which the call learns by its signal
  }
}
