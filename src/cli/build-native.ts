/** `isaac build-native`: compile the kernels for this machine, where a package came without them. */

import { fileURLToPath } from "node:url"
import type { Command } from "commander"
import { IsaacError } from "../internal"
import type { Terminal } from "./terminal"

/** tools/build-native.mjs, which is in the package beside dist/. */
interface BuildTool {
  buildNative(options: { readonly here: boolean }): Promise<string>
}

export function addBuildNative(program: Command, terminal: Terminal): void {
  program
    .command("build-native")
    .description(
      "compile the kernels with this machine's C++ compiler (c++, clang++, g++, or CXX); answers come faster",
    )
    .option("--all", "every instruction set, not only those of this processor")
    .action(async ({ all = false }: { all?: boolean }) => {
      const path = fileURLToPath(new URL("../../tools/build-native.mjs", import.meta.url))
      const { buildNative } = (await import(path)) as BuildTool
      try {
        terminal.out(`${await buildNative({ here: !all })}\n`)
      } catch (cause) {
        const why = cause instanceof Error ? cause.message : String(cause)
        throw new IsaacError("backend_unavailable", `the native kernels could not be built: ${why}`, { cause })
      }
    })
}
