import { lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { gitSha1, HubServer, noise, sha256 } from "../../test/hub-server"
import { LINKS } from "./hub-cache-node"
import { fetchFromHub, type HubNotice, type HubOptions, type HubProgress } from "./hub-node"

const WEIGHTS = noise(300_000)
const FILES = {
  ".gitattributes": "*.safetensors filter=lfs",
  "README.md": "# a model",
  "config.json": '{"a":1}',
  "generation_config.json": "{}",
  "tokenizer.json": '{"version":"1.0"}',
  "chat_template.jinja": "{{ messages }}",
  "model.safetensors": WEIGHTS,
  "modular_isaac.py": "import os",
  "pytorch_model.bin": "pickle",
  "onnx/model.onnx": "onnx",
}

let server: HubServer
let folder: string
let options: HubOptions
let blobs: string

async function start(files: Record<string, Uint8Array | string>): Promise<void> {
  await server?.stop()
  server = await HubServer.start(files)
  options = { ...options, env: { HF_HOME: folder, HF_ENDPOINT: server.endpoint } }
}

/** Drops the connection after so many bytes of the weights, as often as said. */
function dropAfter(bytes: number, times: number): void {
  let left = times
  server.misbehave = ({ server: which, headers }, response) => {
    if (which !== "cdn" || left-- <= 0) return false
    const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? "")?.[1] ?? 0)
    response.writeHead(from > 0 ? 206 : 200, {
      etag: server.cdnEtag,
      "content-length": WEIGHTS.length - from,
      ...(from > 0 ? { "content-range": `bytes ${from}-${WEIGHTS.length - 1}/${WEIGHTS.length}` } : {}),
    })
    response.write(WEIGHTS.subarray(from, from + bytes), () => setTimeout(() => response.destroy(), 20))
    return true
  }
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "isaac-hub-"))
  blobs = join(folder, "hub", "models--Perceptron-Test--isaac", "blobs")
  options = { patience: { attempts: 3, delayMs: 1, stallMs: 2_000 }, lock: { pollMs: 10, renewMs: 20, staleMs: 200 } }
  await start(FILES)
})
afterEach(async () => {
  await server.stop()
  await rm(folder, { recursive: true, force: true })
})

describe("fetchFromHub", () => {
  it("fetches what a checkpoint needs, and only that, into the shared cache layout", async () => {
    const snapshot = await fetchFromHub(server.model, options)
    const root = join(folder, "hub", "models--Perceptron-Test--isaac")
    expect(snapshot).toBe(join(root, "snapshots", server.commit))
    expect((await readdir(snapshot)).sort()).toEqual([
      "chat_template.jinja",
      "config.json",
      "generation_config.json",
      "model.safetensors",
      "tokenizer.json",
    ])
    expect(Buffer.from(await readFile(join(snapshot, "model.safetensors"))).equals(WEIGHTS)).toBe(true)
    expect(await readFile(join(snapshot, "config.json"), "utf8")).toBe('{"a":1}')
    expect(await readFile(join(root, "refs", "main"), "utf8")).toBe(server.commit)
    expect(await readlink(join(snapshot, "model.safetensors"))).toBe(join("..", "..", "blobs", sha256(WEIGHTS)))
    const names = await readdir(blobs)
    expect(names).toHaveLength(5)
    expect(names).toContain(gitSha1(new TextEncoder().encode('{"a":1}')))
    expect(await readdir(join(root, ".no_exist", server.commit))).toContain("processor_config.json")
    expect(await readdir(join(folder, "hub", ".locks", "models--Perceptron-Test--isaac"))).toEqual([])
  })

  it("asks nothing when the cache is complete, even when the Hub is gone", async () => {
    const first = await fetchFromHub(server.model, options)
    server.seen.length = 0
    expect(await fetchFromHub(server.model, options)).toBe(first)
    expect(await fetchFromHub(`${server.model}@${server.commit}`, options)).toBe(first)
    expect(await fetchFromHub(server.model, { ...options, offline: true })).toBe(first)
    expect(server.seen).toEqual([])
  })

  it("goes by the environment: HF_HUB_CACHE, HF_TOKEN, the token file, HF_HUB_OFFLINE", async () => {
    const cache = join(folder, "elsewhere")
    const env = { ...options.env, HF_HUB_CACHE: cache, HF_TOKEN: "hf_secret" }
    expect(await fetchFromHub(server.model, { ...options, env })).toContain(cache)
    expect(server.seen[0].headers.authorization).toBe("Bearer hf_secret")

    server.seen.length = 0
    await writeFile(join(folder, "token"), "hf_file\n")
    await fetchFromHub(server.model, options)
    expect(server.seen[0].headers.authorization).toBe("Bearer hf_file")

    server.seen.length = 0
    const offline = { ...options, env: { ...options.env, HF_HUB_CACHE: join(folder, "empty"), HF_HUB_OFFLINE: "1" } }
    await expect(fetchFromHub(server.model, offline)).rejects.toMatchObject({
      code: "not_found",
      message: expect.stringContaining("HF_HUB_OFFLINE"),
    })
    expect(server.seen).toEqual([])
  })

  it("sends the token to the Hub only, not to where it redirects", async () => {
    await fetchFromHub(server.model, { ...options, token: "hf_secret" })
    const authorised = (which: string) =>
      server.seen.filter((seen) => seen.server === which).map(({ headers }) => headers.authorization)
    expect(new Set(authorised("hub"))).toEqual(new Set(["Bearer hf_secret"]))
    expect(new Set(authorised("cdn"))).toEqual(new Set([undefined]))
  })

  it("reports progress per file and over all", async () => {
    const seen: HubProgress[] = []
    await fetchFromHub(server.model, { ...options, onProgress: (progress) => seen.push(progress) })
    const weights = seen.filter(({ file }) => file === "model.safetensors")
    expect(weights[0]).toMatchObject({ received: 0, total: WEIGHTS.length })
    expect(weights.at(-1)).toMatchObject({ received: WEIGHTS.length, total: WEIGHTS.length })
    const last = seen.at(-1)!
    expect(last.allReceived).toBe(last.allTotal)
    expect(last.allTotal).toBe(WEIGHTS.length + 7 + 2 + 17 + 14)
    for (let i = 1; i < seen.length; i++) expect(seen[i].allReceived).toBeGreaterThanOrEqual(seen[i - 1].allReceived)
  })

  it("says the licence and the size before anything comes, and not again", async () => {
    const notices: HubNotice[] = []
    const before: number[] = []
    const onNotice = (notice: HubNotice) => {
      notices.push(notice)
      before.push(server.seen.filter(({ path }) => path.includes("/resolve/")).length)
    }
    await fetchFromHub(server.model, { ...options, onNotice })
    expect(notices).toEqual([
      { kind: "licence", message: expect.stringMatching(/300\.0 kB.*cc-by-nc-4\.0.*non-commercial/) },
    ])
    expect(before).toEqual([0])
    await fetchFromHub(server.model, { ...options, onNotice, update: true })
    expect(notices).toHaveLength(1)
  })

  it.each([
    [
      { cardData: { license: "other", license_name: "perceptron-non-production" } },
      /perceptron-non-production, for non-com/,
    ],
    [{ tags: ["x", "license:apache-2.0"] }, /apache-2\.0;/],
    [{}, /not stated, for non-commercial/],
  ])("reads the licence from %j", async (card, message) => {
    server.card = card
    const notices: string[] = []
    await fetchFromHub(server.model, { ...options, onNotice: (notice) => notices.push(notice.message) })
    expect(notices[0]).toMatch(message)
  })

  it("takes the shards that the index names, not others", async () => {
    const index = { weight_map: { a: "model-1.safetensors", b: "model-2.safetensors", c: "model-1.safetensors" } }
    await start({
      "config.json": "{}",
      "tokenizer.json": "{}",
      "model.safetensors.index.json": JSON.stringify(index),
      "model-1.safetensors": noise(1000, 2),
      "model-2.safetensors": noise(1000, 3),
      "consolidated.safetensors": noise(1000, 4),
    })
    const snapshot = await fetchFromHub(server.model, options)
    expect((await readdir(snapshot)).filter((name) => name.endsWith(".safetensors")).sort()).toEqual([
      "model-1.safetensors",
      "model-2.safetensors",
    ])
    server.seen.length = 0
    await fetchFromHub(server.model, options)
    expect(server.seen).toEqual([])
    // A shard that went away makes it incomplete.
    await rm(join(snapshot, "model-2.safetensors"))
    await fetchFromHub(server.model, options)
    expect(server.seen).toHaveLength(1)
    expect(await readdir(snapshot)).toContain("model-2.safetensors")
  })

  it("asks for each file where a mirror lists names only", async () => {
    server.listsBlobs = false
    const snapshot = await fetchFromHub(server.model, options)
    expect(await readlink(join(snapshot, "model.safetensors"))).toContain(sha256(WEIGHTS))
    expect(server.seen.filter(({ method }) => method === "HEAD")).not.toHaveLength(0)
  })

  it("follows a branch only when told to, and keeps what did not change", async () => {
    const first = await fetchFromHub(server.model, options)
    server.commit = "d".repeat(40)
    server.files.set("config.json", new TextEncoder().encode('{"a":2}'))
    expect(await fetchFromHub(server.model, options)).toBe(first)
    server.seen.length = 0
    const second = await fetchFromHub(server.model, { ...options, update: true })
    expect(second).not.toBe(first)
    expect(await readFile(join(second, "config.json"), "utf8")).toBe('{"a":2}')
    expect(await readFile(join(first, "config.json"), "utf8")).toBe('{"a":1}')
    expect(server.fetched("model.safetensors")).toEqual([])
    expect(await fetchFromHub(server.model, options)).toBe(second)
  })

  it("completes a cache that another tool began, and makes do with it when the Hub is gone", async () => {
    const snapshot = join(blobs, "..", "snapshots", server.commit)
    await mkdir(snapshot, { recursive: true })
    await mkdir(join(blobs, "..", "refs"))
    await writeFile(join(blobs, "..", "refs", "main"), server.commit)
    for (const file of ["config.json", "tokenizer.json", "model.safetensors"] as const) {
      await writeFile(join(snapshot, file), FILES[file])
    }
    expect(await fetchFromHub(server.model, { ...options, offline: true })).toBe(snapshot)
    const notices: HubNotice[] = []
    server.misbehave = (_, response) => response.destroy() !== undefined
    await fetchFromHub(server.model, { ...options, onNotice: (notice) => notices.push(notice) })
    expect(notices).toMatchObject([{ kind: "not_checked" }])
    server.misbehave = () => false
    await fetchFromHub(server.model, options)
    expect((await readdir(snapshot)).sort()).toHaveLength(5)
    expect(server.fetched("model.safetensors")).toEqual([])
  })

  it.each([
    ["hard links where symbolic ones are refused", 1, 2],
    ["copies where all are refused", 2, 1],
  ])("makes %s", async (_, refused, count) => {
    const refuse = () => Promise.reject(new Error("EPERM"))
    const links = [...Array(refused).fill(refuse), ...LINKS.slice(refused)]
    const snapshot = await fetchFromHub(server.model, { ...options, links })
    const info = await lstat(join(snapshot, "model.safetensors"))
    expect(info).toMatchObject({ size: WEIGHTS.length, nlink: count })
    expect(info.isSymbolicLink()).toBe(false)
    server.seen.length = 0
    await fetchFromHub(server.model, options)
    expect(server.seen).toEqual([])
  })
})

describe("what goes wrong on the way", () => {
  it("goes on where a dropped connection stopped", async () => {
    dropAfter(100_000, 2)
    await fetchFromHub(server.model, options)
    const ranges = server.seen.filter((seen) => seen.server === "cdn").map(({ headers }) => headers.range)
    expect(ranges).toEqual([undefined, "bytes=100000-", "bytes=200000-"])
  })

  it("keeps trying while something comes, however often it drops", async () => {
    dropAfter(30_000, 9)
    await fetchFromHub(server.model, options)
    expect(server.seen.filter((seen) => seen.server === "cdn")).toHaveLength(10)
  })

  it("gives up when nothing more comes, and goes on in the next process with the ETag", async () => {
    let calls = 0
    const drop = (bytes: number) => dropAfter(bytes, 99)
    drop(120_000)
    const first = server.misbehave
    server.misbehave = (seen, response) => {
      if (seen.server !== "cdn") return false
      if (++calls === 1) return first(seen, response)
      response.destroy()
      return true
    }
    await expect(fetchFromHub(server.model, options)).rejects.toMatchObject({
      code: "io",
      message: expect.stringContaining("tried 3 times"),
    })
    expect(await readdir(blobs)).toContain(`${sha256(WEIGHTS)}.isaac.incomplete`)
    server.misbehave = () => false
    server.seen.length = 0
    const snapshot = await fetchFromHub(server.model, options)
    const [, large] = server.fetched("model.safetensors")
    expect(large.headers).toMatchObject({ range: "bytes=120000-", "if-range": '"cdn-1"' })
    expect(Buffer.from(await readFile(join(snapshot, "model.safetensors"))).equals(WEIGHTS)).toBe(true)
    expect((await readdir(blobs)).filter((name) => name.includes("incomplete"))).toEqual([])
  })

  it.each([
    ["heeds If-Range", true],
    ["does not", false],
  ])("starts over when the ETag has changed, where the server %s", async (_, heeds) => {
    const partial = join(blobs, `${sha256(WEIGHTS)}.isaac.incomplete`)
    await mkdir(blobs, { recursive: true })
    await writeFile(partial, noise(50_000, 9))
    await writeFile(`${partial}.etag`, '"older"')
    server.misbehave = ({ headers }) => {
      if (!heeds) delete headers["if-range"]
      return false
    }
    let whole = 0
    const onProgress = ({ file, received, total }: HubProgress) => {
      if (file === "model.safetensors" && received === total) whole++
    }
    const snapshot = await fetchFromHub(server.model, { ...options, onProgress })
    expect(Buffer.from(await readFile(join(snapshot, "model.safetensors"))).equals(WEIGHTS)).toBe(true)
    // The ETag tells before the bytes have come, not the hash afterwards.
    expect(whole).toBe(1)
    expect(server.seen.find((seen) => seen.server === "cdn")?.headers.range).toBe("bytes=50000-")
    expect(server.seen.filter((seen) => seen.server === "cdn")).toHaveLength(heeds ? 1 : 2)
  })

  it("refuses bytes with the wrong hash, after one more try", async () => {
    const wrong = WEIGHTS.slice()
    wrong[1234] ^= 1
    let times = 1
    server.misbehave = (seen, response) => {
      if (seen.server !== "cdn" || times-- <= 0) return false
      response.writeHead(200, { "content-length": wrong.length }).end(wrong)
      return true
    }
    const snapshot = await fetchFromHub(server.model, options)
    expect(Buffer.from(await readFile(join(snapshot, "model.safetensors"))).equals(WEIGHTS)).toBe(true)

    await rm(folder, { recursive: true })
    times = 99
    await expect(fetchFromHub(server.model, options)).rejects.toMatchObject({
      code: "io",
      message: expect.stringContaining(`sha256 is ${sha256(wrong)}`),
    })
    expect(await readdir(blobs)).not.toContain(sha256(WEIGHTS))
  })

  it("checks small files by git's hash", async () => {
    server.misbehave = ({ path }, response) => {
      if (!path.endsWith("config.json")) return false
      response.writeHead(200, { "content-length": 7 }).end('{"a":9}')
      return true
    }
    await expect(fetchFromHub(server.model, options)).rejects.toMatchObject({
      message: expect.stringContaining("sha1"),
    })
  })

  it.each([
    ["longer", WEIGHTS.length + 10],
    ["shorter", WEIGHTS.length - 10],
  ])("refuses a file that is %s than the Hub says", async (_, length) => {
    server.misbehave = (seen, response) => {
      if (seen.server !== "cdn" || seen.headers.range !== undefined) return false
      response.writeHead(200, { "content-length": length }).end(noise(length))
      return true
    }
    if (length > WEIGHTS.length) {
      await expect(fetchFromHub(server.model, options)).rejects.toMatchObject({
        message: expect.stringMatching(/longer than the 300\.0 kB/),
      })
    } else {
      // What is missing is asked for by range.
      await fetchFromHub(server.model, options)
      expect(server.seen.filter((seen) => seen.server === "cdn").at(-1)?.headers.range).toBe("bytes=299990-")
    }
  })

  it.each([
    ["without the ETag they came with", 1000, ""],
    ["of a longer file", WEIGHTS.length + 1, '"cdn-1"'],
  ])("does not go on from bytes %s, where a mirror's ETag is no hash to check them by", async (_, length, source) => {
    server.listsBlobs = false
    server.misbehave = ({ path }, response) => {
      if (!path.includes("/resolve/") || !path.endsWith("model.safetensors")) return false
      const linked = { "x-linked-etag": '"v1-abc"', "x-linked-size": WEIGHTS.length }
      response.writeHead(302, { location: `${server.cdn}/lfs/model.safetensors`, ...linked }).end()
      return true
    }
    await mkdir(blobs, { recursive: true })
    await writeFile(join(blobs, "v1-abc.isaac.incomplete"), noise(length, 9))
    await writeFile(join(blobs, "v1-abc.isaac.incomplete.etag"), source)
    const snapshot = await fetchFromHub(server.model, options)
    expect(Buffer.from(await readFile(join(snapshot, "model.safetensors"))).equals(WEIGHTS)).toBe(true)
  })

  it("starts over when the server refuses the range", async () => {
    const partial = join(blobs, `${sha256(WEIGHTS)}.isaac.incomplete`)
    await mkdir(blobs, { recursive: true })
    await writeFile(partial, WEIGHTS.subarray(0, 1000))
    await writeFile(`${partial}.etag`, "")
    server.misbehave = ({ server: which, headers }, response) => {
      if (which !== "cdn" || headers.range === undefined) return false
      response.writeHead(416).end()
      return true
    }
    const snapshot = await fetchFromHub(server.model, options)
    expect((await stat(join(snapshot, "model.safetensors"))).size).toBe(WEIGHTS.length)
  })

  it("gives up a connection that stalls", async () => {
    let times = 1
    server.misbehave = (seen, response) => {
      if (seen.server !== "cdn" || times-- <= 0) return false
      response.writeHead(200, { "content-length": WEIGHTS.length })
      response.write(WEIGHTS.subarray(0, 1000))
      return true
    }
    await fetchFromHub(server.model, { ...options, patience: { attempts: 3, delayMs: 1, stallMs: 100 } })
    expect(server.seen.filter((seen) => seen.server === "cdn").at(-1)?.headers.range).toBe("bytes=1000-")
  })

  it.each([429, 500, 503])("tries again after status %d", async (status) => {
    let times = 2
    server.misbehave = (_, response) => {
      if (times-- <= 0) return false
      response.writeHead(status, { "retry-after": "0" }).end()
      return true
    }
    await fetchFromHub(server.model, options)
    expect(server.seen.filter(({ path }) => path.startsWith("/api/"))).toHaveLength(3)

    await rm(folder, { recursive: true })
    times = 99
    await expect(fetchFromHub(server.model, options)).rejects.toMatchObject({
      code: "io",
      message: expect.stringMatching(new RegExp(`status ${status}.*tried 3 times`)),
    })
  })

  it("waits as long as the server asks", async () => {
    let times = 1
    server.misbehave = (_, response) => {
      if (times-- <= 0) return false
      response.writeHead(429, { "retry-after": "1" }).end()
      return true
    }
    const start = performance.now()
    await fetchFromHub(server.model, options)
    expect(performance.now() - start).toBeGreaterThan(950)
  })

  it.each([
    [401, "GatedRepo", undefined, "io", /accept its licence at .*Perceptron-Test\/isaac.*HF_TOKEN/],
    [401, "RepoNotFound", "hf_old", "io", /does not accept the token/],
    [403, "GatedRepo", "hf_other", "io", /Accept its licence at .* that HF_TOKEN belongs to/],
    [404, "RepoNotFound", undefined, "not_found", /no model Perceptron-Test\/isaac/],
    [404, "RevisionNotFound", undefined, "not_found", /no revision main/],
    [418, "", undefined, "io", /status 418/],
  ])("says what status %d %s means (token %s), without trying again", async (status, code, token, kind, message) => {
    server.misbehave = (_, response) => {
      response.writeHead(status, { "x-error-code": code }).end()
      return true
    }
    const error = await fetchFromHub(server.model, { ...options, token }).catch((error: unknown) => error)
    expect(error).toMatchObject({ name: "IsaacError", code: kind, message: expect.stringMatching(message) })
    expect((error as Error).message).not.toContain("hf_o")
    expect(server.seen).toHaveLength(1)
  })

  it("says that there is no connection", async () => {
    const { endpoint } = server
    await server.stop()
    await expect(fetchFromHub(server.model, { ...options, endpoint })).rejects.toMatchObject({
      code: "io",
      message: expect.stringMatching(/connection to 127\.0\.0\.1.*ECONNREFUSED.*tried 3 times/),
    })
  })

  it("stops when told to, keeps what has come, and lets go of the lock", async () => {
    const controller = new AbortController()
    server.misbehave = (seen, response) => {
      if (seen.server !== "cdn") return false
      response.writeHead(200, { etag: server.cdnEtag, "content-length": WEIGHTS.length })
      response.write(WEIGHTS.subarray(0, 70_000))
      setTimeout(() => controller.abort(), 100)
      return true
    }
    await expect(fetchFromHub(server.model, { ...options, signal: controller.signal })).rejects.toMatchObject({
      code: "aborted",
    })
    expect((await stat(join(blobs, `${sha256(WEIGHTS)}.isaac.incomplete`))).size).toBe(70_000)
    server.misbehave = () => false
    await fetchFromHub(server.model, options)
    expect(server.seen.at(-1)?.headers.range).toBe("bytes=70000-")
    await expect(fetchFromHub(server.model, { ...options, signal: controller.signal })).rejects.toMatchObject({
      code: "aborted",
    })
  })

  it("says how much room the disk lacks before it downloads", async () => {
    const huge = 2 ** 52
    server.card = {
      siblings: (server.listing().siblings as { rfilename: string }[]).map((sibling) =>
        sibling.rfilename === "model.safetensors"
          ? { ...sibling, lfs: { sha256: "a".repeat(64), size: huge } }
          : sibling,
      ),
    }
    await expect(fetchFromHub(server.model, options)).rejects.toMatchObject({
      code: "io",
      message: expect.stringMatching(/4\.5 PB are needed, [\d.]+ [kMGTP]B free at/),
    })
    expect(server.fetched("model.safetensors")).toEqual([])
  })

  it.skipIf(process.platform !== "linux")("says so when the disk fills up in between", async () => {
    await mkdir(blobs, { recursive: true })
    await symlink("/dev/full", join(blobs, `${sha256(WEIGHTS)}.isaac.incomplete`))
    await expect(fetchFromHub(server.model, options)).rejects.toMatchObject({
      code: "io",
      message: expect.stringMatching(/disk is too full: 300\.0 kB are needed/),
    })
  })
})

describe("what a Hub must not do", () => {
  it.each(["../evil.safetensors", "a/../../b.json", "/etc/passwd", "C:/x", "a\\b", "x//y"])(
    "refuses the path %s in the listing",
    async (rfilename) => {
      server.card = { siblings: [{ rfilename }] }
      await expect(fetchFromHub(server.model, options)).rejects.toMatchObject({
        code: "bad_checkpoint",
        message: expect.stringContaining("out of its folder"),
      })
    },
  )

  it.each([
    ["../../evil.safetensors", /"\.\.\/\.\.\/evil\.safetensors", which is no plain file name/],
    [".safetensors", /no plain file name/],
    ["model.bin", /no plain file name/],
    ["gone.safetensors", /the shard gone\.safetensors, but the Hub does not have it/],
  ])("refuses the shard %s", async (shard, message) => {
    await start({
      "config.json": "{}",
      "tokenizer.json": "{}",
      "model.safetensors.index.json": JSON.stringify({ weight_map: { a: shard } }),
    })
    await expect(fetchFromHub(server.model, options)).rejects.toMatchObject({
      code: "bad_checkpoint",
      message: expect.stringMatching(message),
    })
  })

  it.each([
    ["a page", "<html>log in</html>"],
    ["something else", "[]"],
    ["a commit that is a path", JSON.stringify({ sha: "../../x", siblings: [] })],
  ])("refuses %s instead of the listing", async (_, body) => {
    server.misbehave = (_, response) => response.writeHead(200).end(body) !== undefined
    await expect(fetchFromHub(server.model, options)).rejects.toMatchObject({
      code: "io",
      message: expect.stringContaining("HF_ENDPOINT"),
    })
  })

  it.each([
    [["tokenizer.json", "model.safetensors"], /no config\.json/],
    [["config.json", "model.safetensors"], /no tokenizer/],
    [["config.json", "tokenizer.json", "pytorch_model.bin"], /not pytorch_model\.bin/],
  ])("refuses a repository with only %j, and fetches none of it", async (names, message) => {
    await start(Object.fromEntries(names.map((name) => [name, "{}"])))
    await expect(fetchFromHub(server.model, options)).rejects.toMatchObject({
      code: "bad_checkpoint",
      message: expect.stringMatching(message),
    })
    expect(server.seen).toHaveLength(1)
  })

  it("ends redirects that lead in a circle or to another kind of address", async () => {
    for (const [location, message] of [
      [server.endpoint, /more than 10 times/],
      ["file:///etc/passwd", /not safe/],
    ] as const) {
      server.misbehave = (_, response) => response.writeHead(302, { location }).end() !== undefined
      await expect(fetchFromHub(server.model, options)).rejects.toMatchObject({
        message: expect.stringMatching(message),
      })
    }
  })

  it("says so when another content comes for the same commit", async () => {
    server.misbehave = ({ server: which, path }, response) => {
      if (which !== "hub" || !path.endsWith("model.safetensors")) return false
      response.writeHead(302, {
        location: `${server.cdn}/lfs/model.safetensors`,
        "x-linked-etag": `"${"e".repeat(64)}"`,
      })
      response.end()
      return true
    }
    await expect(fetchFromHub(server.model, options)).rejects.toMatchObject({
      message: expect.stringContaining("changed during the download"),
    })
    expect(dirname(blobs)).toContain(folder)
  })
})
