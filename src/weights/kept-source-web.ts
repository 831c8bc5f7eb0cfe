/**
 * A file that is being downloaded into the browser's storage and read from there at the same time: one stream from
 * beginning to end, readers wait until their bytes have come.
 */

import { IsaacError } from "../errors"
import { type HttpAnswer, requestFile } from "./http-request"
import { checkRange, checkVersion, type HttpFile } from "./http-sources"
import { type KeptFile, StorageFullError } from "./kept-files-web"
import { retrying, TransientError } from "./retry"
import type { ByteSource } from "./source"

interface Waiter {
  readonly need: number
  resolve(): void
  reject(error: unknown): void
}

export class KeptSource implements ByteSource {
  readonly name: string
  readonly #file: HttpFile
  readonly #kept: KeptFile
  /** Reads from the network instead, once the storage is full. */
  readonly #onFull: () => Promise<ByteSource>
  #elsewhere: Promise<ByteSource> | undefined
  /** The answer to the first request, if its body was not read yet. */
  #answer: HttpAnswer | undefined
  #download: Promise<void> | undefined
  #waiters: Waiter[] = []

  constructor(file: HttpFile, kept: KeptFile, answer: HttpAnswer | undefined, onFull: () => Promise<ByteSource>) {
    this.name = file.name
    this.#file = file
    this.#kept = kept
    this.#answer = answer
    this.#onFull = onFull
  }

  /** A server without ranges says how long the file is by sending it: for that, all of it is downloaded first. */
  async open(): Promise<ByteSource> {
    if (!this.#kept.state?.complete && (this.#answer?.ranged === false || this.#kept.state?.size === undefined)) {
      await this.#start()
      if (this.#elsewhere) return this.#elsewhere
    }
    return this
  }

  get size(): number {
    return this.#kept.state?.size ?? 0
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    if (this.#elsewhere === undefined) {
      checkRange(this.name, this.size, offset, length)
      if (this.#kept.have < offset + length) await this.#until(offset + length)
    }
    if (this.#elsewhere !== undefined) return (await this.#elsewhere).read(offset, length)
    return this.#kept.read(offset, length)
  }

  async close(): Promise<void> {}

  /** Resolves when no download is under way. */
  async idle(): Promise<void> {
    await this.#download?.catch(() => {})
  }

  async #until(need: number): Promise<void> {
    const here = new Promise<void>((resolve, reject) => this.#waiters.push({ need, resolve, reject }))
    this.#start().catch(() => {}) // told to those who wait
    return here
  }

  #start(): Promise<void> {
    this.#download ??= this.#run().then(
      () => this.#settle(undefined),
      (error) => {
        this.#download = undefined
        this.#settle(error)
        throw error
      },
    )
    return this.#download
  }

  async #run(): Promise<void> {
    const kept = this.#kept
    try {
      await retrying(
        this.#file.connection,
        () => this.#attempt(),
        () => kept.have,
      )
      if (!kept.state?.complete) kept.finish()
    } catch (error) {
      if (!(error instanceof StorageFullError)) throw error
      kept.drop()
      this.#elsewhere = this.#onFull()
      await this.#elsewhere
    }
  }

  async #attempt(): Promise<void> {
    const { url, connection, onReceived, name } = this.#file
    const kept = this.#kept
    const state = kept.state!
    if (state.size !== undefined && state.have === state.size) return
    const answer = this.#answer ?? (await requestFile(connection, url, { from: kept.have }))
    this.#answer = undefined
    if ("absent" in answer) throw new IsaacError("io", `${name} is gone from its server (status ${answer.absent})`)
    const { version } = answer
    try {
      // The length of an answer without ranges may be that of a compressed copy.
      checkVersion(this.#file, state, answer.ranged ? version : { ...version, size: undefined })
    } catch (error) {
      answer.cancel()
      kept.drop()
      throw error
    }
    if (answer.start !== kept.have) {
      if (answer.start !== 0) {
        answer.cancel()
        throw new TransientError(`${name}: the server sent other bytes than were asked for`)
      }
      // Without ranges it begins anew.
      onReceived(-kept.have)
      kept.begin(state)
    }
    const { size } = state
    for await (const piece of answer.body()) {
      kept.append(piece)
      if (kept.have === size) kept.finish()
      onReceived(piece.length)
      this.#wake()
      if (kept.have === size) return
    }
    if (size !== undefined && kept.have !== size) {
      const message = `${name} ended at byte ${kept.have} of ${size}`
      if (kept.have > size) kept.drop()
      throw new TransientError(message)
    }
  }

  #wake(): void {
    const ready = this.#waiters.filter(({ need }) => need <= this.#kept.have)
    if (ready.length === 0) return
    this.#waiters = this.#waiters.filter(({ need }) => need > this.#kept.have)
    for (const { resolve } of ready) resolve()
  }

  #settle(error: unknown): void {
    const waiters = this.#waiters
    this.#waiters = []
    for (const { resolve, reject } of waiters) {
      if (error === undefined) resolve()
      else reject(error)
    }
  }
}
