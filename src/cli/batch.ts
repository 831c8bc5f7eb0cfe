/** One question about many pictures: a line of JSON for each, as soon as it is done. */

import { mkdir } from "node:fs/promises"
import { dirname, join } from "node:path"
import type { Answer, Isaac, PixelLeaf } from "../index"
import { IsaacError, isIsaacError, type RgbImage } from "../internal"
import { BatchFile, type BatchSettings } from "./batch-file"
import { type BatchImage, drawingNames, keyOf, listImages } from "./batch-images"
import type { BatchFlags } from "./batch-options"
import { BatchProgress } from "./batch-progress"
import { drawSheets, isSheet, type SheetEntry } from "./batch-sheet"
import { drawAnswer } from "./draw"
import { Failed, Interrupted } from "./failure"
import { MOST_LOST, type ReadyPicture, readAheadOf } from "./picture-ahead"
import { readPictures } from "./pictures"
import { ProgressLine } from "./progress"
import { INTERRUPTED, type Terminal } from "./terminal"

export interface BatchWork<A extends Answer> {
  /** What a sheet is called. */
  readonly title: string
  /** Files, folders, patterns. */
  readonly operands: readonly string[]
  /** What the lines depend on, beside their pictures. */
  readonly settings: BatchSettings
  load(progress: ProgressLine): Promise<Isaac>
  ask(isaac: Isaac, picture: RgbImage): Promise<A>
  /** What the line of a picture has beside its name. */
  fields(answer: A): Record<string, unknown>
}

/**
 * Throws Failed when some pictures failed, Interrupted after Ctrl-C; in both cases what was done is written. Throws
 * what stops all of them: a model that does not load, a file that cannot be written, settings that changed.
 */
export async function runBatch<A extends Answer>(
  work: BatchWork<A>,
  flags: BatchFlags,
  terminal: Terminal,
): Promise<void> {
  const { signal } = terminal
  const line = new ProgressLine(terminal)
  line.show("looking for pictures")
  let file: BatchFile | undefined
  try {
    const { recursive, out, drawDir, sheet } = flags
    const isOwn = (path: string) => sheet !== undefined && isSheet(path, sheet)
    const images = await listImages(work.operands, { recursive, drawDir, isOwn, signal })
    file = out === undefined ? undefined : await BatchFile.open(out, work.settings, signal)
    const open = file ? unanswered(images, file) : images
    const drawings = drawDir === undefined ? undefined : drawingNames(open, file?.drawings)
    const todo = file ? failedLast(open, file) : open
    const progress = new BatchProgress(line, images.length, images.length - todo.length)
    const batch = new Batch(work, flags, terminal, { file, drawings }, line, progress)
    if (todo.length > 0) await batch.run(todo)
    if (flags.sheet !== undefined && !signal.aborted) await batch.drawSheet(flags.sheet, images)
    line.clear()
    await file?.close()
    file = undefined
    summarise(progress, terminal)
  } finally {
    line.clear()
    await file?.close()
  }
}

function unanswered(images: readonly BatchImage[], { done }: BatchFile): readonly BatchImage[] {
  const keys = new Set([...done].map(keyOf))
  return images.filter(({ image }) => !keys.has(keyOf(image)))
}

/** What failed before may fail in a way that ends everything. */
function failedLast(images: readonly BatchImage[], { failed }: BatchFile): readonly BatchImage[] {
  const keys = new Set([...failed].map(keyOf))
  const again = ({ image }: BatchImage) => Number(keys.has(keyOf(image)))
  return images.toSorted((a, b) => again(a) - again(b))
}

function summarise(progress: BatchProgress, { signal, err, errIsTty }: Terminal): void {
  // Whoever reads no further needs no summary.
  const interrupted = signal.reason === INTERRUPTED
  if (signal.aborted ? interrupted : errIsTty || progress.failed > 0) {
    err(`isaac: ${interrupted ? "interrupted: " : ""}${progress.summary()}\n`)
  }
  if (signal.aborted) throw new Interrupted()
  if (progress.failed > 0) throw new Failed()
}

/** Where the answers go. */
interface BatchWritten {
  /** Undefined: standard output. */
  readonly file: BatchFile | undefined
  /** What the drawings are called below their folder; undefined: none are wanted. */
  readonly drawings: ReadonlyMap<BatchImage, string> | undefined
}

class Batch<A extends Answer> {
  #isaac: Isaac | undefined
  /** The engine's ends, since the last answer. */
  #lost: IsaacError[] = []
  /** For the sheet, where there is no file that has them. */
  readonly #found: Record<string, unknown>[] = []

  constructor(
    private readonly work: BatchWork<A>,
    private readonly flags: BatchFlags,
    private readonly terminal: Terminal,
    private readonly written: BatchWritten,
    private readonly line: ProgressLine,
    private readonly progress: BatchProgress,
  ) {}

  async run(images: readonly BatchImage[]): Promise<void> {
    const { signal } = this.terminal
    let next: Promise<ReadyPicture> | undefined = this.#read(images[0])
    try {
      for (const [i, image] of images.entries()) {
        this.#isaac ??= await this.work.load(this.line)
        this.progress.start()
        const ready: ReadyPicture = await next!
        // While the model looks at this picture, the next one is decoded.
        next = i + 1 < images.length ? this.#read(images[i + 1]) : undefined
        if (signal.aborted) return
        const result = await this.#one(this.#isaac, image, ready)
        if (result === undefined) return
        await this.#write({ image: image.image, ...result })
        this.progress.advance("error" in result)
        if (this.#lost.length === MOST_LOST) throw this.#lost[0]
      }
    } finally {
      await this.#isaac?.dispose()
    }
  }

  #read({ image }: BatchImage): Promise<ReadyPicture> {
    const { allowPrivateUrls } = this.flags
    return readAheadOf(image, this.terminal.signal, { allowPrivateUrls })
  }

  /** The rest of the picture's line; undefined when it was interrupted. Throws what concerns all pictures. */
  async #one(isaac: Isaac, image: BatchImage, ready: ReadyPicture): Promise<Record<string, unknown> | undefined> {
    let answer: A
    try {
      if ("error" in ready) throw ready.error
      answer = await this.work.ask(isaac, ready.picture)
      this.#lost = []
    } catch (error) {
      if (this.terminal.signal.aborted) return undefined
      if (!isIsaacError(error)) throw error
      if (error.code === "worker_lost") {
        // The next picture gets a new one.
        this.#lost.push(error)
        await isaac.dispose()
        this.#isaac = undefined
      }
      return { error: { code: error.code, message: error.message } }
    }
    if (answer.finishReason === "abort") return undefined
    const fields = this.work.fields(answer)
    const drawing = this.written.drawings?.get(image)
    if (this.flags.drawDir === undefined || drawing === undefined) return fields
    // Before the line: who reads it finds the drawing.
    const path = join(this.flags.drawDir, drawing)
    await makeFolder(dirname(path))
    await drawAnswer(path, answer, [ready.picture])
    return { ...fields, drawing }
  }

  /** Answers of this run and of those before. */
  async drawSheet(sheet: string, images: readonly BatchImage[]): Promise<void> {
    const entries = new Map<string, SheetEntry>()
    for await (const fields of this.written.file?.answers() ?? this.#found) {
      const entry = sheetEntry(fields)
      entries.set(keyOf(entry.image), entry)
    }
    const { signal } = this.terminal
    const { allowPrivateUrls } = this.flags
    await drawSheets(
      sheet,
      images.flatMap(({ image }) => entries.get(keyOf(image)) ?? []),
      {
        title: this.work.title,
        read: async (image) => (await readPictures([image], signal, { allowPrivateUrls }))[0],
        onProgress: (done, total) => this.line.show(`drawing the sheet, ${done} of ${total}`),
        signal,
      },
    )
  }

  async #write(fields: Record<string, unknown>): Promise<void> {
    const { file } = this.written
    if (file) await file.append(fields)
    else {
      if (this.flags.sheet !== undefined && fields.error === undefined) this.#found.push(fields)
      this.line.clear()
      this.terminal.out(`${JSON.stringify(fields)}\n`)
    }
  }
}

/** Of a line that a batch has written; what is a number or words beside the text says more than the text. */
function sheetEntry({ image, pixels, text, caption = text, count = caption }: Record<string, unknown>): SheetEntry {
  const leaves = pixels as readonly PixelLeaf[]
  const words = leaves.length > 0 && count === text ? "" : String(count ?? "")
  return { image: image as string, pixels: leaves, words }
}

async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true }).catch((cause: Error) => {
    throw new IsaacError("io", `the folder ${path} cannot be made: ${cause.message}`, { cause })
  })
}
