/** The pictures named on the command line: files, URLs, data URIs, standard input. */

import { addAbortSignal } from "node:stream"
import { decodeImage, IsaacError, loadImage, type ReadImageOptions, type RgbImage, readImage } from "../internal"

/** Upright RGB pixels, in the order of the names. Throws not_found, io, bad_input, bad_image, aborted. */
export async function readPictures(
  names: readonly string[],
  signal: AbortSignal,
  options: Pick<ReadImageOptions, "allowPrivateUrls"> = {},
): Promise<RgbImage[]> {
  const stdin = (maxBytes: number) => readStdin(signal, maxBytes)
  const files = await Promise.all(names.map((name) => readImage(name, { ...options, stdin, signal })))
  // One after another: each may take hundreds of megabytes while it is decoded.
  const pictures: RgbImage[] = []
  for (const [i, file] of files.entries()) pictures.push(await loadImage(file, names[i], decodeImage))
  return pictures
}

/** Standard input to its end, or a little more than `maxBytes` of it. Throws bad_input when it is a terminal or empty. */
async function readStdin(signal: AbortSignal, maxBytes: number): Promise<Uint8Array> {
  if (process.stdin.isTTY) {
    throw new IsaacError("bad_input", "- reads a picture from standard input, which is a terminal: pipe a file into it")
  }
  const chunks: Uint8Array[] = []
  let total = 0
  for await (const chunk of addAbortSignal(signal, process.stdin)) {
    chunks.push(chunk as Uint8Array)
    total += (chunk as Uint8Array).byteLength
    if (total > maxBytes) break
  }
  if (total === 0) throw new IsaacError("bad_input", "- reads a picture from standard input, which was empty")
  return Buffer.concat(chunks)
}
