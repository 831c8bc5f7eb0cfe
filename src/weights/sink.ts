/** Where bytes go to: the files of a folder that is being written. The writer above does not care what it is. */

/** A file that is written from its first byte to its last. */
export interface ByteSink {
  /** For messages: a path. */
  readonly name: string
  /** Append; the bytes may be reused once it resolves. Throws io. */
  write(bytes: Uint8Array): Promise<void>
  /** Nothing more comes: the bytes are where they should be. Throws io. */
  close(): Promise<void>
}

/** A folder that is being written. Its files come into being together, or not at all. */
export interface FolderSink {
  /** For messages: the folder that it will be. */
  readonly name: string
  /** Start a file, one at a time. */
  create(file: string): Promise<ByteSink>
}
