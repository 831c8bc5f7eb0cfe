/** A worker of the pool in a browser: gets its data, does parts of jobs until told to stop, says so. */

import { type PoolThreadData, poolThread } from "./pool-thread"

/** What the worker says to whoever started it. */
export type PoolThreadMessage = "ready" | "ended"

function say(message: PoolThreadMessage): void {
  postMessage(message)
}

addEventListener(
  "message",
  (event: MessageEvent<PoolThreadData>) => {
    poolThread(event.data, () => say("ready"))
    say("ended")
    close()
  },
  { once: true },
)
