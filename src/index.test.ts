import { describe, expect, it } from "vitest"
import * as vlm from "./index"

describe("the package", () => {
  it("has the boxes of the architecture by their names", () => {
    expect(Object.keys(vlm).sort()).toEqual([
      "Isaac",
      "IsaacError",
      "IsaacModel",
      "IsaacProcessor",
      "Stream",
      "TensorStream",
      "createEvent",
      "isIsaacError",
    ])
  })
})
