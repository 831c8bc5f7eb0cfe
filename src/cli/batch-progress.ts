/** How far a batch is, for people: a bar, how many a minute, how long it will take. */

import type { ProgressLine } from "./progress"

const BAR = 24

export class BatchProgress {
  readonly #line: ProgressLine
  readonly #total: number
  #done: number
  readonly #before: number
  #failed = 0
  #start: number | undefined
  #end = 0

  /** @param before of the total, how many an earlier run has done */
  constructor(line: ProgressLine, total: number, before: number) {
    this.#line = line
    this.#total = total
    this.#done = before
    this.#before = before
  }

  /** The first picture is begun now; what came before was loading. */
  start(now = performance.now()): void {
    if (this.#start !== undefined) return
    this.#start = now
    this.#end = now
    this.#show(now)
  }

  /** One more picture is done, or has failed. */
  advance(failed: boolean, now = performance.now()): void {
    this.#done++
    if (failed) this.#failed++
    this.#end = now
    this.#show(now)
  }

  get failed(): number {
    return this.#failed
  }

  /** "98 of 100 pictures, 2 of them failed, 40 were done before; 61.2 a minute" */
  summary(): string {
    const count = `${this.#done} of ${this.#total} ${this.#total === 1 ? "picture" : "pictures"}`
    const failed = this.#failed === 0 ? "" : `, ${this.#failed} of them failed`
    const before = this.#before === 0 ? "" : `, ${this.#before} were done before`
    const rate = this.#rate(this.#end)
    return `${count}${failed}${before}${rate === undefined ? "" : `; ${rate.toFixed(1)} a minute`}`
  }

  #show(now: number): void {
    const part = this.#total === 0 ? 1 : this.#done / this.#total
    const full = Math.floor(part * BAR)
    const rate = this.#rate(now)
    const left = rate && this.#done < this.#total ? `  ${duration((this.#total - this.#done) / rate)} left` : ""
    this.#line.show(
      `${"█".repeat(full)}${"░".repeat(BAR - full)} ${this.#done}/${this.#total}` +
        (this.#failed > 0 ? `, ${this.#failed} failed` : "") +
        (rate === undefined ? "" : `  ${rate.toFixed(1)}/min`) +
        left,
    )
  }

  /** Pictures of this run a minute; undefined until there is one. */
  #rate(now: number): number | undefined {
    const done = this.#done - this.#before
    if (this.#start === undefined || done === 0 || now <= this.#start) return undefined
    return done / ((now - this.#start) / 60_000)
  }
}

/** Minutes → "0:05", "12:30", "1:02:03" */
function duration(minutes: number): string {
  const seconds = Math.ceil(minutes * 60)
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60]
  const two = (n: number) => String(n).padStart(2, "0")
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`
}
