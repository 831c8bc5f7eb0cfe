/**
 * The conformance suite over an addon with AddressSanitizer and UndefinedBehaviorSanitizer: reads and writes past a
 * tensor's ends, misaligned and overflowing arithmetic. Memory is taken piece by piece, so that each has its own ends.
 *
 *   node tools/test-sanitized.mjs
 *
 * Passes, in a line, where there is no C++ compiler or it has no sanitizers.
 */

import { execFileSync, spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { buildNative } from "./build-native.mjs"

const root = fileURLToPath(new URL("..", import.meta.url))
const addon = join(root, "dist/ops/cpu/isaac-sanitized.node")

/** The compiler's runtime libraries, which have to be in the process before anything else. */
function runtimes() {
  if (process.platform !== "linux") return undefined
  const paths = ["libasan.so", "libubsan.so"].map((library) => {
    const options = { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }
    return execFileSync(process.env.CXX ?? "c++", [`-print-file-name=${library}`], options).trim()
  })
  return paths.every((path) => path.startsWith("/") && existsSync(path)) ? paths : undefined
}

try {
  const libraries = runtimes()
  if (!libraries) throw new Error("this compiler has no shared sanitizer libraries")
  console.log(await buildNative({ sanitize: true, here: true, out: addon }))
  const { status } = spawnSync(
    process.execPath,
    [join(root, "node_modules/vitest/vitest.mjs"), "run", "src/ops/cpu/native.test.ts", "--testTimeout", "120000"],
    {
      cwd: root,
      stdio: "inherit",
      env: {
        ...process.env,
        LD_PRELOAD: libraries.join(" "),
        // Node itself leaks at its end, and takes signals of its own.
        ASAN_OPTIONS: "detect_leaks=0:handle_segv=0:allocator_may_return_null=1",
        UBSAN_OPTIONS: "print_stacktrace=1:halt_on_error=1",
        ISAAC_SANITIZED_ADDON: addon,
      },
    },
  )
  process.exitCode = status ?? 1
} catch (error) {
  console.log(`test-sanitized: skipped, ${error.message.split("\n")[0]}`)
}
