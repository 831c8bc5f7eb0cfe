/** Builds the sources into a package of their own in a temporary folder, to run the command and programs for real. */

import { execFile, spawn } from "node:child_process"
import { copyFile, cp, mkdir, mkdtemp, readdir, rm, symlink } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"

const root = fileURLToPath(new URL("..", import.meta.url))

export interface BuiltPackage {
  readonly folder: string
  /** Run `isaac` with these arguments; standard input as given. */
  isaac(args: readonly string[], input?: Uint8Array): Promise<Ended>
  /** Start a program of the package: a path in it, and arguments. */
  start(file: string, args: readonly string[]): Running
  remove(): Promise<void>
}

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly out: string
  readonly err: string
}

export interface Running {
  readonly process: ReturnType<typeof spawn>
  readonly ended: Promise<Ended>
}

/** JavaScript as the package has it (no types); kernels from the last build, or none: then the reference runs. */
export async function buildPackage(): Promise<BuiltPackage> {
  const folder = await mkdtemp(join(tmpdir(), "isaac-package-"))
  const tsdown = join(root, "node_modules", "tsdown", "dist", "run.mjs")
  const args = [tsdown, "--out-dir", join(folder, "dist"), "--no-dts", "--log-level", "error"]
  await promisify(execFile)(process.execPath, args, { cwd: root })
  await mkdir(join(folder, "dist", "ops", "cpu"), { recursive: true })
  const kernels = join(root, "dist", "ops", "cpu")
  for (const file of await readdir(kernels).catch(() => [])) {
    if (/\.(wasm|node)$/.test(file)) await copyFile(join(kernels, file), join(folder, "dist", "ops", "cpu", file))
  }
  await copyFile(join(root, "package.json"), join(folder, "package.json"))
  for (const name of ["bin", "examples"]) await cp(join(root, name), join(folder, name), { recursive: true })
  for (const name of ["models", "node_modules"]) await symlink(join(root, name), join(folder, name))

  const start = (file: string, args: readonly string[]): Running => {
    const child = spawn(process.execPath, [join(folder, file), ...args], { cwd: folder })
    const ended = new Promise<Ended>((resolve) => {
      let [out, err] = ["", ""]
      child.stdout.setEncoding("utf8").on("data", (text) => (out += text))
      child.stderr.setEncoding("utf8").on("data", (text) => (err += text))
      child.on("close", (code, signal) => resolve({ code, signal, out, err }))
    })
    return { process: child, ended }
  }
  return {
    folder,
    start,
    isaac(args, input) {
      const { process: child, ended } = start(join("bin", "isaac.js"), args)
      child.stdin!.end(input)
      return ended
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  }
}
