/** A quick comparison of a backend with the reference: small operations, then the built-in model's forward pass. */

import {
  type Backend,
  createEvent,
  type Event,
  IsaacModel,
  imageToEvent,
  openCheckpoint,
  openModel,
  Stream,
  type Tensor,
  TensorStream,
} from "../internal"

export interface SelfTest {
  /** Operation, or "forward" for the whole model. */
  readonly name: string
  /** Largest absolute difference from the reference, over the largest magnitude of the reference's result. */
  readonly error: number
  readonly ok: boolean
  readonly ms: number
  /** What was thrown instead of a result. */
  readonly problem?: string
}

/** Sums in float32 over at most a few hundred products; a wrong kernel is off by orders of magnitude more. */
const TOLERANCE = 1e-4

/** Run both and compare, operation by operation; one that throws fails, and the others still run. */
export async function selfTest(backend: Backend, reference: Backend): Promise<SelfTest[]> {
  const results: SelfTest[] = []
  for (const [name, compute] of Object.entries(operations(backend))) {
    results.push(await compare(name, compute, backend, reference))
  }
  results.push(await compare("forward", tinyForward, backend, reference))
  return results
}

type Compute = (backend: Backend) => Tensor | Promise<Float32Array>

async function compare(name: string, compute: Compute, backend: Backend, reference: Backend): Promise<SelfTest> {
  const start = performance.now()
  try {
    const error = relativeError(await numbers(backend, compute), await numbers(reference, compute))
    return { name, error, ok: error <= TOLERANCE, ms: performance.now() - start }
  } catch (thrown) {
    const problem = thrown instanceof Error ? thrown.message : String(thrown)
    return { name, error: Number.POSITIVE_INFINITY, ok: false, ms: performance.now() - start, problem }
  }
}

async function numbers(backend: Backend, compute: Compute): Promise<Float32Array> {
  const result = compute(backend)
  if (result instanceof Promise) return result
  const values = await backend.read(result)
  backend.free(result)
  return values
}

function relativeError(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY
  let worst = 0
  let magnitude = 0
  for (let i = 0; i < b.length; i++) {
    const difference = Math.abs(a[i] - b[i])
    worst = Math.max(worst, difference)
    magnitude = Math.max(magnitude, Math.abs(b[i]))
  }
  return worst === 0 ? 0 : worst / magnitude
}

/** Odd sizes on purpose: the tails of vector loops are where kernels go wrong. */
function operations(backend: Backend): Record<string, Compute> {
  const [rows, width, out] = [5, 70, 33]
  const x = noise(1, rows * width)
  const w = noise(2, out * width)
  const bytes = new Uint8Array(w.buffer)
  const list: Record<string, Compute> = {}
  for (const stored of backend.info.stored) {
    list[`linear ${stored}`] = (b) => {
      const weight = b.loadWeight(bytes, "F32", [out, width], stored)
      const result = b.scope(() => b.linear(b.upload(x, [rows, width]), weight))
      b.free(weight)
      return result
    }
  }
  const [tokens, heads, kvHeads, headDim] = [7, 4, 2, 16]
  const q = (b: Backend) => b.upload(noise(3, tokens * heads * headDim), [tokens, heads * headDim])
  const kv = (b: Backend, seed: number, h: number) => b.upload(noise(seed, tokens * h * headDim), [tokens, h * headDim])
  const scale = headDim ** -0.5
  return {
    ...list,
    layerNorm: (b) =>
      b.scope(() => b.layerNorm(b.upload(x, [rows, width]), vector(b, 4, width), vector(b, 5, width), 1e-6)),
    rmsNorm: (b) => b.scope(() => b.rmsNorm(b.upload(x, [rows, width]), vector(b, 4, width), 1e-6)),
    rope: (b) => b.scope(() => b.rope(q(b), kv(b, 6, 1), kv(b, 7, 1))),
    swiglu: (b) => b.scope(() => b.swiglu(kv(b, 8, 4), kv(b, 9, 4))),
    gelu: (b) => b.scope(() => b.gelu(kv(b, 8, 4))),
    varlenAttention: (b) =>
      b.scope(() => b.varlenAttention(q(b), kv(b, 8, heads), kv(b, 9, heads), Int32Array.of(0, 3, 7), heads, scale)),
    causalAttention: (b) => {
      const cache = b.createKv({ layers: 1, kvHeads, headDim, maxTokens: 64 })
      const sequences = [{ slot: 0, start: 0, length: tokens }]
      const result = b.scope(() =>
        b.causalAttention(q(b), kv(b, 8, kvHeads), kv(b, 9, kvHeads), { kv: cache, layer: 0, sequences, scale }),
      )
      b.free(cache)
      return result
    },
  }
}

function vector(backend: Backend, seed: number, length: number): Tensor {
  return backend.upload(noise(seed, length), [length])
}

/** The built-in model over one small picture and four ids: the logits. */
async function tinyForward(backend: Backend): Promise<Float32Array> {
  const checkpoint = await openCheckpoint(await openModel("tiny"))
  try {
    const model = await IsaacModel.load(checkpoint, backend, { stored: "f32" })
    const { vision } = model.config
    const side = 4 * vision.patchSize
    const pixels = Uint8Array.from(noise(10, side * side * 3), (v) => Math.floor((v + 1) * 127))
    const events: Event[] = [
      imageToEvent({ width: side, height: side, data: pixels }, { ...vision, minPatches: null }),
      createEvent({ type: "text", data: Int32Array.of(10, 20, 30, 40), time: 1 }),
    ]
    const tensorStream = new TensorStream([Stream.create(events, ["image", "text"])])
    const { logits } = await model.forward({ tensorStream })
    return await backend.read(logits!)
  } finally {
    await checkpoint.close()
  }
}

/** Uniform numbers in [-1, 1) from a seed: a 32-bit mixing function of the index. */
function noise(seed: number, length: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length }, (_, i) => {
    let h = Math.imul(i + 1, 0x9e3779b1) ^ Math.imul(seed, 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
    h = Math.imul(h ^ (h >>> 12), 0x297a2d39)
    return ((h ^ (h >>> 15)) >>> 0) / 2 ** 31 - 1
  })
}
