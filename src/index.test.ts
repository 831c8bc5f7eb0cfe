import { describe, expect, it } from "vitest"
import * as vlm from "./index"
import * as web from "./index-web"

describe("the package", () => {
  it("has the boxes of the architecture by their names", () => {
    expect(Object.keys(vlm).sort()).toEqual([
      "Isaac",
      "IsaacError",
      "IsaacModel",
      "IsaacProcessor",
      "Stream",
      "TensorStream",
      "assistant",
      "box",
      "collection",
      "contactSheet",
      "createEvent",
      "drawImage",
      "drawOnPixels",
      "drawSvg",
      "image",
      "isIsaacError",
      "point",
      "polygon",
      "system",
      "text",
      "toDataUri",
      "user",
    ])
  })

  it("has the same names, with the same types, in a browser", () => {
    expect(Object.keys(web).sort()).toEqual(Object.keys(vlm).sort())
    // One declaration file serves both.
    const isaac: typeof vlm.Isaac.load extends typeof web.Isaac.load ? true : false = true
    const back: typeof web.Isaac.load extends (...request: Parameters<typeof vlm.Isaac.load>) => unknown
      ? true
      : false = true
    expect(isaac && back).toBe(true)
  })
})
