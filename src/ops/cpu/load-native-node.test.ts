import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import { copyFile, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { Worker } from "node:worker_threads"
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest"
import { ADDON, hasAddon } from "../../../test/native-addon"
import type { Backend } from "../backend"
import { createNativeBackend, type NativeBackendOptions, platformPackage } from "./load-native-node"

const ROOT = fileURLToPath(new URL("../../../", import.meta.url))

const made: Backend[] = []
let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "isaac-native-test-"))
})
afterEach(async () => {
  vi.unstubAllEnvs()
  for (const backend of made.splice(0)) await backend.dispose()
  await rm(folder, { recursive: true })
})

async function create(options: NativeBackendOptions): Promise<Backend> {
  const backend = await createNativeBackend({ threads: 1, ...options })
  made.push(backend)
  return backend
}

describe("the build", () => {
  const build = (env: Record<string, string>, ...flags: string[]) =>
    promisify(execFile)(
      process.execPath,
      [join(ROOT, "tools/build-native.mjs"), "--out", join(folder, "out.node"), ...flags],
      {
        env: { HOME: folder, ...env },
      },
    )

  test("without a compiler says so in a line, and is no failure", async () => {
    for (const env of [{ PATH: "/nowhere" }, { PATH: "/nowhere", CXX: join(folder, "no-compiler") }]) {
      const { stdout } = await build(env as Record<string, string>, "--soft")
      expect(stdout).toMatch(/^build-native: no C\+\+ compiler \(.*\): WebAssembly serves instead\n$/)
    }
  })

  test("with a compiler that fails is a line for an install, an error for a developer", async () => {
    const compiler = join(folder, "c++")
    const script =
      '#!/bin/sh\ncase "$1" in --version) echo one;; *) echo "out of order" >&2; echo more >&2; exit 1;; esac\n'
    await writeFile(compiler, script, { mode: 0o755 })
    const { stdout } = await build({ CXX: compiler, PATH: "/usr/bin:/bin" }, "--soft")
    expect(stdout).toMatch(/^build-native: .*c\+\+ failed: out of order.*WebAssembly serves instead\n$/)
    await expect(build({ CXX: compiler, PATH: "/usr/bin:/bin" })).rejects.toMatchObject({ code: 1 })
    expect(existsSync(join(folder, "out.node"))).toBe(false)
  })
})

test.skipIf(!hasAddon)(
  "the package for a platform is what the loader looks for (skipped without an addon)",
  async () => {
    const tool = join(ROOT, "tools/pack-platform.mjs")
    await promisify(execFile)(process.execPath, [tool, "--out", folder, "--addon", ADDON])
    const name = platformPackage()
    const about = JSON.parse(await readFile(join(folder, name, "package.json"), "utf8"))
    const main = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"))
    expect(about).toMatchObject({ name, version: main.version, os: [process.platform], cpu: [process.arch] })
    expect(about.scripts).toBeUndefined()
    const backend = await create({ path: join(folder, name, "isaac.node") })
    expect(backend.info.name).toBe("native")
  },
)

test("a platform's package has the platform in its name", () => {
  expect(platformPackage("linux", "x64")).toBe("isaac-vlm-linux-x64")
})

describe.skipIf(!hasAddon)("the addon (skipped where none was built, without a C++ compiler)", () => {
  test("takes the best instruction set, or the one that is asked for", async () => {
    const best = (await create({})).info.isa
    vi.stubEnv("ISAAC_INSTRUCTION_SET", best)
    expect((await create({})).info.isa).toBe(best)
    await expect(create({ instructionSet: "abacus" })).rejects.toMatchObject({
      code: "backend_unavailable",
      message: expect.stringMatching(new RegExp(`does not run "abacus" here: it has .*${best}`)),
    })
  })

  test("a file that is none, a part of one and a damaged one are refused; the process lives", async () => {
    const text = join(folder, "text.node")
    await writeFile(text, "this is no addon")
    await expect(create({ path: text })).rejects.toMatchObject({
      code: "backend_unavailable",
      message: expect.stringMatching(/text\.node failed in a trial: /),
    })

    const part = join(folder, "part.node")
    await copyFile(ADDON, part)
    await truncate(part, 100_000)
    await expect(create({ path: part })).rejects.toMatchObject({ code: "backend_unavailable" })

    // Everything behind the headers: tables that lead nowhere, and code that ends the process where it is called.
    const damaged = join(folder, "damaged.node")
    const bytes = await readFile(ADDON)
    await writeFile(damaged, bytes.fill(0xcc, 4096, Math.floor(bytes.length * 0.9)))
    await expect(create({ path: damaged })).rejects.toMatchObject({
      code: "backend_unavailable",
      message: expect.stringMatching(/damaged\.node.*(in a trial|computes)/),
    })

    await expect(create({ path: join(folder, "nothing.node") })).rejects.toMatchObject({ code: "backend_unavailable" })
  })

  test("senseless numbers of threads are bad_input", async () => {
    for (const threads of [0, -1, 1.5, 1000]) {
      await expect(create({ threads })).rejects.toMatchObject({ code: "bad_input" })
    }
  })

  test("memory ends where it was told to, and what was freed can be had again", async () => {
    const backend = await create({ memoryLimit: 4 << 20, growBytes: 1 << 20 })
    const rows = (n: number) => backend.upload(new Float32Array(n << 18), [n, 1 << 18])
    const first = rows(2)
    expect(() => rows(3)).toThrow(expect.objectContaining({ code: "out_of_memory" }))
    backend.free(first)
    backend.free(rows(2))
  })

  test("an abort ends a running operation soon, and the next one is right", async () => {
    const abort = new Int32Array(new SharedArrayBuffer(4))
    const backend = await create({ threads: 2, abort })
    // Some seconds of work on one core; the flag is set by a thread while the operation runs.
    const [T, K, N] = [4096, 2048, 4096]
    const w = backend.createWeight([N, K], "f32")
    const x = backend.upload(new Float32Array(T * K).fill(1), [T, K])
    const setter = new Worker(
      `const { workerData } = require("node:worker_threads"); setTimeout(() => Atomics.store(workerData, 0, 1), 50)`,
      { eval: true, workerData: abort },
    )
    let runs = 0
    expect(() => {
      for (; runs < 1000; runs++) backend.free(backend.linear(x, w))
    }).toThrow(expect.objectContaining({ code: "aborted" }))
    await setter.terminate()
    abort[0] = 0
    const y = backend.linear(x, w, { residual: backend.upload(new Float32Array(T * N).fill(2), [T, N]) })
    expect((await backend.read(backend.rows(y, 4095, 4096))).every((value) => value === 2)).toBe(true)
  })

  test("workers that load it at once and are ended in the middle of a job leave nothing behind", async () => {
    const source = `
      const { parentPort } = require("node:worker_threads")
      const addon = require(${JSON.stringify(ADDON)})
      const made = addon.create(addon.instructionSets()[0], 2, ["limit_multiply"])
      const { start, buffer } = addon.grow(64 << 20)
      new Uint8Array(buffer).fill(1)
      new Float64Array(made.arguments).set([start, start, 100_000])
      parentPort.postMessage("at work")
      for (;;) addon.run(made.engine, 0, 0, 16, false)`
    const round = async () => {
      const workers = [0, 1, 2].map(() => new Worker(source, { eval: true }))
      await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once("message", resolve))))
      await Promise.all(workers.map((worker) => worker.terminate()))
    }
    await round()
    const before = process.memoryUsage.rss()
    for (let i = 0; i < 4; i++) await round()
    // Twelve workers had 64 MiB each.
    expect(process.memoryUsage.rss() - before).toBeLessThan(300 << 20)
  })

  describe("weights in a file", () => {
    const [N, K] = [70, 130]
    const numbers = Float32Array.from({ length: N * K }, (_, i) => Math.sin(i))

    /** A file with 64 bytes of something else before the panels. */
    async function file(backend: Backend, change: (bytes: Uint8Array) => void = () => {}) {
      const w = backend.loadWeight(new Uint8Array(numbers.buffer), "F32", [N, K], "q8")
      const panels = await backend.readWeight(w)
      const path = join(folder, "weights.bin")
      const bytes = new Uint8Array(64 + panels.length)
      bytes.set(panels, 64)
      change(bytes)
      await writeFile(path, bytes)
      return { w, place: { path, fileBytes: bytes.length, offset: 64 } }
    }

    test("give what the same weights in memory give, count as memory, and are let go", async () => {
      const backend = await create({})
      const { w, place } = await file(backend)
      const used = backend.memory().used
      const mapped = backend.mapWeight!(place, "Q8", [N, K])
      const again = backend.mapWeight!(place, "Q8", [N, K])
      expect(backend.memory().used - used).toBe(mapped.bytes * 2)
      const x = backend.upload(numbers.subarray(0, 3 * K), [3, K])
      expect(await backend.read(backend.linear(x, again))).toEqual(await backend.read(backend.linear(x, w)))
      backend.free(mapped)
      expect(await backend.read(backend.embed(Int32Array.of(69), again))).toEqual(
        await backend.read(backend.embed(Int32Array.of(69), w)),
      )
      backend.free(again)
      expect(() => backend.linear(x, again)).toThrow(/freed/)
    })

    test("that are damaged, too short, misplaced or not there are refused", async () => {
      const backend = await create({})
      const map = (place: Parameters<NonNullable<Backend["mapWeight"]>>[0]) => () =>
        backend.mapWeight!(place, "Q8", [N, K])
      const { place } = await file(backend)
      const used = backend.memory().used
      expect(map({ ...place, offset: 60 })).toThrow(expect.objectContaining({ code: "bad_input" }))
      expect(map({ ...place, offset: 128 })).toThrow(expect.objectContaining({ code: "bad_input" }))
      expect(map({ ...place, fileBytes: place.fileBytes + 1 })).toThrow(/weights\.bin cannot be mapped.*shorter/)
      expect(map({ ...place, path: join(folder, "none") })).toThrow(expect.objectContaining({ code: "io" }))
      const eighth = await file(backend, (bytes) => {
        bytes[64 + 64 + 5] |= 0x80
      })
      expect(map(eighth.place)).toThrow(expect.objectContaining({ code: "bad_input" }))
      const infinite = await file(backend, (bytes) => bytes.set([0x80, 0x7f], 64))
      expect(map(infinite.place)).toThrow(expect.objectContaining({ code: "not_finite" }))
      backend.free(eighth.w, infinite.w)
      expect(backend.memory().used).toBe(used)
    })
  })
})
