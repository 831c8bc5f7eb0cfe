/**
 * Layers of the real size against the reference: one vision layer, the vision chain around it, the projector and one
 * decoder layer. Weights and inputs come from an integer hash, so nothing of 500 MB is stored.
 */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import type { TextConfig, VisionConfig } from "../src/model"
import { decoderLayer } from "../src/model/decoder"
import { inverseFrequencies, ropeTables } from "../src/model/mrope"
import { pixelShuffle } from "../src/model/pixel-shuffle"
import { project } from "../src/model/projector"
import { embedPatches } from "../src/model/vision-embeddings"
import { cumulativeLengths, type VisionLayerWeights, visionLayer } from "../src/model/vision-encoder"
import type { Backend, Tensor, Weight } from "../src/ops/backend"
import { type GoldenTensor, readGolden, readGoldenJson } from "./golden"

interface Generated {
  readonly shape: readonly number[]
  readonly seed: number
  readonly amplitude: number
  readonly offset: number
}

interface Spec {
  readonly token_grids: readonly (readonly [number, number])[]
  readonly cu_seqlens: readonly number[]
  readonly vision: {
    readonly hidden_size: number
    readonly intermediate_size: number
    readonly num_attention_heads: number
    readonly layer_norm_eps: number
    readonly position_grid: number
    readonly pixel_shuffle: number
    readonly patch_dim: number
  }
  readonly text: {
    readonly hidden_size: number
    readonly intermediate_size: number
    readonly num_attention_heads: number
    readonly num_key_value_heads: number
    readonly head_dim: number
    readonly rms_norm_eps: number
    readonly rope_theta: number
    readonly seq_len: number
  }
  readonly weights: Readonly<Record<string, Generated>>
  readonly inputs: Readonly<Record<string, Generated>>
  readonly outputs: readonly { readonly name: string; readonly fp32_vs_fp64_max: number }[]
  readonly hash_check: {
    readonly x_values: readonly { readonly i: number; readonly seed: number; readonly x: number }[]
    readonly first_values: Readonly<Record<string, readonly number[]>>
  }
}

export interface RealDimsOptions {
  /** Times the reference's float32 noise of each output. Default 5; at most 10. */
  readonly factor?: number
  /**
   * Which images to compute: a slow backend takes the second (140 patches) alone, which is the same, since packed
   * images do not see each other. Default both.
   */
  readonly images?: readonly number[]
  /** Rows of the projector's own input. Default all. */
  readonly projectorRows?: number
}

/** A 32-bit integer hash. */
function hash(i: number, seed: number): number {
  let x = (i + Math.imul(seed, 0x9e3779b9)) | 0
  x ^= x >>> 16
  x = Math.imul(x, 0x21f0aaad)
  x ^= x >>> 15
  x = Math.imul(x, 0x735a2d97)
  x ^= x >>> 15
  return x >>> 0
}

function generate({ shape, seed, amplitude, offset }: Generated): Float32Array {
  const out = new Float32Array(shape.reduce((a, b) => a * b))
  for (let i = 0; i < out.length; i++) out[i] = offset + ((hash(i, seed) >>> 8) / 2 ** 24 - 0.5) * 2 * amplitude
  return out
}

/** Declares the tests of one backend. */
export function realDimsGoldens(name: string, create: () => Promise<Backend>, options: RealDimsOptions = {}): void {
  const { factor = 5, images = [0, 1], projectorRows } = options
  const spec = readGoldenJson<Spec>("real-dims/spec.json")

  describe(`real sizes on ${name}`, () => {
    let backend: Backend
    let samples: Map<string, GoldenTensor>
    let loaded: (Tensor | Weight)[] = []
    const worst: string[] = []

    beforeAll(async () => {
      samples = await readGolden("real-dims/samples.safetensors")
      backend = await create()
    })
    afterAll(async () => {
      if (process.env.ISAAC_PRINT_ERRORS) console.log([`real sizes on ${name}: largest error`, ...worst].join("\n"))
      await backend.dispose()
    })
    beforeEach(() => {
      loaded = []
    })
    afterEach(() => backend.free(...loaded))

    const matrix = (weight: string): Weight => {
      const { buffer } = generate(spec.weights[weight])
      const [out, in_] = spec.weights[weight].shape
      const made = backend.loadWeight(new Uint8Array(buffer as ArrayBuffer), "F32", [out, in_], "f32")
      loaded.push(made)
      return made
    }
    const upload = (made: Generated): Tensor => {
      const tensor = backend.upload(generate(made), made.shape)
      loaded.push(tensor)
      return tensor
    }
    const vector = (weight: string) => upload(spec.weights[weight])
    const linear = (weight: string) => ({ weight: matrix(`${weight}.weight`), bias: vector(`${weight}.bias`) })
    const layerNorm = (weight: string) => ({ weight: vector(`${weight}.weight`), bias: vector(`${weight}.bias`) })

    /** Compare rows `rows` of output `output` with the samples that lie in them, and their norms. */
    const matches = async (output: string, tensor: Tensor, rows: readonly number[]) => {
      const got = await backend.read(tensor)
      const width = tensor.shape[1]
      const at = new Map(rows.map((row, i) => [row, i]))
      const index = samples.get(`${output}.index`)!.data
      const value = samples.get(`${output}.value_f64`)!.data
      let error = 0
      let compared = 0
      for (let i = 0; i < index.length; i++) {
        const row = at.get(Math.floor(index[i] / width))
        if (row === undefined) continue
        error = Math.max(error, Math.abs(got[row * width + (index[i] % width)] - value[i]))
        compared++
      }
      worst.push(`  ${output.padEnd(28)} ${error.toExponential(1)}  (${compared} samples)`)
      expect(compared).toBeGreaterThan(50)
      const noise = spec.outputs.find((entry) => entry.name === output)!.fp32_vs_fp64_max
      expect(error, output).toBeLessThanOrEqual(factor * noise)
      const norms = samples.get(`${output}.row_l2`)!.data
      for (const [i, row] of rows.entries()) {
        let sum = 0
        for (let d = 0; d < width; d++) sum += got[i * width + d] ** 2
        expect(Math.abs(Math.sqrt(sum) - norms[row]) / norms[row], `norm of row ${row}`).toBeLessThan(1e-6)
      }
    }

    const vision: VisionConfig = {
      hiddenSize: spec.vision.hidden_size,
      layers: 1,
      heads: spec.vision.num_attention_heads,
      headDim: spec.vision.hidden_size / spec.vision.num_attention_heads,
      intermediateSize: spec.vision.intermediate_size,
      patchSize: Math.sqrt(spec.vision.patch_dim / 3),
      channels: 3,
      gridSide: spec.vision.position_grid,
      layerNormEps: spec.vision.layer_norm_eps,
      pixelShuffle: spec.vision.pixel_shuffle,
      minPatches: null,
      maxPatches: 6144,
    }
    const grids = images.map((i) => ({ rows: spec.token_grids[i][0], columns: spec.token_grids[i][1] }))
    const patchRows = images.flatMap((i) => range(spec.cu_seqlens[i], spec.cu_seqlens[i + 1]))
    const merged = vision.pixelShuffle ** 2
    const tokenRows = images.flatMap((i) => range(spec.cu_seqlens[i] / merged, spec.cu_seqlens[i + 1] / merged))
    const visionLayerWeights = (): VisionLayerWeights => ({
      norm1: layerNorm("vision.layer.layer_norm1"),
      query: linear("vision.layer.self_attn.q_proj"),
      key: linear("vision.layer.self_attn.k_proj"),
      value: linear("vision.layer.self_attn.v_proj"),
      out: linear("vision.layer.self_attn.out_proj"),
      norm2: layerNorm("vision.layer.layer_norm2"),
      fc1: linear("vision.layer.mlp.fc1"),
      fc2: linear("vision.layer.mlp.fc2"),
    })
    const projectorWeights = () => ({ up: matrix("projector.1.weight"), down: matrix("projector.3.weight") })

    it("the hash gives the stated values", () => {
      for (const { i, seed, x } of spec.hash_check.x_values) expect(hash(i, seed)).toBe(x)
      for (const [weight, values] of Object.entries(spec.hash_check.first_values)) {
        const made = generate({ ...spec.weights[weight], shape: [3] })
        for (const [i, value] of values.entries()) expect(Math.abs(made[i] - value)).toBeLessThan(1e-7)
      }
    })

    it("vision layer: 1152 wide, 16 heads of 72, mlp 4304", async () => {
      const weights = visionLayerWeights()
      const x = backend.gatherRows(upload(spec.inputs["vision_layer.input"]), Int32Array.from(patchRows))
      const out = visionLayer(backend, x, cumulativeLengths(grids), weights, vision)
      loaded.push(x, out)
      await matches("vision_layer.output", out, patchRows)
    }, 120_000)

    it("vision chain: patches, 16×16 positions, layer, norm, pixel shuffle, projector", async () => {
      const patches = generate(spec.inputs["vision_chain.patches"])
      const width = spec.vision.patch_dim
      const packed = images.map((i, at) => ({
        ...grids[at],
        values: patches.subarray(spec.cu_seqlens[i] * width, spec.cu_seqlens[i + 1] * width),
      }))
      const embeddings = {
        patch: matrix("vision.embeddings.patch_embedding.weight"),
        patchBias: vector("vision.embeddings.patch_embedding.bias"),
        positions: generate(spec.weights["vision.embeddings.position_embedding.weight"]),
      }
      const embedded = embedPatches(backend, packed, embeddings, vision)
      await matches("vision_chain.embeddings", embedded, patchRows)
      const layer = visionLayer(backend, embedded, cumulativeLengths(grids), visionLayerWeights(), vision)
      await matches("vision_chain.layer", layer, patchRows)
      const norm = layerNorm("vision.post_layernorm")
      const normed = backend.layerNorm(layer, norm.weight, norm.bias, vision.layerNormEps)
      await matches("vision_chain.post_layernorm", normed, patchRows)
      const shuffled = pixelShuffle(backend, normed, grids, vision.pixelShuffle)
      await matches("vision_chain.pixel_shuffle", shuffled, tokenRows)
      const tokens = project(backend, shuffled, projectorWeights())
      await matches("vision_chain.projector", tokens, tokenRows)
      loaded.push(embedded, layer, normed, tokens)
    }, 120_000)

    it("projector: 4608 → 18432 → 2048", async () => {
      const input = upload(spec.inputs["projector.input"])
      const rows = projectorRows ?? input.shape[0]
      const out = project(backend, backend.rows(input, 0, rows), projectorWeights())
      loaded.push(out)
      await matches("projector.output", out, range(0, rows))
    }, 120_000)

    it("decoder layer: 2048 wide, 16/8 heads of 128, mlp 6144, rotary from stored positions", async () => {
      const text: TextConfig = {
        hiddenSize: spec.text.hidden_size,
        layers: 1,
        heads: spec.text.num_attention_heads,
        kvHeads: spec.text.num_key_value_heads,
        headDim: spec.text.head_dim,
        intermediateSize: spec.text.intermediate_size,
        vocabSize: 1,
        rmsEps: spec.text.rms_norm_eps,
        ropeTheta: spec.text.rope_theta,
        tied: undefined,
      }
      const layer = "decoder.layer"
      const weights = {
        inputNorm: vector(`${layer}.input_layernorm.weight`),
        query: matrix(`${layer}.self_attn.q_proj.weight`),
        key: matrix(`${layer}.self_attn.k_proj.weight`),
        value: matrix(`${layer}.self_attn.v_proj.weight`),
        out: matrix(`${layer}.self_attn.o_proj.weight`),
        queryNorm: vector(`${layer}.self_attn.q_norm.weight`),
        keyNorm: vector(`${layer}.self_attn.k_norm.weight`),
        postNorm: vector(`${layer}.post_attention_layernorm.weight`),
        gate: matrix(`${layer}.mlp.gate_proj.weight`),
        up: matrix(`${layer}.mlp.up_proj.weight`),
        down: matrix(`${layer}.mlp.down_proj.weight`),
      }
      const tokens = spec.text.seq_len
      const tables = ropeTables(
        samples.get("decoder_layer.position_ids")!.data as Int32Array,
        samples.get("decoder_layer.modality")!.data as Int32Array,
        inverseFrequencies(text.headDim, text.ropeTheta),
      )
      const cos = backend.upload(tables.cos, [tokens, text.headDim])
      const sin = backend.upload(tables.sin, [tokens, text.headDim])
      const kv = backend.createKv({ layers: 1, kvHeads: text.kvHeads, headDim: text.headDim, maxTokens: tokens })
      const sequences = [{ slot: 0, start: 0, length: tokens }]
      const x = upload(spec.inputs["decoder_layer.input"])
      const out = decoderLayer(backend, x, 0, weights, text, { cos, sin, kv, sequences })
      loaded.push(cos, sin, out)
      await matches("decoder_layer.output", out, range(0, tokens))
      backend.free(kv)
    }, 120_000)
  })
}

function range(start: number, end: number): number[] {
  return Array.from({ length: end - start }, (_, i) => start + i)
}
