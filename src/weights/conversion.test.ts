import { describe, expect, it } from "vitest"
import { packedBytes, Q8_ARITHMETIC } from "../ops/backend"
import { openCheckpoint } from "./checkpoint"
import { type Conversion, conversionMetadata } from "./conversion"
import { encodeSafetensors, type TensorData } from "./safetensors"
import { bytesFiles } from "./source"

const EMBEDDING = "model.embed_tokens.weight"
const HEAD = "lm_head.weight"
const SHAPE = [40, 130] as const
const packed = (length = packedBytes(SHAPE, "q8")): TensorData => ({
  shape: [length],
  data: Uint8Array.from({ length }, (_, i) => i % 251),
})
const norm: TensorData = { shape: [2], data: Float32Array.of(1, 2) }
const conversion = (changes: Partial<Conversion> = {}): Conversion => ({
  stored: "q8",
  packed: new Map([[EMBEDDING, { shape: SHAPE, stored: "q8" }]]),
  same: new Map([[HEAD, EMBEDDING]]),
  source: "abc",
  ...changes,
})

/** Opens a folder whose weight file has these tensors and this metadata. */
function open(
  metadata: Record<string, string | undefined> = {},
  tensors: Record<string, TensorData> = { [EMBEDDING]: packed(), "model.norm.weight": norm },
) {
  const all = { ...conversionMetadata(conversion()), ...metadata }
  const present = Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return openCheckpoint(
    bytesFiles("folder", {
      "config.json": new TextEncoder().encode("{}"),
      "model.safetensors": encodeSafetensors(tensors, Object.fromEntries(present)),
    }),
  )
}

describe("a converted checkpoint", () => {
  it("shows packed matrices with their own shapes, and what shares its numbers under both names", async () => {
    const checkpoint = await open()
    const embedding = { dtype: "Q8", shape: [40, 130], bytes: packedBytes(SHAPE, "q8") }
    expect(checkpoint.tensors.get(EMBEDDING)).toMatchObject({ name: EMBEDDING, ...embedding })
    expect(checkpoint.tensors.get(HEAD)).toMatchObject({ name: HEAD, storedName: EMBEDDING, ...embedding })
    expect(checkpoint.tensors.get("model.norm.weight")).toMatchObject({ dtype: "F32", shape: [2] })
    expect(await checkpoint.sameTensor(HEAD, EMBEDDING)).toBe(true)
    const { bytes, dtype, shape, float32 } = await checkpoint.read(HEAD)
    expect([dtype, shape]).toEqual(["Q8", [40, 130]])
    expect([...bytes]).toEqual([...packed().data])
    expect(float32).toThrow(expect.objectContaining({ code: "unsupported" }))
    expect([...(await checkpoint.readPart(EMBEDDING, 10, 3))]).toEqual([10, 11, 12])
    await expect(checkpoint.readPart(EMBEDDING, bytes.length - 1, 2)).rejects.toMatchObject({ code: "internal" })
  })

  it("of q4 has its own bytes and words, and names its matrices of q8", async () => {
    const other = "model.x.weight"
    const tensors = { [EMBEDDING]: packed(packedBytes(SHAPE, "q4")), [other]: packed() }
    const matrices = new Map([
      [EMBEDDING, { shape: SHAPE, stored: "q4" as const }],
      [other, { shape: SHAPE, stored: "q8" as const }],
    ])
    const metadata = conversionMetadata(conversion({ stored: "q4", packed: matrices }))
    expect(metadata).toMatchObject({
      "isaac.stored": "q4",
      "isaac.arithmetic": expect.stringMatching(/^q4: weights 4 bits.*; q8: weights 7 bits/),
      "isaac.types": `{"${other}":"q8"}`,
    })
    const { tensors: found } = await open(metadata, tensors)
    const bytes = packedBytes(SHAPE, "q4")
    expect(found.get(HEAD)).toMatchObject({ dtype: "Q4", shape: [40, 130], bytes })
    expect(found.get(other)).toMatchObject({ dtype: "Q8", shape: [40, 130], bytes: packedBytes(SHAPE, "q8") })
    for (const changes of [
      { "isaac.types": undefined },
      { "isaac.types": "[]" },
      { "isaac.types": `{"${other}":"bf16"}` },
      { "isaac.types": `{"${other}":4}` },
      { "isaac.types": `{"${other}":"q8","${EMBEDDING}":"q8"}` },
      { "isaac.stored": "q8", "isaac.arithmetic": Q8_ARITHMETIC },
      { "isaac.stored": "bf16" },
    ]) {
      await expect(open({ ...metadata, ...changes }, tensors)).rejects.toMatchObject({ code: "bad_checkpoint" })
    }
    const foreign = open({ ...metadata, "isaac.arithmetic": Q8_ARITHMETIC }, tensors)
    await expect(foreign).rejects.toMatchObject({ code: "unsupported" })
  })

  it("leaves U8 tensors of other files alone", async () => {
    const checkpoint = await open({ "isaac.stored": undefined, "isaac.shapes": undefined })
    expect(checkpoint.tensors.get(EMBEDDING)).toMatchObject({ dtype: "U8", shape: packed().shape })
    expect(checkpoint.tensors.has(HEAD)).toBe(false)
  })

  it("notes its arithmetic and version only where they count", () => {
    expect(conversionMetadata(conversion())).toEqual({
      "isaac.stored": "q8",
      "isaac.layout": "1",
      "isaac.arithmetic": Q8_ARITHMETIC,
      "isaac.shapes": `{"${EMBEDDING}":[40,130]}`,
      "isaac.same": `{"${HEAD}":"${EMBEDDING}"}`,
      "isaac.source": "abc",
    })
    const plain = conversion({ stored: "bf16", packed: new Map(), same: new Map(), source: undefined })
    expect(conversionMetadata(plain)).toEqual({ "isaac.stored": "bf16", "isaac.layout": "1" })
  })

  it.each([
    ["another type", { "isaac.stored": "q3" }, /converted to "q3".*Convert the original checkpoint again/],
    ["a newer layout", { "isaac.layout": "2" }, /layout "2"; layout 1 is known/],
    ["no layout", { "isaac.layout": undefined }, /layout undefined/],
    ["another arithmetic", { "isaac.arithmetic": "5 bits" }, /arithmetic "5 bits"/],
  ])("of %s is unsupported, with what to do", async (_, metadata, message) => {
    await expect(open(metadata)).rejects.toMatchObject({ code: "unsupported", message: expect.stringMatching(message) })
  })

  const shapes = (value: unknown) => ({ "isaac.shapes": JSON.stringify(value) })
  it.each<[string, Record<string, string>, RegExp]>([
    ["shapes that are no JSON", { "isaac.shapes": "{" }, /isaac\.shapes is no JSON object/],
    ["shapes that are a list", shapes([1]), /isaac\.shapes is no JSON object/],
    ["a shape of one axis", shapes({ [EMBEDDING]: [5200] }), /\[5200\].*no shape of a matrix/],
    ["a negative size", shapes({ [EMBEDDING]: [-40, -130] }), /no shape of a matrix/],
    ["a size that is no number", shapes({ [EMBEDDING]: ["40", 130] }), /no shape of a matrix/],
    ["a size beyond all bounds", shapes({ [EMBEDDING]: [2 ** 53, 130] }), /no shape of a matrix/],
    ["a shape that needs more bytes", shapes({ [EMBEDDING]: [72, 130] }), /takes \d+ bytes as q8, but \d+ are stored/],
    ["a shape that needs fewer", shapes({ [EMBEDDING]: [40, 13] }), /takes \d+ bytes as q8, but \d+ are stored/],
    ["a shape of a tensor that is not there", shapes({ "model.x.weight": [40, 130] }), /has no such U8 tensor/],
    ["a shape of a tensor of numbers", shapes({ "model.norm.weight": [1, 2] }), /has no such U8 tensor/],
    ["a twin that is not there", { "isaac.same": `{"${HEAD}":"model.y.weight"}` }, /model\.y\.weight is not there/],
    ["a twin of what is stored", { "isaac.same": `{"model.norm.weight":"${EMBEDDING}"}` }, /is stored itself/],
    ["a twin that is no name", { "isaac.same": `{"${HEAD}":1}` }, /isaac\.same says 1/],
    ["a twin named like what every object has", { "isaac.same": `{"${HEAD}":"__proto__"}` }, /__proto__ is not there/],
  ])("with %s is refused", async (_, metadata, message) => {
    await expect(open(metadata)).rejects.toMatchObject({
      code: "bad_checkpoint",
      message: expect.stringMatching(message),
    })
  })
})
