/** A page in a headless Chromium that does one thing after another and tells what came of it. */

import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import type { IncomingMessage, ServerResponse } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { FileServer } from "./file-server"

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--disable-dev-shm-usage",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--window-size=900,700",
]

/** Where Chromium is; undefined where there is none. */
export function findChromium(): string | undefined {
  const { CHROME_PATH } = process.env
  return CHROME_PATH ? (existsSync(CHROME_PATH) ? CHROME_PATH : undefined) : PLACES.find((path) => existsSync(path))
}

interface Step {
  readonly body: object
  resolve(result: unknown): void
  reject(error: Error): void
}

/** The page asks for `/next` and posts to `/result`; see browser/page.js. */
export class ChromiumPage {
  #waiting: ServerResponse | undefined
  readonly #queue: Step[] = []
  #running: Step | undefined
  /** What ended it, if it did not end by `close`. */
  #lost: Error | undefined
  /** Reports of unhandled rejections and of violations of the content security policy. */
  readonly complaints: string[] = []
  #end: (() => Promise<void>) | undefined

  static async open(chromium: string, server: FileServer, path: string): Promise<ChromiumPage> {
    const page = new ChromiumPage()
    const profile = await mkdtemp(join(tmpdir(), "isaac-chromium-"))
    const child = spawn(chromium, [...FLAGS, `--user-data-dir=${profile}`, server.origin + path], {
      stdio: ["ignore", "ignore", "pipe"],
    })
    let log = ""
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      log = (log + text).slice(-4000)
    })
    const exited = new Promise<void>((resolve) => {
      const lost = (why: string) => {
        page.#fail(new Error(`Chromium ${why}:\n${log}`))
        resolve()
      }
      child.on("error", (error) => lost(`did not start (${error.message})`))
      child.on("exit", (code, signal) => lost(`ended (${code ?? signal})`))
    })
    page.#end = async () => {
      child.kill()
      const timer = setTimeout(() => child.kill("SIGKILL"), 10_000)
      await exited
      clearTimeout(timer)
      await rm(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 })
    }
    return page
  }

  /** Let the page do something; what it returns. */
  run<T>(name: string, input: object = {}): Promise<T> {
    return this.#step({ name, input }) as Promise<T>
  }

  /** Go to another page, which asks for the next thing to do. */
  async go(path: string): Promise<void> {
    await this.#step({ go: path })
  }

  /** The server's part: true when it was a request of this kind. */
  handle(path: string, request: IncomingMessage, response: ServerResponse): boolean {
    if (path === "/next") {
      this.#waiting = response
      response.setHeader("content-type", "application/json")
      this.#send()
      return true
    }
    if (path !== "/result" && path !== "/csp") return false
    let text = ""
    request.setEncoding("utf8").on("data", (part) => (text += part))
    request.on("end", () => {
      response.end()
      const body = path === "/csp" ? { complaint: text } : JSON.parse(text)
      if (body.complaint ?? body.unhandled) {
        this.complaints.push(body.complaint ?? body.unhandled)
        return
      }
      const step = this.#running
      this.#running = undefined
      if (body.error !== undefined) step?.reject(new Error(`in the page: ${body.error}`))
      else step?.resolve(body.result)
    })
    return true
  }

  async close(): Promise<void> {
    this.#lost = new Error("closed")
    this.#waiting?.end("{}")
    await this.#end?.()
  }

  #step(body: object): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#lost) {
        reject(this.#lost)
        return
      }
      this.#queue.push({ body, resolve, reject })
      this.#send()
    })
  }

  #send(): void {
    if (this.#waiting === undefined || this.#queue.length === 0) return
    const step = this.#queue.shift()!
    this.#waiting.end(JSON.stringify(step.body))
    this.#waiting = undefined
    // A page that goes elsewhere says no more.
    if ("go" in step.body) step.resolve(undefined)
    else this.#running = step
  }

  #fail(error: Error): void {
    this.#lost ??= error
    this.#running?.reject(error)
    for (const { reject } of this.#queue.splice(0)) reject(error)
  }
}
