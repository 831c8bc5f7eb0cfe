/** A browser's private file system and its locks, in memory, with a quota. */

class DomError extends Error {
  constructor(
    override readonly name: string,
    message = name,
  ) {
    super(message)
  }
}

class FakeFile {
  #room = new Uint8Array(0)
  #size = 0
  inUse = false

  get bytes(): Uint8Array {
    return this.#room.subarray(0, this.#size)
  }

  set bytes(bytes: Uint8Array) {
    this.#room = bytes.slice()
    this.#size = bytes.length
  }

  resize(size: number): void {
    if (size > this.#room.length) {
      const room = new Uint8Array(size * 2)
      room.set(this.bytes)
      this.#room = room
    } else {
      this.#room.fill(0, size)
    }
    this.#size = size
  }
}

export class FakeOpfs {
  /** Path → file. */
  readonly files = new Map<string, FakeFile>()
  quota = Number.POSITIVE_INFINITY
  /** What `estimate` says, if not the truth. */
  estimated: number | undefined
  readonly #held = new Map<string, Promise<unknown>>()

  get usage(): number {
    return [...this.files.values()].reduce((sum, { bytes }) => sum + bytes.length, 0)
  }

  /** Kept files, by their names. */
  find(name: string): FakeFile | undefined {
    return [...this.files].find(([path]) => path.endsWith(`/${name}`))?.[1]
  }

  readonly storage = {
    estimate: async () => ({ quota: this.estimated ?? this.quota, usage: this.usage }),
    getDirectory: async () => this.#folder("") as unknown as FileSystemDirectoryHandle,
  }

  /** One holder at a time, in order of asking. */
  readonly locks = {
    request: async (name: string, options: LockOptions | ((lock: object | null) => unknown), then?: unknown) => {
      const run = (then ?? options) as (lock: object | null) => unknown
      const { ifAvailable, signal } = typeof options === "function" ? ({} as LockOptions) : options
      if (signal?.aborted) throw new DomError("AbortError")
      const before = this.#held.get(name)
      if (before !== undefined && ifAvailable) return run(null)
      const turn = (async () => {
        await before
        if (signal?.aborted) throw new DomError("AbortError")
        return run({ name })
      })()
      const settled = turn.then(
        () => {},
        () => {},
      )
      this.#held.set(name, settled)
      settled.then(() => {
        if (this.#held.get(name) === settled) this.#held.delete(name)
      })
      const aborted = new Promise<never>((_, reject) => {
        signal?.addEventListener("abort", () => reject(new DomError("AbortError")))
      })
      return Promise.race([turn, aborted])
    },
  } as unknown as Pick<LockManager, "request">

  #folder(path: string): object {
    const names = () =>
      [...this.files.keys()].filter((file) => file.startsWith(`${path}/`)).map((file) => file.slice(path.length + 1))
    return {
      getDirectoryHandle: async (name: string) => this.#folder(`${path}/${name}`),
      getFileHandle: async (name: string) => this.#file(`${path}/${name}`),
      keys: async function* (this: void) {
        yield* names()
      },
    }
  }

  #file(path: string): object {
    const file = this.files.get(path) ?? new FakeFile()
    this.files.set(path, file)
    return {
      createSyncAccessHandle: async () => {
        if (file.inUse) throw new DomError("NoModificationAllowedError")
        file.inUse = true
        return this.#handle(file)
      },
    }
  }

  #handle(file: FakeFile): object {
    let open = true
    const check = () => {
      if (!open) throw new DomError("InvalidStateError", "the handle is closed")
    }
    const resize = (size: number) => {
      if (size > file.bytes.length && this.usage + size - file.bytes.length > this.quota) {
        throw new DomError("QuotaExceededError")
      }
      file.resize(size)
    }
    return {
      getSize: () => file.bytes.length,
      flush: check,
      truncate: (size: number) => {
        check()
        resize(size)
      },
      read: (into: Uint8Array, { at }: { at: number }) => {
        check()
        const part = file.bytes.subarray(at, at + into.length)
        into.set(part)
        return part.length
      },
      write: (from: Uint8Array, { at }: { at: number }) => {
        check()
        if (at + from.length > file.bytes.length) resize(at + from.length)
        file.bytes.set(from, at)
        return from.length
      },
      close: () => {
        open = false
        file.inUse = false
      },
    }
  }
}
