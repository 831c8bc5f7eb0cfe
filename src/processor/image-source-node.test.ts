import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer, type RequestListener, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
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
    // A name that cannot be looked up says nothing about what is there.
    expect(await failure("a".repeat(5000))).toMatchObject({
      code: "io",
      message: expect.stringContaining("ENAMETOOLONG"),
    })
    expect(await failure(folder)).toMatchObject({ code: "bad_input", message: expect.stringContaining("is a folder") })
    expect(await failure("")).toMatchObject({ code: "bad_input", message: expect.stringContaining("empty") })
    expect(await failure("file://elsewhere/x.png")).toMatchObject({ code: "bad_input" })
    expect(await failure("ftp://example.org/x.png")).toMatchObject({
      code: "bad_input",
      message: expect.stringContaining("ftp addresses cannot be read"),
    })
  })

  it("ends an endless file at the limit", async () => {
    expect(await failure("/dev/zero", { maxBytes: 1 << 20 })).toMatchObject({
      code: "io",
      message: expect.stringContaining("more than"),
    })
  })
})

describe("addresses", () => {
  let server: Server
  let base: string
  const routes: Record<string, RequestListener> = {
    "/image": (_, response) => response.end(content),
    "/missing": (_, response) => response.writeHead(404).end(),
    "/broken": (_, response) => response.writeHead(500).end(),
    "/once": (_, response) => response.writeHead(302, { location: "/image" }).end(),
    "/loop": (_, response) => response.writeHead(302, { location: "/loop" }).end(),
    "/local": (_, response) => response.writeHead(302, { location: "file:///etc/hostname" }).end(),
    "/promises-much": (_, response) => response.writeHead(200, { "content-length": 5000 }).end(content),
    "/sends-much": (_, response) => {
      for (let i = 0; i < 5; i++) response.write(content)
      response.end()
    },
    "/stalls": (_, response) => response.write(content),
    "/dies": (_, response) => {
      response.writeHead(200, { "content-length": 5000 })
      response.write(content, () => response.destroy())
    },
  }
  beforeAll(async () => {
    server = createServer((request, response) => routes[request.url ?? ""](request, response))
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  afterAll(() => {
    server.closeAllConnections()
    server.close()
  })

  it("downloads, also through a redirect", async () => {
    expect(await bytesOf(`${base}/image`)).toEqual(content)
    expect(await bytesOf(new URL(`${base}/once`))).toEqual(content)
  })

  it("names the address and the answer", async () => {
    expect(await failure(`${base}/missing`)).toMatchObject({
      code: "not_found",
      message: expect.stringContaining(`${base}/missing answered 404`),
    })
    expect(await failure(`${base}/broken`)).toMatchObject({ code: "io", message: expect.stringContaining("500") })
    expect(await failure(`${base}/dies`)).toMatchObject({ code: "io", message: expect.stringContaining("/dies") })
    expect(await failure("http://127.0.0.1:1/x")).toMatchObject({
      code: "io",
      message: expect.stringContaining("http://127.0.0.1:1/x"),
    })
  })

  it("bounds redirects, size and time", async () => {
    expect(await failure(`${base}/loop`)).toMatchObject({
      code: "io",
      message: expect.stringContaining("redirects more than 5 times"),
    })
    expect(await failure(`${base}/once`, { maxRedirects: 0 })).toMatchObject({ code: "io" })
    expect(await failure(`${base}/local`)).toMatchObject({ code: "io", message: expect.stringContaining("file:") })
    expect(await failure(`${base}/promises-much`, { maxBytes: 4000 })).toMatchObject({
      code: "io",
      message: expect.stringContaining("5000 bytes"),
    })
    expect(await failure(`${base}/sends-much`, { maxBytes: 4000 })).toMatchObject({
      code: "io",
      message: expect.stringContaining("more than 4000 bytes"),
    })
    expect(await failure(`${base}/stalls`, { timeoutMs: 100 })).toMatchObject({
      code: "io",
      message: expect.stringContaining("within 0.1 s"),
    })
  })

  it("stops when the signal fires", async () => {
    const controller = new AbortController()
    const pending = failure(`${base}/stalls`, { signal: controller.signal })
    setTimeout(() => controller.abort(), 20)
    expect(await pending).toMatchObject({ code: "aborted" })
    expect(await failure(`${base}/image`, { signal: controller.signal })).toMatchObject({ code: "aborted" })
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
    for (const wrong of [null, undefined, 7, [], {}]) {
      expect(await failure(wrong as unknown as ImageReference)).toMatchObject({ code: "bad_input" })
    }
  })
})
