/** The pictures named on the command line: files, URLs, data URIs, standard input. */

import { addAbortSignal } from "node:stream"
import { decodeImage, IsaacError, loadImage, type RgbImage, readImage } from "../internal"

/** Upright RGB pixels, in the order of the names. Throws not_found, io, bad_image, aborted. */
export function readPictures(names: readonly string[], signal: AbortSignal): Promise<RgbImage[]> {
  return Promise.all(
    names.map(async (name) =>
      loadImage(await readImage(name, { stdin: () => readStdin(signal), signal }), name, decodeImage),
    ),
  )
}

/** All of standard input. Throws bad_input when it is a terminal or empty. */
async function readStdin(signal: AbortSignal): Promise<Uint8Array> {
  if (process.stdin.isTTY) {
    throw new IsaacError("bad_input", "- reads a picture from standard input, which is a terminal: pipe a file into it")
  }
  const chunks: Uint8Array[] = []
  for await (const chunk of addAbortSignal(signal, process.stdin)) chunks.push(chunk as Uint8Array)
  if (chunks.length === 0) throw new IsaacError("bad_input", "- reads a picture from standard input, which was empty")
  return Buffer.concat(chunks)
}
