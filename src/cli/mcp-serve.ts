/** The server of `isaac mcp` between standard input and output, from the first line to the last. */

import { Writable } from "node:stream"
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js"
import { IsaacError, plainText } from "../internal"
import type { McpFlags } from "./mcp"
import { type LoadModel, McpModel } from "./mcp-model"
import { PictureReader } from "./mcp-pictures"
import { createMcpServer } from "./mcp-server"
import { version } from "./package-version"
import type { Terminal } from "./terminal"

/** Longest line of the protocol: a picture of 64 MiB as a data URI, and what is around it. */
const MAX_LINE = 96 << 20

/**
 * Until standard input ends or `terminal.signal` fires. Throws for a model that cannot be loaded with --preload.
 *
 * @param load for tests
 */
export async function serveMcp(flags: McpFlags, terminal: Terminal, load?: LoadModel): Promise<void> {
  const { signal } = terminal
  const log = (text: string) => terminal.err(`isaac: ${plainText(text)}\n`)
  const pictures = await PictureReader.open(flags)
  const model = new McpModel(flags, log, load)
  const server = createMcpServer({ model, pictures, version: version() })
  const input = terminal.keyboard.input
  const output = new Writable({
    decodeStrings: false,
    write(text, _encoding, done) {
      terminal.out(String(text))
      done()
    },
  })
  try {
    let failure: Error | undefined
    const ended = new Promise<void>((resolve) => {
      server.server.onclose = resolve
      input.once("end", resolve)
      input.once("close", resolve)
      signal.addEventListener("abort", () => resolve(), { once: true })
    })
    server.server.onerror = (error) => {
      failure = error
      log(error.message)
    }
    if (signal.aborted || input.readableEnded) return
    const transport = new StdioServerTransport(input, output, { maxBufferSize: MAX_LINE })
    await server.connect(transport)
    // The client is heard while the model loads: it gives up on a server that keeps silent.
    const unloadable = new Promise<never>((_, reject) => {
      if (flags.preload) model.load(signal).catch(reject)
    })
    await Promise.race([ended, unloadable])
    if (failure && /maximum size/.test(failure.message)) {
      throw new IsaacError("bad_input", `a message on standard input is longer than ${MAX_LINE} bytes`, {
        cause: failure,
      })
    }
  } finally {
    // Whoever still waits for an answer is gone.
    await server.close()
    await model.dispose()
  }
}
