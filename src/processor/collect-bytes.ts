/** A stream's bytes in one piece. */

import { IsaacError } from "../errors"

/**
 * @param name what the bytes are, for the message
 * @throws IsaacError `io` as soon as there are more than `maxBytes`; the stream is ended then
 */
export async function collectBytes(
  stream: AsyncIterable<Uint8Array>,
  name: string,
  maxBytes: number,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let total = 0
  for await (const chunk of stream) {
    total += chunk.byteLength
    if (total > maxBytes) throw new IsaacError("io", `${name} has more than ${maxBytes} bytes, too many for an image.`)
    chunks.push(chunk)
  }
  return joinBytes(chunks)
}

/** Pieces one after another, in memory of their own. */
export function joinBytes(chunks: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(chunks.reduce((sum, { byteLength }) => sum + byteLength, 0))
  let at = 0
  for (const chunk of chunks) {
    bytes.set(chunk, at)
    at += chunk.byteLength
  }
  return bytes
}
