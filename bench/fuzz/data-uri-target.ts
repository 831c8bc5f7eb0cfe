/** Data URIs. */

import { isIsaacError } from "../../src/errors"
import { parseDataUri } from "../../src/processor/data-uri"
import { editText, pick } from "./random"
import { type FuzzTarget, outline, promise } from "./target"

const LIMIT = 64

export const dataUriTarget: FuzzTarget = {
  name: "data-uri",

  make(random) {
    const bytes = Array.from({ length: random(random(8) === 0 ? 120 : 40) }, () => random(256))
    const type = pick(random, ["image/png", "", "text/plain;charset=utf-8", "IMAGE/JPEG", ";", "a".repeat(90)])
    const base64 = random(3) > 0
    const content = base64
      ? btoa(String.fromCharCode(...bytes))
      : bytes.map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join("")
    const uri = `${pick(random, ["data:", "data:", "DATA:", "date:"])}${type}${base64 ? ";base64" : ""},${content}`
    const pieces = [
      "%",
      "%2",
      "%zz",
      "=",
      "==",
      ",",
      ";base64",
      "data:",
      " ",
      "-",
      "_",
      "\n",
      "é",
      "\ud800",
      "+",
      "%2B",
    ]
    return random(3) === 0 ? uri : editText(random, uri, pieces, random(6))
  },

  check(input) {
    try {
      const { type, bytes } = parseDataUri(input, LIMIT)
      promise(bytes.byteLength <= LIMIT, `${bytes.byteLength} bytes were read, ${LIMIT} are allowed`)
      promise(type !== "", "there is no type")
      return `read ${bytes.byteLength === 0 ? "nothing" : "bytes"}`
    } catch (error) {
      promise(isIsaacError(error) && error.code === "bad_input", `threw ${String(error)}`)
      promise(error.message.length < 400, "the message is long")
      return outline(error.message.replace(/^.* is not|URI .* is not/s, "is not"))
    }
  },
}
