/**
 * Writes a random model of the decoder's shape for ONNX Runtime, the way published exports for transformers.js and
 * onnxruntime-genai are built: MatMulNBits (4 bits, blocks of 32, int8 arithmetic), GroupQueryAttention with rotary
 * positions inside, embeddings as input, past keys and values in and out. Weights lie in a file of their own.
 */

import { basename } from "node:path"
import { emitRepeated, randomBytes, writeWhole } from "./random-blocks.mjs"
import { decoder, layerLinears } from "./shape.mjs"

const FLOAT = 1
const UINT8 = 2
const INT32 = 6
const INT64 = 7
const BLOCK = 32

/** A protobuf field: varint for numbers, length-delimited for strings, bytes and nested messages (arrays of fields). */
export function field(number, value) {
  if (typeof value === "number" || typeof value === "bigint") return [varint(number << 3), varint(value)]
  const bytes = message(value)
  return [varint((number << 3) | 2), varint(bytes.length), bytes]
}

/** The bytes of a string, of bytes, or of a (nested) array of them. */
function message(value) {
  if (typeof value === "string") return Buffer.from(value, "utf8")
  if (value instanceof Uint8Array) return value
  return Buffer.concat(value.flat(Number.POSITIVE_INFINITY))
}

function varint(value) {
  const bytes = []
  for (let left = BigInt.asUintN(64, BigInt(value)); ; left >>= 7n) {
    if (left < 128n) return Uint8Array.from([...bytes, Number(left)])
    bytes.push(Number(left & 127n) | 128)
  }
}

const float = (number, value) => [varint((number << 3) | 5), new Uint8Array(Float32Array.of(value).buffer)]

function attribute([name, value]) {
  if (typeof value === "object") return field(5, [field(1, name), float(2, value.float), field(20, 1)])
  return field(5, [field(1, name), field(3, value), field(20, 2)])
}

function node(op, inputs, outputs, attributes = {}, domain = "") {
  const names = [inputs.map((name) => field(1, name)), outputs.map((name) => field(2, name))]
  const rest = [field(3, `${op}:${outputs[0]}`), field(4, op), Object.entries(attributes).map(attribute)]
  return field(1, [names, rest, domain ? field(7, domain) : []])
}

const microsoft = "com.microsoft"
const dims = (shape) => shape.map((size) => field(1, size))

/** A small constant, stored in the model itself. */
const constant = (name, type, shape, numbers) =>
  field(5, [dims(shape), field(2, type), field(8, name), field(9, new Uint8Array(numbers.buffer))])

/** A declared input or output; a dimension is a number or a name. */
function declared(number, name, type, shape) {
  const sizes = shape.map((size) => field(1, typeof size === "string" ? field(2, size) : field(1, size)))
  return field(number, [field(1, name), field(2, field(1, [field(1, type), field(2, sizes)]))])
}

/** The model's bytes, and what its file of weights holds: `{model, weights: [{kind, offset, bytes}], bytes}`. */
export function onnxDecoder(dataName, shape = decoder, maxPositions = 4096) {
  const { layers, hidden, heads, kvHeads, headDim, vocab, eps, ropeTheta } = shape
  const nodes = []
  const initializers = []
  const weights = []
  let bytes = 0
  const stored = (name, type, size, kind) => {
    const length = size.reduce((a, b) => a * b, type === FLOAT ? 4 : 1)
    const entry = (key, value) => field(13, [field(1, key), field(2, String(value))])
    const place = [entry("location", dataName), entry("offset", bytes), entry("length", length), field(14, 1)]
    initializers.push(field(5, [dims(size), field(2, type), field(8, name), place]))
    weights.push({ kind, offset: bytes, bytes: length })
    bytes += Math.ceil(length / 64) * 64
  }
  const linear = (input, name, K, N) => {
    stored(`${name}.q`, UINT8, [N, K / BLOCK, BLOCK / 2], "quantised")
    stored(`${name}.scales`, FLOAT, [N, K / BLOCK], "scale")
    const attributes = { K, N, bits: 4, block_size: BLOCK, accuracy_level: 4 }
    nodes.push(node("MatMulNBits", [input, `${name}.q`, `${name}.scales`], [name], attributes, microsoft))
    return name
  }
  const ones = (name, size) => initializers.push(constant(name, FLOAT, [size], new Float32Array(size).fill(1)))
  const norm = { axis: -1, epsilon: { float: eps }, stash_type: 1 }
  const headNorm = (input) => {
    ones(`${input}.gamma`, headDim)
    nodes.push(node("Reshape", [input, "heads"], [`${input}.heads`]))
    nodes.push(
      node("SimplifiedLayerNormalization", [`${input}.heads`, `${input}.gamma`], [`${input}.normed`], norm),
      node("Reshape", [`${input}.normed`, input.endsWith("q") ? "joined.q" : "joined.k"], [`${input}.ready`]),
    )
    return `${input}.ready`
  }

  // Positions: cos and sin of a token's position by each frequency.
  const half = headDim / 2
  const angles = Float32Array.from({ length: maxPositions * half }, (_, i) => {
    return Math.floor(i / half) * ropeTheta ** (-(i % half) / half)
  })
  initializers.push(
    constant("cos", FLOAT, [maxPositions, half], angles.map(Math.cos)),
    constant("sin", FLOAT, [maxPositions, half], angles.map(Math.sin)),
    constant("heads", INT64, [3], BigInt64Array.of(0n, -1n, BigInt(headDim))),
    constant("joined.q", INT64, [3], BigInt64Array.of(0n, -1n, BigInt(heads * headDim))),
    constant("joined.k", INT64, [3], BigInt64Array.of(0n, -1n, BigInt(kvHeads * headDim))),
    constant("last", INT64, [1], BigInt64Array.of(-1n)),
  )

  // The residual stream x, and what the last block adds to it; the next norm adds them up.
  let x = "embeds"
  let added
  const nextNorm = (name) => {
    ones(`${name}.gamma`, hidden)
    const epsilon = { epsilon: norm.epsilon }
    if (added === undefined) {
      nodes.push(node("SimplifiedLayerNormalization", [x, `${name}.gamma`], [name], norm))
    } else {
      const outputs = [name, "", "", `${name}.sum`]
      nodes.push(node("SkipSimplifiedLayerNormalization", [x, added, `${name}.gamma`], outputs, epsilon, microsoft))
      x = `${name}.sum`
    }
    return name
  }
  for (let n = 0; n < layers; n++) {
    const sizes = Object.fromEntries(layerLinears(shape).map(([name, K, N]) => [name, [K, N]]))
    const matrix = (input, name) => linear(input, `${n}.${name}`, ...sizes[name])
    const normed = nextNorm(`${n}.norm`)
    const q = headNorm(matrix(normed, "q"))
    const k = headNorm(matrix(normed, "k"))
    const v = matrix(normed, "v")
    const cache = [`past.${n}.key`, `past.${n}.value`]
    const inputs = [q, k, v, ...cache, "seqlens", "total", "cos", "sin"]
    const outputs = [`${n}.attended`, `present.${n}.key`, `present.${n}.value`]
    const attributes = { num_heads: heads, kv_num_heads: kvHeads, do_rotary: 1, rotary_interleaved: 0 }
    nodes.push(node("GroupQueryAttention", inputs, outputs, attributes, microsoft))
    added = matrix(`${n}.attended`, "o")
    const middle = nextNorm(`${n}.norm2`)
    const gate = matrix(middle, "gate")
    const up = matrix(middle, "up")
    nodes.push(node("Sigmoid", [gate], [`${n}.sigmoid`]), node("Mul", [gate, `${n}.sigmoid`], [`${n}.silu`]))
    nodes.push(node("Mul", [`${n}.silu`, up], [`${n}.product`]))
    added = matrix(`${n}.product`, "down")
  }
  nodes.push(node("Gather", [nextNorm("norm"), "last"], ["last row"], { axis: 1 }))
  linear("last row", "logits", hidden, vocab)

  const cacheNames = (kind) =>
    Array.from({ length: layers }, (_, n) => [`${kind}.${n}.key`, `${kind}.${n}.value`]).flat()
  const graph = [
    nodes,
    field(2, "decoder"),
    initializers,
    declared(11, "embeds", FLOAT, ["batch", "length", hidden]),
    declared(11, "seqlens", INT32, ["batch"]),
    declared(11, "total", INT32, []),
    cacheNames("past").map((name) => declared(11, name, FLOAT, ["batch", kvHeads, "past", headDim])),
    declared(12, "logits", FLOAT, ["batch", 1, vocab]),
    cacheNames("present").map((name) => declared(12, name, FLOAT, ["batch", kvHeads, "total", headDim])),
  ]
  const opsets = [field(8, [field(1, ""), field(2, 18)]), field(8, [field(1, microsoft), field(2, 1)])]
  const model = message([field(1, 9), field(2, "isaac-vlm"), field(7, graph), opsets])
  return { model, weights, bytes }
}

/** Writes the model and its weights (`path` with `.data` behind); returns the bytes of both. */
export function writeOnnx(path, shape = decoder, seed = 1) {
  const dataPath = `${path}.data`
  const { model, weights, bytes } = onnxDecoder(basename(dataPath), shape)
  const quantised = randomBytes(1 << 22, seed)
  const next = randomBytes(1 << 20, seed + 1)
  // Numbers of a deviation of about 0.02, as trained weights have: sums stay of order 1.
  const scale = new Uint8Array(Float32Array.from(next, (byte) => (0.02 / 4.6) * (0.75 + byte / 512)).buffer)
  writeWhole(dataPath, (emit) => {
    for (const [n, weight] of weights.entries()) {
      const tile = weight.kind === "scale" ? scale : quantised
      emitRepeated(emit, tile, 64, weight.bytes, n)
      emit(new Uint8Array((64 - (weight.bytes % 64)) % 64))
    }
  })
  writeWhole(path, (emit) => emit(model))
  return bytes + model.length
}
