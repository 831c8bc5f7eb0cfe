/** Files mapped into an engine's memory, each once, as long as anything in it is in use. */

import type { FilePlace } from "../backend"
import type { Engine, Region } from "./engine"

interface MappedFile {
  readonly region: Region
  users: number
}

export class MappedFiles {
  private readonly files = new Map<string, MappedFile>()

  constructor(private readonly engine: Engine) {}

  /** Address of this place. Throws io. */
  open({ path, fileBytes, offset }: FilePlace): number {
    const file = this.files.get(path) ?? { region: this.engine.map!(path, fileBytes), users: 0 }
    this.files.set(path, file)
    file.users++
    return file.region.start + offset
  }

  /** What `open` was called for is no longer in use. */
  close(path: string): void {
    const file = this.files.get(path)
    if (!file || --file.users > 0) return
    this.files.delete(path)
    this.engine.unmap!(file.region)
  }
}
