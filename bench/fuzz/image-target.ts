/** Damaged picture files, as base64. */

import { isIsaacError } from "../../src/errors"
import { decodeImage } from "../../src/processor/decode-image-node"
import { damaged } from "./damage-image"
import { imageSeeds } from "./image-seeds"
import { pick } from "./random"
import { type FuzzTarget, outline, promise } from "./target"

const seeds = await imageSeeds()

export const imageTarget: FuzzTarget = {
  name: "image",

  make(random) {
    return Buffer.from(damaged(random, pick(random, seeds).bytes)).toString("base64")
  },

  async check(input) {
    try {
      const { width, height, data } = await decodeImage(Buffer.from(input, "base64"), "the picture")
      promise(data.length === width * height * 3, `${width}×${height} pixels have ${data.length} bytes`)
      return "pixels"
    } catch (error) {
      promise(isIsaacError(error) && error.code === "bad_image", `threw ${String(error)}`)
      promise(error.message.length < 500, "the message is long")
      return outline(error.message.replace(/^.*?bytes\)/, ""))
    }
  },
}
