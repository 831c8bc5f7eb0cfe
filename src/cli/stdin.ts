/** A picture piped into the command. */

import { IsaacError } from "../index"

/** All of standard input. Throws bad_input when it is a terminal or empty. */
export async function readStdin(): Promise<Uint8Array> {
  if (process.stdin.isTTY) {
    throw new IsaacError("bad_input", "- reads a picture from standard input, which is a terminal: pipe a file into it")
  }
  const chunks: Uint8Array[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Uint8Array)
  if (chunks.length === 0) throw new IsaacError("bad_input", "- reads a picture from standard input, which was empty")
  return Buffer.concat(chunks)
}
