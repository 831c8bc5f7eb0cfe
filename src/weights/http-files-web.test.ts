import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { FakeOpfs } from "../../test/fake-opfs"
import { FileServer } from "../../test/file-server"
import { noise } from "../../test/hub-server"
import { HttpFiles, type HttpFilesOptions, WebStore } from "./http-files-web"
import { readJson } from "./source"

const MIB = 1 << 20
/** Larger than the first request and the read-ahead. */
const WEIGHTS = noise(9 * MIB + 12345)

let server: FileServer
let opfs: FakeOpfs
let files: Record<string, Uint8Array>
let opened: HttpFiles[]
let notices: string[]
let progress: { file: string; received: number; total: number }[]

beforeEach(async () => {
  files = {
    "config.json": new TextEncoder().encode('{"a":1}'),
    "model.safetensors": WEIGHTS,
    "empty.txt": new Uint8Array(0),
  }
  server = await FileServer.start((path) => files[path.replace("/m/", "")])
  opfs = new FakeOpfs()
  opened = []
  notices = []
  progress = []
})
afterEach(async () => {
  for (const each of opened) await each.close()
  await server.stop()
})

async function open(options: HttpFilesOptions = {}): Promise<HttpFiles> {
  const name = `${server.origin}/m/`
  const all: HttpFilesOptions = {
    storage: opfs.storage,
    locks: opfs.locks,
    patience: { attempts: 3, delayMs: 1, stallMs: 5000 },
    onNotice: (message) => notices.push(message),
    onProgress: (step) => progress.push(step),
    ...options,
  }
  const set = new HttpFiles({ name, url: (file) => name + file }, await WebStore.open(name, all), all)
  opened.push(set)
  await set.checkKept()
  return set
}

async function close(set: HttpFiles): Promise<void> {
  opened = opened.filter((other) => other !== set)
  await set.close()
}

async function read(set: HttpFiles, offset: number, length: number): Promise<Uint8Array> {
  const source = await set.open("model.safetensors")
  return source.read(offset, length)
}

/** A whole load: everything is read once, in pieces. */
async function load(options: HttpFilesOptions = {}): Promise<void> {
  const set = await open(options)
  await expectWeights(set)
  await close(set)
}

async function expectWeights(set: HttpFiles): Promise<void> {
  expect(await readJson(set, "config.json")).toEqual({ a: 1 })
  const source = await set.open("model.safetensors")
  expect(source.size).toBe(WEIGHTS.length)
  for (let at = 0; at < WEIGHTS.length; at += 3 * MIB) {
    const length = Math.min(3 * MIB, WEIGHTS.length - at)
    expect(equal(await source.read(at, length), WEIGHTS.subarray(at, at + length))).toBe(true)
  }
  await source.close()
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

describe("kept in the browser's storage", () => {
  test("each file is fetched by one request, and by none the next time", async () => {
    await load()
    expect(server.paths("GET")).toEqual(["/m/config.json", "/m/model.safetensors"])
    expect(progress.at(-1)).toEqual({
      file: "model.safetensors",
      received: WEIGHTS.length + 7,
      total: WEIGHTS.length + 7,
    })
    server.seen.length = 0
    progress = []
    await load()
    expect(server.paths("GET")).toEqual([])
    expect(server.paths("HEAD").sort()).toEqual(["/m/config.json", "/m/model.safetensors"])
    expect(progress).toEqual([])
    expect(notices).toEqual([])
  })

  test("what is not there is not there, the start page of a site included", async () => {
    const set = await open()
    expect(await set.has("config.json")).toBe(true)
    expect(await set.has("merges.txt")).toBe(false)
    await expect(set.open("merges.txt")).rejects.toMatchObject({ code: "not_found" })
    server.handle = (_seen, response) => {
      response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html>")
      return true
    }
    expect(await set.has("vocab.json")).toBe(false)
    expect((await set.open("config.json")).size).toBe(7)
  })

  test("an empty file", async () => {
    const source = await (await open()).open("empty.txt")
    expect(source.size).toBe(0)
    expect(await source.read(0, 0)).toEqual(new Uint8Array(0))
  })

  test("another version on the server is fetched anew, by ETag and by date and length", async () => {
    await load()
    server.seen.length = 0
    files["config.json"] = new TextEncoder().encode('{"a":2}')
    const set = await open()
    expect(await readJson(set, "config.json")).toEqual({ a: 2 })
    await close(set)
    expect(server.paths("GET")).toEqual(["/m/config.json"])
    server.versions = "modified"
    const dated = await open()
    await readJson(dated, "config.json")
    await close(dated)
    files["config.json"] = new TextEncoder().encode('{"a":33}')
    const changed = await open()
    expect(await readJson(changed, "config.json")).toEqual({ a: 33 })
  })

  test("a file that the server no longer has is forgotten", async () => {
    await load()
    delete files["config.json"]
    const set = await open()
    expect(await set.has("config.json")).toBe(false)
    expect(opfs.find("config.json")!.bytes.length).toBe(0)
  })

  test("a download that breaks off goes on where it was, in the same load", async () => {
    let broken = 0
    server.handle = ({ path, headers }, response) => {
      if (!path.endsWith(".safetensors") || broken === 2) return false
      broken++
      const from = Number(/\d+/.exec(headers.range!))
      response.writeHead(206, {
        etag: '"x"',
        "content-length": WEIGHTS.length - from,
        "content-range": `bytes ${from}-${WEIGHTS.length - 1}/${WEIGHTS.length}`,
      })
      response.write(WEIGHTS.subarray(from, from + 2 * MIB), () => setTimeout(() => response.destroy(), 20))
      return true
    }
    server.versions = "none"
    await load()
    // How much of a broken answer arrives is the connection's business.
    const from = server.seen.map(({ headers }) => Number(/^bytes=(\d+)-$/.exec(headers.range!)![1]))
    expect(from.slice(0, 2)).toEqual([0, 0])
    expect(from).toHaveLength(4)
    expect(from[2]).toBeGreaterThan(0)
    expect(from[3]).toBeGreaterThan(from[2])
  })

  test("… and in the next load", async () => {
    const set = await open()
    server.handle = ({ path }, response, request) => {
      if (!path.endsWith(".safetensors") || request.method !== "GET") return false
      response.writeHead(206, { etag: '"v1"', "content-range": `bytes 0-${WEIGHTS.length - 1}/${WEIGHTS.length}` })
      response.write(WEIGHTS.subarray(0, 5 * MIB))
      return true // and nothing more: it hangs
    }
    expect(equal(await read(set, 4 * MIB, MIB), WEIGHTS.subarray(4 * MIB, 5 * MIB))).toBe(true)
    await close(set)
    server.seen.length = 0
    server.handle = (_seen, response) => {
      response.setHeader("etag", '"v1"')
      return false
    }
    server.versions = "none"
    const next = await open()
    expect(equal(await read(next, 8 * MIB, MIB), WEIGHTS.subarray(8 * MIB, 9 * MIB))).toBe(true)
    expect(server.seen.map(({ method, headers }) => `${method} ${headers.range}`)).toEqual([
      "HEAD bytes=0-",
      `GET bytes=${5 * MIB}-`,
    ])
  })

  test("a file that changes while it is read is an error, not a mixture", async () => {
    server.handle = ({ path, headers }, response) => {
      if (!path.endsWith(".safetensors")) return false
      if (headers.range !== "bytes=0-") {
        response.setHeader("etag", '"other"')
        server.versions = "none"
        return false
      }
      response.writeHead(206, { etag: '"v1"', "content-range": `bytes 0-${WEIGHTS.length - 1}/${WEIGHTS.length}` })
      response.write(WEIGHTS.subarray(0, MIB), () => setTimeout(() => response.destroy(), 20))
      return true
    }
    const set = await open()
    await expect(read(set, 5 * MIB, 10)).rejects.toMatchObject({ code: "io", message: /changed on its server/ })
    expect(opfs.find("model.safetensors")!.bytes.length).toBe(0)
  })

  test("a server without ranges sends all of it, once", async () => {
    server.ranges = false
    await load()
    expect(server.paths("GET")).toEqual(["/m/config.json", "/m/model.safetensors"])
    server.seen.length = 0
    await load()
    expect(server.paths("GET")).toEqual([])
  })

  test("a server without ranges that breaks off begins anew, and the copy is whole", async () => {
    server.ranges = false
    let broken = 0
    server.handle = ({ path }, response) => {
      if (!path.endsWith(".safetensors") || broken++ > 0) return false
      response.writeHead(200, { etag: '"x"', "content-length": WEIGHTS.length })
      response.write(WEIGHTS.subarray(0, MIB), () => setTimeout(() => response.destroy(), 20))
      return true
    }
    server.versions = "none"
    await load()
  })

  test("while the server is out of reach, what is kept is used, with a notice", async () => {
    await load()
    server.handle = (_seen, response) => {
      response.destroy()
      return true
    }
    await load()
    expect(notices).toEqual([expect.stringMatching(/cannot reach .*Using what the browser has kept/)])
  })

  test("a server that stays broken is an io error that says how often it was tried", async () => {
    server.handle = (_seen, response) => {
      response.writeHead(503).end()
      return true
    }
    const set = await open()
    await expect(set.has("config.json")).rejects.toMatchObject({ code: "io", message: /status 503.*tried 3 times/s })
  })

  test("one that sends nothing for long is given up", async () => {
    server.handle = ({ path }, response) => {
      if (!path.endsWith(".safetensors")) return false
      response.writeHead(206, { etag: '"x"', "content-range": `bytes 0-${WEIGHTS.length - 1}/${WEIGHTS.length}` })
      response.write(WEIGHTS.subarray(0, 100))
      return true
    }
    const set = await open({ patience: { attempts: 2, delayMs: 1, stallMs: 50 } })
    await expect(read(set, 0, 200)).rejects.toMatchObject({ code: "io", message: /sent nothing for 0.05 s/ })
  })

  test("a note of the state that makes no sense is as good as none", async () => {
    await load()
    server.seen.length = 0
    opfs.find("model.safetensors.state.json")!.bytes = new TextEncoder().encode('{"have":99999999999,"complete":true}')
    opfs.find("config.json.state.json")!.bytes = new TextEncoder().encode("{")
    await load()
    expect(server.paths("GET").sort()).toEqual(["/m/config.json", "/m/model.safetensors"])
    // The note was written, the bytes were not.
    server.seen.length = 0
    opfs.find("model.safetensors")!.bytes = WEIGHTS.subarray(0, MIB)
    await load()
    expect(server.paths("GET")).toEqual(["/m/model.safetensors"])
  })

  test("a second tab waits for the first, then has its files", async () => {
    const first = await open()
    const second = open()
    await expectWeights(first)
    expect(notices).toEqual([expect.stringMatching(/another tab is loading .*waiting/)])
    server.seen.length = 0
    await close(first)
    await expectWeights(await second)
    expect(server.paths("GET")).toEqual([])
    const controller = new AbortController()
    const third = open({ signal: controller.signal })
    third.catch(() => {})
    await new Promise((resolve) => setTimeout(resolve, 10))
    controller.abort()
    await expect(third).rejects.toMatchObject({ code: "aborted" })
  })

  test("an abort ends the download; what has come is there the next time", async () => {
    const controller = new AbortController()
    const set = await open({ signal: controller.signal })
    server.handle = ({ path }, response) => {
      if (!path.endsWith(".safetensors")) return false
      response.writeHead(206, { etag: '"v1"', "content-range": `bytes 0-${WEIGHTS.length - 1}/${WEIGHTS.length}` })
      response.write(WEIGHTS.subarray(0, MIB))
      return true
    }
    await read(set, 0, MIB)
    const waiting = read(set, 2 * MIB, 10)
    waiting.catch(() => {})
    controller.abort()
    await expect(waiting).rejects.toMatchObject({ code: "aborted" })
    await close(set)
    expect(JSON.parse(new TextDecoder().decode(opfs.find("model.safetensors.state.json")!.bytes))).toMatchObject({
      have: MIB,
      complete: false,
    })
  })
})

describe("not kept", () => {
  test("where there is no storage: by range, small reads together, with a notice", async () => {
    const set = await open({ storage: { getDirectory: () => Promise.reject(new Error("private mode")) } })
    await expectWeights(set)
    expect(notices).toEqual([expect.stringMatching(/not kept.*private mode/)])
    // The beginning, then a window for each 3 MiB that it does not cover; the end is a smaller one.
    const ranges = server.seen.filter(({ path }) => path.endsWith(".safetensors")).map(({ headers }) => headers.range)
    expect(ranges).toEqual([
      `bytes=0-${MIB - 1}`,
      `bytes=0-${4 * MIB - 1}`,
      `bytes=${3 * MIB}-${7 * MIB - 1}`,
      `bytes=${6 * MIB}-${WEIGHTS.length - 1}`,
    ])
    await read(set, 100, 100) // no longer in memory
    await read(set, 200, 100)
    expect(server.seen.filter(({ path }) => path.endsWith(".safetensors")).length).toBe(5)
    expect(equal(await read(set, 10, 5 * MIB), WEIGHTS.subarray(10, 10 + 5 * MIB))).toBe(true)
    expect(server.seen.at(-1)!.headers.range).toBe(`bytes=10-${10 + 5 * MIB - 1}`)
    await expect(read(set, WEIGHTS.length - 1, 2)).rejects.toMatchObject({ code: "io" })
  })

  test("when that is asked for", async () => {
    await load({ keep: false })
    expect(opfs.files.size).toBe(0)
    expect(notices).toEqual([])
  })

  test("when the server tells no version", async () => {
    server.versions = "none"
    await load()
    expect(opfs.usage).toBe(0)
  })

  test("from a server without ranges: held whole, fetched once", async () => {
    server.ranges = false
    await load({ keep: false })
    expect(server.paths("GET")).toEqual(["/m/config.json", "/m/model.safetensors"])
  })

  test("when the site's storage has no room, with the numbers", async () => {
    opfs.quota = 5 * MIB
    await load()
    expect(notices).toEqual([expect.stringMatching(/model.safetensors \(9 MB\) is not kept: this site has 5 MB/)])
    expect(opfs.find("config.json")!.bytes.length).toBe(7)
  })

  test("when the storage is full all of a sudden: it goes on over the network", async () => {
    opfs.quota = 5 * MIB
    opfs.estimated = 100 * MIB
    await load()
    expect(notices).toEqual([expect.stringMatching(/storage is full: .*model.safetensors is not kept/)])
    expect(opfs.find("model.safetensors")!.bytes.length).toBe(0)
  })

  test("a range that breaks off is taken up again", async () => {
    let broken = false
    server.handle = ({ headers }, response) => {
      if (broken || headers.range !== `bytes=${MIB}-${6 * MIB - 1}`) return false
      broken = true
      response.writeHead(206, {
        "content-length": 5 * MIB,
        "content-range": `bytes ${MIB}-${6 * MIB - 1}/${WEIGHTS.length}`,
      })
      response.write(WEIGHTS.subarray(MIB, 2 * MIB), () => setTimeout(() => response.destroy(), 20))
      return true
    }
    const set = await open({ keep: false })
    expect(equal(await read(set, MIB, 5 * MIB), WEIGHTS.subarray(MIB, 6 * MIB))).toBe(true)
    expect(broken).toBe(true)
    const [from, to] = /^bytes=(\d+)-(\d+)$/.exec(server.seen.at(-1)!.headers.range!)!.slice(1).map(Number)
    expect(from).toBeGreaterThan(MIB)
    expect(to).toBe(6 * MIB - 1)
  })

  test("a file that changes between two ranges is an error", async () => {
    const set = await open({ keep: false })
    await read(set, 0, 10)
    files["model.safetensors"] = noise(WEIGHTS.length, 2)
    await expect(read(set, 5 * MIB, 10)).rejects.toMatchObject({ code: "io", message: /changed on its server/ })
  })
})
