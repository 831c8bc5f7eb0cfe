import { describe, expect, it } from "vitest"
import { isHubId, parseHubId } from "./hub-id"

describe("Hub ids", () => {
  it("are ORG/NAME, with a revision or without", () => {
    expect(parseHubId("PerceptronAI/Isaac-0.1")).toEqual({ org: "PerceptronAI", name: "Isaac-0.1", revision: "main" })
    expect(parseHubId("a/b@refs/pr/3")).toEqual({ org: "a", name: "b", revision: "refs/pr/3" })
    expect(parseHubId("a/b", "v1.0")).toMatchObject({ revision: "v1.0" })
    expect(parseHubId("a/b@v1.0", "v1.0")).toMatchObject({ revision: "v1.0" })
    expect(() => parseHubId("a/b@v1.0", "v2.0")).toThrow(/contradict/)
  })

  it.each([
    "tiny",
    "a/b/c",
    "../b",
    "a/..",
    "a/b..c",
    "a/b--c",
    "./a",
    "/a",
    "a/",
    "/a/b",
    "C:\\a",
    "a b/c",
    "a/b@",
    "",
  ])("are not %j", (text) => {
    expect(isHubId(text)).toBe(false)
    expect(() => parseHubId(text)).toThrow(expect.objectContaining({ code: "bad_input" }))
  })

  it.each(["../x", "a/../b", "/a", "a//b", ".hidden", "a/.b", "a\\b", "a\0b", "a b", "x".repeat(256)])(
    "have no revision %j",
    (revision) => {
      expect(isHubId(`a/b@${revision}`)).toBe(false)
      expect(() => parseHubId("a/b", revision)).toThrow(/is no revision/)
    },
  )
})
