/**
 * The whole model once more, in float64 and the plainest form: no cache, no packing, no index maps, one image and one
 * token at a time, written from the architecture and not from src/model. What both compute alike is right.
 */

import type { IsaacConfig } from "../src/model"
import type { TensorData } from "../src/weights/safetensors"

type Vector = number[]
export type Tensors = ReadonlyMap<string, TensorData>

/** One token of the decoder's input. */
export interface DoubleToken {
  readonly vector: Vector
  /** (time, row, column); text has its time three times. */
  readonly position: readonly [number, number, number]
}

const dot = (a: ArrayLike<number>, b: ArrayLike<number>, from = 0, n = a.length) => {
  let sum = 0
  for (let i = 0; i < n; i++) sum += a[i] * b[from + i]
  return sum
}
const add = (a: Vector, b: Vector): Vector => a.map((x, i) => x + b[i])
const silu = (x: number) => x / (1 + Math.exp(-x))
const gelu = (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))

/** Linear layers and norms of one checkpoint by name. */
function layers(tensors: Tensors) {
  const data = (name: string) => tensors.get(name)!.data as Float32Array
  return {
    data,
    linear(x: Vector, name: string): Vector {
      const { shape } = tensors.get(`${name}.weight`)!
      const weight = data(`${name}.weight`)
      const bias = tensors.has(`${name}.bias`) ? data(`${name}.bias`) : undefined
      return Array.from({ length: shape[0] }, (_, o) => dot(x, weight, o * shape[1]) + (bias?.[o] ?? 0))
    },
    layerNorm(x: Vector, name: string, eps: number): Vector {
      const [weight, bias] = [data(`${name}.weight`), data(`${name}.bias`)]
      const mean = x.reduce((a, b) => a + b) / x.length
      const deviation = Math.sqrt(x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length + eps)
      return x.map((v, i) => ((v - mean) / deviation) * weight[i] + bias[i])
    },
    rmsNorm(x: Vector, name: string, eps: number): Vector {
      const weight = data(`${name}.weight`)
      const root = Math.sqrt(dot(x, x) / x.length + eps)
      return x.map((v, i) => (v / root) * weight[i])
    },
  }
}

/** softmax(q·kᵀ·scale)·v for one query of one head, over the given keys. */
function attend(q: Vector, keys: Vector[], values: Vector[], scale: number): Vector {
  const scores = keys.map((k) => dot(q, k) * scale)
  const top = Math.max(...scores)
  const weights = scores.map((s) => Math.exp(s - top))
  const total = weights.reduce((a, b) => a + b)
  return values[0].map((_, d) => values.reduce((sum, v, i) => sum + (weights[i] / total) * v[d], 0))
}

const head = (x: Vector, h: number, size: number) => x.slice(h * size, (h + 1) * size)

/** One value of an axis of the position table, resized: a triangle filter over all entries, weights made to sum to 1. */
function triangle(side: number, size: number, i: number): Vector {
  const scale = side / size
  const reach = Math.max(1, scale)
  const weights = Array.from({ length: side }, (_, j) => Math.max(0, 1 - Math.abs(j + 0.5 - (i + 0.5) * scale) / reach))
  const total = weights.reduce((a, b) => a + b)
  return weights.map((w) => w / total)
}

/** Patches [rows·columns][3·patch²] of one image → its tokens. */
export function doubleVision(patches: Vector[], rows: number, columns: number, config: IsaacConfig, tensors: Tensors) {
  const { linear, layerNorm, data } = layers(tensors)
  const { hiddenSize, heads, headDim, gridSide, layerNormEps: eps, pixelShuffle: r, layers: depth } = config.vision
  const tower = "model.vision_embedding.0"
  const table = data(`${tower}.embeddings.position_embedding.weight`)
  let x = patches.map((patch, i) => {
    const down = triangle(gridSide, rows, Math.floor(i / columns))
    const across = triangle(gridSide, columns, i % columns)
    const position = Array.from({ length: hiddenSize }, (_, d) => {
      let sum = 0
      for (let y = 0; y < gridSide; y++) {
        for (let z = 0; z < gridSide; z++) sum += down[y] * across[z] * table[(y * gridSide + z) * hiddenSize + d]
      }
      return sum
    })
    return add(linear(patch, `${tower}.embeddings.patch_embedding`), position)
  })
  for (let l = 0; l < depth; l++) {
    const layer = `${tower}.encoder.layers.${l}`
    const normed = x.map((v) => layerNorm(v, `${layer}.layer_norm1`, eps))
    const [q, k, v] = ["q", "k", "v"].map((name) => normed.map((n) => linear(n, `${layer}.self_attn.${name}_proj`)))
    x = x.map((old, t) => {
      const mixed: Vector = []
      for (let h = 0; h < heads; h++) {
        const of = (list: Vector[]) => list.map((y) => head(y, h, headDim))
        mixed.push(...attend(head(q[t], h, headDim), of(k), of(v), 1 / Math.sqrt(headDim)))
      }
      return add(old, linear(mixed, `${layer}.self_attn.out_proj`))
    })
    x = x.map((old) => {
      const wide = linear(layerNorm(old, `${layer}.layer_norm2`, eps), `${layer}.mlp.fc1`).map(gelu)
      return add(old, linear(wide, `${layer}.mlp.fc2`))
    })
  }
  x = x.map((v) => layerNorm(v, `${tower}.post_layernorm`, eps))
  const tokens: Vector[] = []
  for (let row = 0; row < rows / r; row++) {
    for (let column = 0; column < columns / r; column++) {
      const merged: Vector = []
      for (let i = 0; i < r * r; i++) merged.push(...x[(row * r + Math.floor(i / r)) * columns + column * r + (i % r)])
      tokens.push(linear(linear(merged, "model.vision_embedding.1").map(silu), "model.vision_embedding.3"))
    }
  }
  return tokens
}

/** The row of the embedding matrix. */
export function doubleEmbedding(id: number, config: IsaacConfig, tensors: Tensors): Vector {
  const { hiddenSize } = config.text
  return [
    ...(tensors.get("model.embed_tokens.weight")!.data as Float32Array).slice(id * hiddenSize, (id + 1) * hiddenSize),
  ]
}

/** Logits of every token, [T][V]. */
export function doubleLogits(tokens: readonly DoubleToken[], config: IsaacConfig, tensors: Tensors): Vector[] {
  const { linear, rmsNorm } = layers(tensors)
  const { heads, kvHeads, headDim, rmsEps: eps, ropeTheta, layers: depth } = config.text
  const rotate = (x: Vector, position: DoubleToken["position"]): Vector => {
    const half = headDim / 2
    return x.map((value, i) => {
      const f = i % half
      const axis = f < headDim / 4 ? 0 : f < (headDim * 3) / 8 ? 1 : 2
      const angle = position[axis] / ropeTheta ** ((2 * f) / headDim)
      const partner = i < half ? -x[i + half] : x[i - half]
      return value * Math.cos(angle) + partner * Math.sin(angle)
    })
  }
  let x = tokens.map(({ vector }) => vector)
  for (let l = 0; l < depth; l++) {
    const layer = `model.layers.${l}`
    const normed = x.map((v) => rmsNorm(v, `${layer}.input_layernorm`, eps))
    const project = (name: string, count: number) =>
      normed.map((n, t) => {
        const all = linear(n, `${layer}.self_attn.${name}_proj`)
        return Array.from({ length: count }, (_, h) => {
          const own = head(all, h, headDim)
          return name === "v" ? own : rotate(rmsNorm(own, `${layer}.self_attn.${name}_norm`, eps), tokens[t].position)
        })
      })
    const [q, k, v] = [project("q", heads), project("k", kvHeads), project("v", kvHeads)]
    x = x.map((old, t) => {
      const mixed = q[t].flatMap((query, h) => {
        const g = Math.floor(h / (heads / kvHeads))
        const seen = (list: Vector[][]) => list.slice(0, t + 1).map((y) => y[g])
        return attend(query, seen(k), seen(v), 1 / Math.sqrt(headDim))
      })
      return add(old, linear(mixed, `${layer}.self_attn.o_proj`))
    })
    x = x.map((old) => {
      const n = rmsNorm(old, `${layer}.post_attention_layernorm`, eps)
      const [gate, up] = [linear(n, `${layer}.mlp.gate_proj`), linear(n, `${layer}.mlp.up_proj`)]
      return add(
        old,
        linear(
          gate.map((g, i) => silu(g) * up[i]),
          `${layer}.mlp.down_proj`,
        ),
      )
    })
  }
  return x.map((v) => linear(rmsNorm(v, "model.norm", eps), "lm_head"))
}
