import type { LookupAddress } from "node:dns"
import http, { Agent, createServer, get as httpGet, type RequestListener, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { IsaacError } from "../errors"
import { type FetchImageOptions, fetchImage } from "./fetch-image-node"

const PNG = Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
const content = Uint8Array.from([...PNG, ...Array.from({ length: 992 }, (_, i) => i & 255)])
const page = "<!DOCTYPE html><html><body><img src=picture.png></body></html>".padEnd(500)

const answers: Record<string, RequestListener> = {
  "/image": (_, response) => response.writeHead(200, { "content-type": "image/png" }).end(content),
  "/untyped": (_, response) => response.end(content),
  "/octets": (_, response) => response.writeHead(200, { "content-type": "application/octet-stream" }).end(content),
  "/s3": (_, response) => response.writeHead(200, { "content-type": "Binary/Octet-Stream; x=y" }).end(content),
  "/octets-page": (_, response) => response.writeHead(200, { "content-type": "application/octet-stream" }).end(page),
  "/octets-short": (_, response) => response.writeHead(200, { "content-type": "application/octet-stream" }).end("hi"),
  "/page": (_, response) => response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(page),
  "/json": (_, response) => response.writeHead(200, { "content-type": "application/json" }).end("{}"),
  "/svg": (_, response) => response.writeHead(200, { "content-type": "image/svg+xml" }).end("<svg/>"),
  "/missing": (_, response) => response.writeHead(404).end(),
  "/gone": (_, response) => response.writeHead(410).end(),
  "/broken": (_, response) => response.writeHead(500, "Out \u0007of order").end(),
  "/once": (_, response) => response.writeHead(302, { location: "/image" }).end(),
  "/nowhere": (_, response) => response.writeHead(302).end(),
  "/loop": (_, response) => response.writeHead(307, { location: "/loop" }).end(),
  "/to-file": (_, response) => response.writeHead(302, { location: "file:///etc/hostname" }).end(),
  "/to-login": (_, response) => response.writeHead(302, { location: "http://me:secret@public.test/" }).end(),
  "/to-nonsense": (_, response) => response.writeHead(302, { location: "http://[::/" }).end(),
  "/promises-much": (_, response) => response.writeHead(200, { "content-length": 5000 }).end(content),
  "/sends-much": (_, response) => {
    for (let i = 0; i < 5; i++) response.write(content)
    response.end()
  },
  "/stalls": (_, response) => response.write(content),
  "/silent": () => {},
  "/dies": (_, response) => {
    response.writeHead(200, { "content-length": 5000 })
    response.write(content, () => response.destroy())
  },
  "/drips": (_, response) => {
    response.write(content)
    const timer = setInterval(() => response.write("x"), 20)
    response.on("close", () => clearInterval(timer))
  },
  "/slow": (_, response) => {
    let pieces = 0
    const timer = setInterval(() => {
      response.write(content)
      if (++pieces === 12) {
        clearInterval(timer)
        response.end()
      }
    }, 50)
  },
  "/gzip": (_, response) => response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync(content)),
  "/x-gzip": (_, response) => response.writeHead(200, { "content-encoding": "X-GZIP" }).end(gzipSync(content)),
  "/deflate": (_, response) => response.writeHead(200, { "content-encoding": "deflate" }).end(deflateSync(content)),
  "/br": (_, response) => response.writeHead(200, { "content-encoding": "br" }).end(brotliCompressSync(content)),
  "/identity": (_, response) => response.writeHead(200, { "content-encoding": "identity" }).end(content),
  "/bomb": (_, response) =>
    response
      .writeHead(200, { "content-encoding": "gzip" })
      .end(gzipSync(Buffer.concat([content, new Uint8Array(1e6)]))),
  // Members that hold nothing, one after another.
  "/empty-gzips": (_, response) => {
    response.writeHead(200, { "content-encoding": "gzip" })
    for (let i = 0; i < 1000; i++) response.write(gzipSync(""))
    response.end()
  },
  "/cut-gzip": (_, response) =>
    response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync(content).subarray(0, 60)),
  "/no-gzip": (_, response) => response.writeHead(200, { "content-encoding": "gzip" }).end(content),
  "/twice": (_, response) =>
    response.writeHead(200, { "content-encoding": "gzip, gzip" }).end(gzipSync(gzipSync(content))),
  "/zstd": (_, response) => response.writeHead(200, { "content-encoding": "zstd" }).end(content),
}

let server: Server
let port: number
const requests: { readonly url?: string; readonly headers: NodeJS.Dict<string | string[]>; readonly at?: string }[] = []
beforeAll(async () => {
  server = createServer((request, response) => {
    const { url, headers, socket } = request
    requests.push({ url, headers, at: socket.localAddress })
    const target = /^\/to\?(.*)/.exec(url ?? "")?.[1]
    if (target !== undefined) response.writeHead(302, { location: decodeURIComponent(target) }).end()
    else answers[url ?? ""](request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  port = (server.address() as AddressInfo).port
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})

const local = (path: string) => `http://127.0.0.1:${port}${path}`
const fetched = (path: string, options?: FetchImageOptions) =>
  fetchImage(local(path), { allowPrivateUrls: true, ...options })
const failure = (path: string, options?: FetchImageOptions) => fetched(path, options).catch((e: IsaacError) => e)
const said = (code: string, ...words: string[]) => ({
  code,
  message: expect.stringMatching(
    new RegExp(words.map((word) => word.replace(/[.*+?^$()[\]]/g, "\\$&")).join(".*"), "s"),
  ),
})

describe("a picture from an address", () => {
  it("is downloaded, also through a redirect", async () => {
    expect(await fetched("/image")).toEqual(content)
    expect(await fetched("/once")).toEqual(content)
  })

  it("is asked for without anything that tells who asks", async () => {
    requests.length = 0
    await fetched("/once")
    expect(requests.map(({ url }) => url)).toEqual(["/once", "/image"])
    for (const { headers } of requests) {
      expect(headers).toEqual({
        host: `127.0.0.1:${port}`,
        accept: "image/*",
        "accept-encoding": "identity",
        "user-agent": "isaac-vlm",
        connection: "close",
      })
    }
  })

  it("is what the server calls an image, or what begins like one", async () => {
    for (const path of ["/untyped", "/octets", "/s3"]) expect(await fetched(path)).toEqual(content)
    expect(await failure("/page")).toMatchObject(said("bad_image", local("/page"), "is a web page", "picture itself"))
    expect(await failure("/json")).toMatchObject(said("bad_image", "is application/json, not a picture"))
    expect(await failure("/svg")).toMatchObject(said("bad_image", "SVG drawing", "PNG, JPEG"))
    expect(await failure("/octets-page")).toMatchObject(said("bad_image", "is a web page"))
    expect(await failure("/octets-short")).toMatchObject(said("bad_image", "no picture"))
  })

  it("is undone when it came compressed all the same", async () => {
    for (const path of ["/gzip", "/x-gzip", "/deflate", "/br", "/identity"]) {
      expect(await fetched(path)).toEqual(content)
    }
    for (const path of ["/cut-gzip", "/no-gzip"]) {
      expect(await failure(path)).toMatchObject(said("io", "compression is damaged or cut short"))
    }
    expect(await failure("/twice")).toMatchObject(said("io", "compressed as gzip, gzip"))
    expect(await failure("/zstd")).toMatchObject(said("io", "compressed as zstd", "gzip"))
  })

  it("that cannot be had is named, with the server's answer", async () => {
    expect(await failure("/missing")).toMatchObject(said("not_found", `${local("/missing")} answered 404`))
    expect(await failure("/gone")).toMatchObject({ code: "not_found" })
    expect(await failure("/nowhere")).toMatchObject(said("io", "answered 302"))
    expect(await failure("/dies")).toMatchObject(said("io", local("/dies"), "broke off"))
    const closed = fetchImage("http://127.0.0.1:1/x", { allowPrivateUrls: true })
    expect(await closed.catch((e) => e)).toMatchObject(said("io", "http://127.0.0.1:1/x", "ECONNREFUSED"))
    const unknown = { code: "ENOTFOUND", message: "getaddrinfo ENOTFOUND" }
    const nowhere = fetchImage("http://no.test/x", {
      resolve: () => Promise.reject(Object.assign(new Error(), unknown)),
    })
    expect(await nowhere.catch((e) => e)).toMatchObject(said("not_found", "http://no.test/x", "no host of that name"))
    expect(await fetchImage("http://no.test/", { resolve: async () => [] }).catch((e) => e)).toMatchObject(
      said("not_found", "no address"),
    )
  })

  it("has an address that is one, without a login", async () => {
    for (const address of ["http://", "http://[::/", "http://a b/", "http://1.2.3.4.5.6/", "https://:80"]) {
      expect(await fetchImage(address).catch((e) => e)).toMatchObject(said("bad_input", "no valid address"))
    }
    const login = await fetchImage("http://me:secret@public.test/x").catch((e) => e)
    expect(login).toMatchObject(said("bad_input", "http://public.test/x has a user name or password"))
    expect(login.message).not.toContain("secret")
    const long = await fetchImage(`http:// ${"long".repeat(1000)}`).catch((e) => e)
    expect(long.message.length).toBeLessThan(400)
  })
})

describe("limits", () => {
  it("of redirects, and where they lead", async () => {
    expect(await failure("/loop")).toMatchObject(said("io", "redirects more than 5 times"))
    expect(await failure("/once", { maxRedirects: 0 })).toMatchObject(said("io", "more than 0 times"))
    expect(await failure("/to-file")).toMatchObject(said("io", "redirects to file:"))
    expect(await failure("/to-login")).toMatchObject(said("io", "user name or password"))
    expect(await failure("/to-nonsense")).toMatchObject(said("io", "no valid address"))
  })

  it("of bytes, as promised, sent and decompressed", async () => {
    expect(await failure("/promises-much", { maxBytes: 4000 })).toMatchObject(said("io", "5000 bytes", "at most 4000"))
    expect(await failure("/sends-much", { maxBytes: 4000 })).toMatchObject(said("io", "more than 4000 bytes"))
    expect(await failure("/bomb", { maxBytes: 20_000 })).toMatchObject(said("io", "more than 20000 bytes"))
    expect(await failure("/empty-gzips", { maxBytes: 10_000 })).toMatchObject(said("io", "more than 10000 bytes"))
    expect((await fetched("/bomb", { maxBytes: 1_001_000 })).length).toBe(1_001_000)
  })

  it("of time, in all and without a byte", async () => {
    expect(await failure("/drips", { timeoutMs: 150 })).toMatchObject(said("io", "within 0.15 s"))
    for (const path of ["/stalls", "/silent"]) {
      expect(await failure(path, { stallMs: 100 })).toMatchObject(said("io", local(path), "nothing for 0.1 s"))
    }
    expect((await fetched("/slow", { stallMs: 500 })).length).toBe(12 * content.length)
  })

  it("the caller's signal ends it at each stage", async () => {
    const never = () => new Promise<never>(() => {})
    const stages: [string, FetchImageOptions][] = [
      ["http://public.test/", { resolve: never }],
      [local("/silent"), {}],
      [local("/stalls"), {}],
      [local("/drips"), {}],
    ]
    for (const [address, options] of stages) {
      const controller = new AbortController()
      const pending = fetchImage(address, { allowPrivateUrls: true, signal: controller.signal, ...options })
      setTimeout(() => controller.abort(), 30)
      expect(await pending.catch((e) => e)).toMatchObject({ code: "aborted" })
    }
    expect(await failure("/image", { signal: AbortSignal.abort() })).toMatchObject({ code: "aborted" })
    expect(await fetchImage("http://public.test/", { resolve: never, stallMs: 50 }).catch((e) => e)).toMatchObject({
      code: "io",
    })
  })
})

describe("addresses that are not public", () => {
  const refused = (address: string, options?: FetchImageOptions) =>
    fetchImage(address, options).then(
      () => "fetched",
      (e: IsaacError) => e,
    )

  it.each([
    ...["127.0.0.1", "127.1", "2130706433", "0x7f000001", "017700000001", "127.0.0.1.", "0", "①②⑦.0.0.1"],
    ...["10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "0xA9FEA9FE", "100.100.100.200"],
    ...["[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[fe80::1]", "[fd00:ec2::254]", "[::127.0.0.1]"],
    ...["[64:ff9b::10.0.0.1]", "[2002:7f00:1::]", "[2001:0:1:2::1]", "224.0.0.1", "255.255.255.255"],
  ])("http://%s/ is refused, and the message says how to allow it", async (host) => {
    const error = await refused(`http://${host}/latest/meta-data/`)
    expect(error).toMatchObject(said("bad_input", "is not fetched", "allowPrivateUrls: true", "--allow-private-urls"))
  })

  it("nothing is sent there", async () => {
    requests.length = 0
    expect(await refused(local("/image"))).toMatchObject(said("bad_input", "127.0.0.1 is this machine itself"))
    expect(await refused(`http://localhost:${port}/image`)).toMatchObject(said("bad_input", "localhost (", "loopback"))
    for (const host of ["localhost.", "LOCALHOST", "any.localhost"]) {
      expect(await refused(`http://${host}:${port}/image`)).toMatchObject(said("bad_input", "(127.0.0.1)", "loopback"))
    }
    expect(requests).toEqual([])
  })

  it("a name is refused when any of its addresses is", async () => {
    const resolve = async (): Promise<LookupAddress[]> => [
      { address: "8.8.8.8", family: 4 },
      { address: "10.0.0.7", family: 4 },
    ]
    expect(await refused("http://public.test/", { resolve })).toMatchObject(
      said("bad_input", "http://public.test/ is not fetched", "public.test (10.0.0.7) is a private network"),
    )
  })

  // From here on 127.0.0.1 passes for a public address.
  const judge = (address: string) => (address === "127.0.0.1" ? undefined : "elsewhere")
  const here = async (): Promise<LookupAddress[]> => [{ address: "127.0.0.1", family: 4 }]

  it("the address that was judged is the one that is connected to", async () => {
    let asked = 0
    const rebinding = async (): Promise<LookupAddress[]> => {
      // The first answer is harmless, all later ones are not.
      return asked++ === 0 ? here() : [{ address: "127.0.0.2", family: 4 }]
    }
    requests.length = 0
    expect(await fetchImage(`http://public.test:${port}/image`, { resolve: rebinding, judge })).toEqual(content)
    expect(asked).toBe(1)
    expect(requests.map(({ at, headers }) => [at, headers.host])).toEqual([["127.0.0.1", `public.test:${port}`]])
    // A redirect asks anew, and what is answered then is judged again.
    asked = 0
    expect(await refused(`http://public.test:${port}/once`, { resolve: rebinding, judge })).toMatchObject(
      said("bad_input", "public.test (127.0.0.2) is elsewhere"),
    )
  })

  it.each(["http://127.0.0.2/", "http://127.2:80/x", "//[::1]/", "http://inner.test/"])(
    "a redirect to %s is refused",
    async (target) => {
      const resolve = (host: string) =>
        host === "public.test" ? here() : Promise.resolve([{ address: "127.0.0.3", family: 4 }])
      const from = `http://public.test:${port}/to?${encodeURIComponent(target)}`
      expect(await refused(from, { resolve, judge })).toMatchObject(said("bad_input", "is elsewhere"))
      expect(await refused(`http://public.test:${port}/to?%2Fimage`, { resolve, judge })).toBe("fetched")
    },
  )

  it("connections that others keep open are not used", async () => {
    const agent = new Agent({ keepAlive: true })
    const before = http.globalAgent
    http.globalAgent = agent
    await new Promise<void>((resolve) => {
      const lookup = (_: string, __: unknown, done: (e: null, found: LookupAddress[]) => void) =>
        done(null, [{ address: "127.0.0.1", family: 4 }])
      httpGet(`http://kept.test:${port}/image`, { agent, lookup: lookup as never }, (response) =>
        response.resume().on("end", resolve),
      )
    })
    requests.length = 0
    const resolve = async (): Promise<LookupAddress[]> => [{ address: "127.0.0.2", family: 4 }]
    expect(await refused(`http://kept.test:${port}/image`, { resolve, judge })).toMatchObject({ code: "bad_input" })
    expect(requests).toEqual([])
    expect(Object.keys(agent.freeSockets)).toHaveLength(1)
    http.globalAgent = before
    agent.destroy()
  })
})
