/**
 * Writes a random model of a Qwen3 decoder's shape as GGUF v3, the file that llama.cpp reads: the header, metadata with a
 * made-up vocabulary, and the tensors in Q4_0 or Q8_0 (norms in F32).
 */

import { emitRepeated, halfBits, randomBytes, writeWhole } from "./random-blocks.mjs"
import { decoder, layerLinears } from "./shape.mjs"

const ALIGN = 32
const U32 = 4
const I32 = 5
const F32 = 6
const STRING = 8
const ARRAY = 9

/** Storage types: GGUF's code of a tensor and of a file, numbers and bytes of a block. */
export const STORED = {
  F32: { code: 0, numbers: 1, bytes: 4 },
  Q4_0: { code: 2, file: 2, numbers: 32, bytes: 18, step: 1 / 4.6 },
  Q8_0: { code: 8, file: 7, numbers: 32, bytes: 34, step: 1 / 73.9 },
}

/** Bytes of one tensor of `numbers` numbers. */
export const tensorBytes = (stored, numbers) => (numbers / STORED[stored].numbers) * STORED[stored].bytes

/** The tensors by llama.cpp's names: `{name, shape: [K, N] or [K], stored}`, K being the quickest index. */
export function ggufTensors(stored, shape = decoder) {
  const { layers, hidden, headDim, vocab } = shape
  const names = {
    q: "attn_q",
    k: "attn_k",
    v: "attn_v",
    o: "attn_output",
    gate: "ffn_gate",
    up: "ffn_up",
    down: "ffn_down",
  }
  const norm = (name, size) => ({ name: `${name}.weight`, shape: [size], stored: "F32" })
  const tensors = [
    { name: "token_embd.weight", shape: [hidden, vocab], stored },
    norm("output_norm", hidden),
    { name: "output.weight", shape: [hidden, vocab], stored },
  ]
  for (let n = 0; n < layers; n++) {
    for (const [name, K, N] of layerLinears(shape)) {
      tensors.push({ name: `blk.${n}.${names[name]}.weight`, shape: [K, N], stored })
    }
    tensors.push(norm(`blk.${n}.attn_norm`, hidden), norm(`blk.${n}.ffn_norm`, hidden))
    tensors.push(norm(`blk.${n}.attn_q_norm`, headDim), norm(`blk.${n}.attn_k_norm`, headDim))
  }
  return tensors
}

/** The metadata llama.cpp asks for: `[key, type, value]`; an array is `[key, ARRAY, [type, values]]`. */
function ggufMetadata(stored, shape) {
  const tokens = Array.from({ length: shape.vocab }, (_, id) => `t${id}`)
  return [
    ["general.architecture", STRING, "qwen3"],
    ["general.name", STRING, "random numbers of a decoder's shape"],
    ["general.file_type", U32, STORED[stored].file],
    ["general.quantization_version", U32, 2],
    ["general.alignment", U32, ALIGN],
    ["qwen3.block_count", U32, shape.layers],
    ["qwen3.context_length", U32, 40960],
    ["qwen3.embedding_length", U32, shape.hidden],
    ["qwen3.feed_forward_length", U32, shape.mlp],
    ["qwen3.attention.head_count", U32, shape.heads],
    ["qwen3.attention.head_count_kv", U32, shape.kvHeads],
    ["qwen3.attention.key_length", U32, shape.headDim],
    ["qwen3.attention.value_length", U32, shape.headDim],
    ["qwen3.attention.layer_norm_rms_epsilon", F32, shape.eps],
    ["qwen3.rope.freq_base", F32, shape.ropeTheta],
    ["tokenizer.ggml.model", STRING, "gpt2"],
    ["tokenizer.ggml.pre", STRING, "qwen2"],
    ["tokenizer.ggml.tokens", ARRAY, [STRING, tokens]],
    ["tokenizer.ggml.token_type", ARRAY, [I32, tokens.map(() => 1)]],
    ["tokenizer.ggml.merges", ARRAY, [STRING, ["t 0"]]],
    ["tokenizer.ggml.eos_token_id", U32, shape.vocab - 1],
    ["tokenizer.ggml.padding_token_id", U32, shape.vocab - 1],
  ]
}

/** Bytes of numbers and strings in file order. */
class Bytes {
  #parts = []
  length = 0

  push(bytes) {
    this.#parts.push(bytes)
    this.length += bytes.length
  }

  number(size, write) {
    const bytes = new Uint8Array(size)
    write(new DataView(bytes.buffer))
    this.push(bytes)
  }

  u32 = (x) => this.number(4, (view) => view.setUint32(0, x, true))
  u64 = (x) => this.number(8, (view) => view.setBigUint64(0, BigInt(x), true))

  string(text) {
    const bytes = Buffer.from(text, "utf8")
    this.u64(bytes.length)
    this.push(bytes)
  }

  value(type, x) {
    if (type === STRING) this.string(x)
    else if (type === F32) this.number(4, (view) => view.setFloat32(0, x, true))
    else if (type === ARRAY) {
      const [inner, values] = x
      this.u32(inner)
      this.u64(values.length)
      for (const value of values) this.value(inner, value)
    } else this.u32(x)
  }

  /** Everything so far, padded with zeros to a multiple of the alignment. */
  aligned() {
    return Buffer.concat(this.#parts, Math.ceil(this.length / ALIGN) * ALIGN)
  }
}

/** The bytes before the first tensor, and where each tensor lies: `{header, tensors, bytes}`. */
export function ggufHeader(stored, shape = decoder) {
  const out = new Bytes()
  const metadata = ggufMetadata(stored, shape)
  const tensors = ggufTensors(stored, shape)
  out.push(Buffer.from("GGUF"))
  out.u32(3)
  out.u64(tensors.length)
  out.u64(metadata.length)
  for (const [key, type, value] of metadata) {
    out.string(key)
    out.u32(type)
    out.value(type, value)
  }
  let offset = 0
  for (const tensor of tensors) {
    tensor.offset = offset
    tensor.bytes = tensorBytes(
      tensor.stored,
      tensor.shape.reduce((a, b) => a * b, 1),
    )
    out.string(tensor.name)
    out.u32(tensor.shape.length)
    for (const size of tensor.shape) out.u64(size)
    out.u32(STORED[tensor.stored].code)
    out.u64(offset)
    offset += Math.ceil(tensor.bytes / ALIGN) * ALIGN
  }
  const header = out.aligned()
  return { header, tensors, bytes: header.length + offset }
}

/** Blocks of Q4_0 or Q8_0 whose numbers have a deviation of about 0.02, as trained weights have: sums stay of order 1. */
function randomTile(stored, blocks, seed) {
  const { bytes, step } = STORED[stored]
  const tile = randomBytes(blocks * bytes, seed)
  for (let n = 0; n < blocks; n++) {
    const scale = halfBits(0.02 * step * (0.75 + tile[n * bytes] / 512))
    tile[n * bytes] = scale & 255
    tile[n * bytes + 1] = scale >>> 8
  }
  return tile
}

/** Writes the file; returns its bytes. */
export function writeGguf(path, stored, shape = decoder, seed = 1) {
  const { header, tensors, bytes } = ggufHeader(stored, shape)
  const tile = randomTile(stored, 1 << 17, seed)
  writeWhole(path, (emit) => {
    emit(header)
    for (const [n, tensor] of tensors.entries()) {
      if (tensor.stored === "F32") {
        emit(new Uint8Array(new Float32Array(tensor.bytes / 4).fill(1).buffer))
      } else emitRepeated(emit, tile, STORED[stored].bytes, tensor.bytes, n)
      emit(new Uint8Array((ALIGN - (tensor.bytes % ALIGN)) % ALIGN))
    }
  })
  return bytes
}
