import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { type AddressInfo, createServer as createNetServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { runInNewContext } from "node:vm"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { IsaacError } from "../errors"
import type { ImageFile } from "./image-input"
import { type ImageReference, type ReadImageOptions, readImage } from "./image-source-node"

const content = Uint8Array.from({ length: 1000 }, (_, i) => i & 255)
const bytesOf = async (reference: ImageReference, options?: ReadImageOptions) =>
  ((await readImage(reference, options)) as ImageFile).bytes
const failure = (reference: ImageReference, options?: ReadImageOptions) =>
  readImage(reference, options).catch((e: IsaacError) => e)

describe("files", () => {
  const folder = mkdtempSync(join(tmpdir(), "isaac-image-"))
  const path = join(folder, "a b:c.png")
  writeFileSync(path, content)
  afterAll(() => rmSync(folder, { recursive: true }))

  it("reads a path and a file address", async () => {
    expect(await readImage(path)).toEqual({ name: path, bytes: content })
    expect(await bytesOf(pathToFileURL(path))).toEqual(content)
    expect(await bytesOf(pathToFileURL(path).href)).toEqual(content)
  })

  it("names what is missing or no file", async () => {
    const missing = join(folder, "missing.png")
    expect(await failure(missing)).toMatchObject({ code: "not_found", message: expect.stringContaining(missing) })
    expect(await failure(join(path, "x"))).toMatchObject({ code: "not_found" })
    expect(await failure(folder)).toMatchObject({ code: "bad_input", message: expect.stringContaining("is a folder") })
    expect(await failure("")).toMatchObject({ code: "bad_input", message: expect.stringContaining("empty") })
    expect(await failure("file://elsewhere/x.png")).toMatchObject({ code: "bad_input" })
    expect(await failure("file:///a%2fb.png")).toMatchObject({ code: "bad_input" })
    expect(await failure("ftp://example.org/x.png")).toMatchObject({
      code: "bad_input",
      message: expect.stringContaining("ftp addresses cannot be read"),
    })
  })

  it("shows odd names without what would change a terminal, and not whole when they are long", async () => {
    const odd = await failure("a\u001b[31m\u202eb.png")
    expect(odd).toMatchObject({ code: "not_found", message: expect.stringContaining("a\\u001b[31m\\u202eb.png") })
    expect(await failure("a\0b")).toMatchObject({ code: "bad_input", message: expect.stringContaining("a\\u0000b") })
    const base64 = (await failure("iVBORw0KGgo".repeat(1000))) as IsaacError
    expect(base64).toMatchObject({ code: "bad_input", message: expect.stringContaining("data:image/png;base64,") })
    expect(base64.message.length).toBeLessThan(600)
  })

  it("refuses devices, and files that are too large, before reading them", async () => {
    for (const device of ["/dev/zero", "/dev/null", "/dev/tty"].filter((device) => existsSync(device))) {
      expect(await failure(device)).toMatchObject({
        code: "bad_input",
        message: expect.stringContaining("is a device"),
      })
    }
    const socket = join(folder, "socket")
    const server = createNetServer().listen(socket)
    await once(server, "listening")
    expect(await failure(socket)).toMatchObject({ code: "bad_input", message: expect.stringContaining("is a socket") })
    server.close()
    expect(await failure(path, { maxBytes: 999 })).toMatchObject({
      code: "io",
      message: expect.stringMatching(/has 1000 bytes.*at most 999/),
    })
    // A file that says it has no bytes, and has some.
    const status = await bytesOf("/proc/self/status").catch(() => undefined)
    if (status) {
      expect(status.length).toBeGreaterThan(100)
      expect(await failure("/proc/self/status", { maxBytes: 100 })).toMatchObject({
        code: "io",
        message: expect.stringContaining("more than 100 bytes"),
      })
    }
  })

  it.skipIf(process.getuid?.() === undefined)("says so when a file may not be read", async () => {
    const secret = join(folder, "secret.png")
    writeFileSync(secret, content, { mode: 0 })
    const user = process.geteuid!()
    if (user === 0) {
      chmodSync(folder, 0o755)
      process.seteuid!(65534) // root may read everything
    }
    const error = await failure(secret)
    process.seteuid!(user)
    expect(error).toMatchObject({
      code: "io",
      message: expect.stringMatching(/secret\.png: you may not read it \(EACCES/),
    })
  })

  describe.skipIf(process.platform === "win32")("named pipes", () => {
    const pipe = join(folder, "pipe")
    beforeAll(() => {
      execFileSync("mkfifo", [pipe])
    })
    // A writer in a process of its own: opening a pipe holds a thread until somebody reads.
    const write = (command: string) => spawn("sh", ["-c", `${command} > "$0"`, pipe], { stdio: "ignore" })

    it("are read to their end, however late it comes", async () => {
      const writer = write("{ sleep 0.1; printf abc; sleep 0.1; printf def; }")
      expect(new TextDecoder().decode(await bytesOf(pipe))).toBe("abcdef")
      await once(writer, "exit")
      const late = spawn("sh", ["-c", 'sleep 0.2; printf ghi > "$0"', pipe], { stdio: "ignore" })
      expect(new TextDecoder().decode(await bytesOf(pipe))).toBe("ghi")
      await once(late, "exit")
    })

    it("have a limit", async () => {
      const writer = write("cat /dev/zero")
      expect(await failure(pipe, { maxBytes: 1 << 20 })).toMatchObject({
        code: "io",
        message: expect.stringContaining("more than 1048576 bytes"),
      })
      await once(writer, "exit")
    })

    it("that nobody writes into are given up, and when the signal fires", async () => {
      expect(await failure(pipe, { pipeStallMs: 50 })).toMatchObject({
        code: "io",
        message: expect.stringContaining("nothing was written for 0.05 s"),
      })
      const controller = new AbortController()
      const pending = failure(pipe, { signal: controller.signal })
      setTimeout(() => controller.abort(), 30)
      expect(await pending).toMatchObject({ code: "aborted" })
    })
  })
})

describe("addresses", () => {
  it("are fetched within limits, private ones only when asked", async () => {
    const server = createServer((_, response) => response.writeHead(200, { "content-type": "image/png" }).end(content))
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/image`
    try {
      expect(await failure(url)).toMatchObject({ code: "bad_input", message: expect.stringContaining("loopback") })
      expect(await readImage(url, { allowPrivateUrls: true })).toEqual({ name: url, bytes: content })
      expect(await bytesOf(new URL(url), { allowPrivateUrls: true })).toEqual(content)
      expect(await failure(url, { allowPrivateUrls: true, maxBytes: 999 })).toMatchObject({ code: "io" })
      const signal = AbortSignal.abort()
      expect(await failure(url, { allowPrivateUrls: true, signal })).toMatchObject({ code: "aborted" })
    } finally {
      server.close()
    }
  })
})

describe("data URIs", () => {
  const base64 = Buffer.from(content).toString("base64")

  it("reads base64, URL-safe base64 and percent-encoding", async () => {
    expect(await readImage(`data:image/png;base64,${base64}`)).toEqual({
      name: "the data URI (image/png)",
      bytes: content,
    })
    expect(await bytesOf(`data:image/png;base64,${Buffer.from(content).toString("base64url")}`)).toEqual(content)
    expect(await bytesOf(`DATA:;BASE64,${encodeURIComponent(base64)}`)).toEqual(content)
    expect([...(await bytesOf("data:,a%00%ffé"))]).toEqual([0x61, 0, 0xff, 0xc3, 0xa9])
  })

  it("refuses broken and oversized ones", async () => {
    for (const uri of ["data:image/png;base64", "data:image/png;base64,#", "data:,%zz", "data:,%a"]) {
      expect(await failure(uri)).toMatchObject({ code: "bad_input" })
    }
    expect(await failure(`data:;base64,${base64}`, { maxBytes: 999 })).toMatchObject({
      code: "bad_input",
      message: expect.stringContaining("at most 999"),
    })
  })
})

describe("standard input and memory", () => {
  it("reads - through the given reader", async () => {
    const stdin = async () => content
    expect(await readImage("-", { stdin })).toEqual({ name: "standard input", bytes: content })
    expect(await failure("-", { stdin, maxBytes: 999 })).toMatchObject({ code: "io" })
    expect(await failure("-")).toMatchObject({ code: "bad_input" })
  })

  it("takes bytes and pixels", async () => {
    expect(await bytesOf(content)).toBe(content)
    expect(await bytesOf(content.buffer)).toEqual(content)
    expect(await bytesOf(new Blob([content]))).toEqual(content)
    expect(await readImage({ name: "a.png", bytes: content })).toEqual({ name: "a.png", bytes: content })
    const rgba = { width: 1, height: 1, data: Uint8Array.of(1, 2, 3, 4) }
    expect(await readImage(rgba)).toEqual({ width: 1, height: 1, data: Uint8Array.of(1, 2, 3) })
  })

  it("takes bytes of another realm, and names bytes that bring no name of their own", async () => {
    const foreign = runInNewContext("Uint8Array.of(1, 2, 3)") as Uint8Array
    expect(await readImage(foreign)).toEqual({ name: "the image", bytes: foreign })
    expect(await readImage({ name: "a\u001bb", bytes: content })).toMatchObject({ name: "a\\u001bb" })
    for (const name of ["", undefined, 7]) {
      expect(await readImage({ name: name as string, bytes: content })).toEqual({ name: "the image", bytes: content })
    }
  })

  it("refuses what is no image, naming what it is", async () => {
    const cyclic: Record<string, unknown> = {}
    cyclic.self = cyclic
    const wrong: [value: unknown, named: string][] = [
      [null, "null"],
      [undefined, "undefined"],
      [7, "7"],
      [7n, "7"],
      [Symbol("s"), "Symbol(s)"],
      [[], "an object with no fields"],
      [{}, "an object with no fields"],
      [cyclic, "an object with self"],
      [Object.create(null), "an object with no fields"],
      [() => content, "a function"],
      [new Uint8ClampedArray(3), "a Uint8ClampedArray"],
      [new DataView(new ArrayBuffer(3)), "a DataView"],
      [{ bytes: "abc" }, "an object with bytes"],
      [Promise.resolve(content), "an object with no fields"],
    ]
    for (const [value, named] of wrong) {
      expect(await failure(value as ImageReference)).toMatchObject({
        code: "bad_input",
        message: expect.stringContaining(`the image must be the bytes of an image file`),
      })
      expect(((await failure(value as ImageReference)) as IsaacError).message).toContain(`but is ${named}`)
    }
    for (const empty of [
      new Uint8Array(0),
      new ArrayBuffer(0),
      new Blob([]),
      { name: "e", bytes: new Uint8Array(0) },
    ]) {
      expect(await failure(empty)).toMatchObject({ code: "bad_image", message: expect.stringContaining("is empty") })
    }
    const unreadable = { size: 3e9, arrayBuffer: () => Promise.reject(new Error("gone")) }
    const blob: Blob = Object.setPrototypeOf(unreadable, Blob.prototype)
    expect(await failure(blob)).toMatchObject({
      code: "io",
      message: expect.stringContaining("3000000000 bytes"),
    })
    expect(await failure(Object.assign(blob, { size: 3 }))).toMatchObject({
      code: "io",
      message: expect.stringContaining("gone"),
    })
  })
})
