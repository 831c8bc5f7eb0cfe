import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { homedir, tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { hubEnvironment } from "./hub-environment-node"

/** A home without a token file. */
const NOWHERE = { HF_HOME: join(tmpdir(), "no-such-isaac-home") }

describe("the Hub's environment variables", () => {
  it("have the defaults of the Hub's own tools", async () => {
    const found = await hubEnvironment({ HF_TOKEN_PATH: "/no/such/file", HF_TOKEN: " ", HF_ENDPOINT: "" })
    expect(found).toEqual({
      endpoint: "https://huggingface.co",
      token: undefined,
      cacheDir: join(homedir(), ".cache", "huggingface", "hub"),
      offline: false,
    })
  })

  it("choose the cache: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, in this order", async () => {
    const cacheDir = async (env: Record<string, string>) => (await hubEnvironment(env)).cacheDir
    const xdg = { XDG_CACHE_HOME: "/x" }
    expect(await cacheDir(xdg)).toBe(join("/x", "huggingface", "hub"))
    expect(await cacheDir({ ...xdg, HF_HOME: "~/hf" })).toBe(join(homedir(), "hf", "hub"))
    expect(await cacheDir({ ...xdg, HF_HOME: "/h", HF_HUB_CACHE: "/c" })).toBe("/c")
    expect((await hubEnvironment({ HF_HUB_CACHE: "/c" }, { cacheDir: "/own" })).cacheDir).toBe("/own")
  })

  it("choose the token: HF_TOKEN before the file", async () => {
    const home = await mkdtemp(join(tmpdir(), "isaac-hub-env-"))
    await writeFile(join(home, "token"), "hf_file\n")
    expect((await hubEnvironment({ HF_HOME: home })).token).toBe("hf_file")
    expect((await hubEnvironment({ HF_HOME: home, HF_TOKEN: "hf_env" })).token).toBe("hf_env")
    expect((await hubEnvironment({ ...NOWHERE, HF_TOKEN_PATH: join(home, "token") })).token).toBe("hf_file")
    await rm(home, { recursive: true })
  })

  it.each([["1"], ["ON"], ["Yes"], ["true"]])("HF_HUB_OFFLINE=%s means offline", async (value) => {
    expect((await hubEnvironment({ ...NOWHERE, HF_HUB_OFFLINE: value })).offline).toBe(true)
  })

  it("does not take 0 for offline", async () => {
    expect((await hubEnvironment({ ...NOWHERE, HF_HUB_OFFLINE: "0" })).offline).toBe(false)
  })

  it("refuses an endpoint that is no address, and a token that would break a header, without showing it", async () => {
    for (const HF_ENDPOINT of ["huggingface.co", "ftp://x", "file:///x"]) {
      await expect(hubEnvironment({ ...NOWHERE, HF_ENDPOINT })).rejects.toMatchObject({ code: "bad_input" })
    }
    const error = await hubEnvironment({ ...NOWHERE, HF_TOKEN: "hf_a\r\nb" }).catch((error: Error) => error)
    expect(error).toMatchObject({ code: "bad_input", message: expect.not.stringContaining("hf_a") })
  })
})
