/** The safetensors header: files that are right, nearly right, and not at all. */

import { isIsaacError } from "../../src/errors"
import { ELEMENT_BYTES, readSafetensorsHeader, type SafetensorsType } from "../../src/weights/safetensors"
import type { ByteSource } from "../../src/weights/source"
import { editText, pick } from "./random"
import { type FuzzTarget, outline, promise } from "./target"

const DTYPES = Object.keys(ELEMENT_BYTES) as SafetensorsType[]
const NAMES = [
  ...["a", "b", "model.norm.weight", "lm_head.weight", "", "__proto__", "constructor", "toString", "__metadata__"],
  ...["é😀", "\u001b[2J", "a\u0000b", "length", "0", "\ud800", "x".repeat(300), "model.layers.0.mlp.up_proj.weight"],
]
const ODD: readonly string[] = [
  ...["-1", "0", "1", "1.5", "-0", "1e0", "1e308", "1e999", "9007199254740991", "9007199254740992", "4294967296"],
  ...["18446744073709551615", "null", "true", '"4"', "[]", "{}", "[[[[[[]]]]]]", '{"a":1}', '{"toString":1}', '""'],
  ...['{"__proto__":null}', '[{"length":2}]', '"F32"', "[1]", "[0,0]", "[-1,-1]", "2147483648"],
]
const SYNTAX = [
  ...[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"',
    "\\",
    " ",
    "\n",
    "\\u0000",
    "\\ud800",
    "/*",
    "NaN",
    "Infinity",
    "'",
    "\ufeff",
    "\udcff",
  ],
  ...ODD,
  ...['"dtype"', '"shape"', '"data_offsets"', '"F32"', '"BF16"', '"a":', '"__metadata__":{"k":"v"},'],
]
/** As it stands in an input, before the header's text: a header length of its own instead of the true one. */
const LENGTHS = ["0", "1", "7", "8", "255", "4294967295", "4294967296", "16777216", "16777217", "9007199254740993"]

/** One tensor's fields as JSON texts, so that any of them can be anything. */
interface Entry {
  name: string
  dtype: string
  shape: string[]
  span: string[]
  /** Further fields, and fields that stand twice. */
  more: string[]
}

/**
 * Inputs read "length|data bytes|header": the length in the file's first 8 bytes (empty: that of the header), how many
 * bytes follow the header, and the header's text (see `bytesOf`).
 */
export const safetensorsTarget: FuzzTarget = {
  name: "safetensors",

  make(random) {
    // 1. A file that is right.
    const entries: Entry[] = []
    let end = 0
    for (let i = random(5); i >= 0; i--) {
      const dtype = pick(random, DTYPES)
      const shape = Array.from({ length: random(4) }, () => (random(9) === 0 ? 0 : 1 + random(4)))
      const bytes = shape.reduce((a, b) => a * b, ELEMENT_BYTES[dtype])
      const name = random(3) === 0 ? pick(random, NAMES) : `t${i}`
      const span = [String(end), String(end + bytes)]
      entries.push({ name, dtype: JSON.stringify(dtype), shape: shape.map(String), span, more: [] })
      end += bytes
    }
    let data = end
    let metadata = random(4) === 0 ? '"__metadata__":{"format":"pt"}' : ""
    let length = ""

    // 2. Lies in its fields.
    for (let lies = random(4); lies > 0; lies--) {
      const entry = pick(random, entries)
      switch (random(12)) {
        case 0:
          entry.dtype = random(2) ? JSON.stringify(pick(random, DTYPES)) : pick(random, ODD)
          break
        case 1:
          if (entry.shape.length > 0) entry.shape[random(entry.shape.length)] = pick(random, ODD)
          else entry.shape.push(pick(random, ODD))
          break
        case 2:
          entry.span[random(2)] = pick(random, ODD)
          break
        case 3:
          entry.span = entry.span.map((at) => String(Number(at) + random(5) - 2))
          break
        case 4: {
          const other = pick(random, entries)
          ;[entry.span, other.span] = [other.span, entry.span]
          break
        }
        case 5:
          entry.span.splice(random(3), random(2), pick(random, ODD))
          break
        case 6:
          entry.more.push(`${pick(random, ['"x"', '"shape"', '"dtype"', '"data_offsets"'])}:${pick(random, ODD)}`)
          break
        case 7:
          entry.name = pick(random, entries).name
          break
        case 8:
          data += random(9) - 4
          break
        case 9:
          metadata = `"__metadata__":${random(2) ? pick(random, ODD) : `{"a":${pick(random, ODD)}}`}`
          break
        case 10:
          length = pick(random, LENGTHS)
          break
        default:
          entry.shape = Array.from({ length: random(20) }, () => pick(random, ODD))
      }
    }
    let header = `{${[metadata, ...entries.map(entryText)].filter((part) => part !== "").join(",")}}`

    // 3. Damage to its text.
    if (random(3) === 0) header = editText(random, header, SYNTAX, 1 + random(4))
    if (random(40) === 0) {
      const at = random(header.length)
      header = header.slice(0, at) + pick(random, ["[", '{"a":']).repeat(1 + random(3000)) + header.slice(at)
    }
    if (random(20) === 0) header += " ".repeat(random(9))
    if (random(20) === 0) header = header.slice(0, random(header.length))
    if (random(30) === 0) data = random(64)
    return `${length}|${Math.max(0, data)}|${header}`
  },

  async check(input) {
    const file = fileOf(input)
    let largest = 0
    const source: ByteSource = {
      name: "x.safetensors",
      size: file.byteLength,
      async read(offset, length) {
        promise(offset >= 0 && length >= 0 && offset + length <= file.byteLength, `asked for ${offset}+${length}`)
        largest = Math.max(largest, length)
        return file.subarray(offset, offset + length)
      },
      async close() {},
    }
    try {
      const { tensors } = await readSafetensorsHeader(source)
      const dataBytes = file.byteLength - 8 - Number(new DataView(file.buffer).getBigUint64(0, true))
      let covered = 0
      for (const { name, dtype, shape, offset, bytes } of tensors.values()) {
        promise(offset + bytes <= file.byteLength, `${name} ends behind the file`)
        promise(shape.reduce((a, b) => a * b, ELEMENT_BYTES[dtype]) === bytes, `${name} is not as large as its shape`)
        covered += bytes
      }
      promise(covered === dataBytes, `tensors have ${covered} of ${dataBytes} bytes`)
      return `read ${Math.min(tensors.size, 6)}`
    } catch (error) {
      promise(isIsaacError(error) && error.code === "bad_checkpoint", `threw ${String(error)}`)
      promise(error.message.length < 1000, `the message has ${error.message.length} characters`)
      promise(!/\p{Cc}/u.test(error.message), "the message has control characters")
      return outline(error.message.replace(/ \(.*\)/s, ""))
    } finally {
      promise(largest <= file.byteLength, "more was read than there is")
    }
  },
}

function entryText({ name, dtype, shape, span, more }: Entry): string {
  const fields = [`"dtype":${dtype}`, `"shape":[${shape}]`, `"data_offsets":[${span}]`, ...more]
  return `${JSON.stringify(name)}:{${fields}}`
}

const utf8 = new TextEncoder()

/** The bytes of a text; a lone U+DC80 … U+DCFF is a byte of its own, 0x80 … 0xff, so that not everything is UTF-8. */
function bytesOf(text: string): Uint8Array {
  if (!/[\udc80-\udcff]/u.test(text)) return utf8.encode(text)
  return Uint8Array.from(
    [...text].flatMap((c) => (/[\udc80-\udcff]/u.test(c) ? [c.charCodeAt(0) & 0xff] : [...utf8.encode(c)])),
  )
}

export function fileOf(input: string): Uint8Array {
  const first = input.indexOf("|")
  const second = input.indexOf("|", first + 1)
  const header = bytesOf(input.slice(second + 1))
  const file = new Uint8Array(8 + header.byteLength + Number(input.slice(first + 1, second)))
  const length = first === 0 ? BigInt(header.byteLength) : BigInt.asUintN(64, BigInt(input.slice(0, first)))
  new DataView(file.buffer).setBigUint64(0, length, true)
  file.set(header, 8)
  return file
}
