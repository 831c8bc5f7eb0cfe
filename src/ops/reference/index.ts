/**
 * The reference backend: plain loops, the definition of every operation.
 *
 * Sums are kept in double and every result is rounded to float32 once, so what another backend's float32 differs from
 * this one is that backend's own error. Each operation is a function over arrays in the file of its group; here they
 * meet the handles.
 */

import { IsaacError } from "../../errors"
import type {
  Backend,
  BackendInfo,
  CausalAttentionOptions,
  KvCache,
  KvNumbers,
  KvOptions,
  KvSequence,
  LinearOptions,
  SourceType,
  StoredType,
  Tensor,
  Weight,
} from "../backend"
import {
  checkArgmax,
  checkCausalAttention,
  checkConcatRows,
  checkEmbed,
  checkGatherRows,
  checkKvExport,
  checkKvImport,
  checkKvOptions,
  checkLayerNorm,
  checkLinear,
  checkLogSoftmax,
  checkReadWeight,
  checkReshape,
  checkRmsNorm,
  checkRope,
  checkRows,
  checkSame,
  checkTopK,
  checkUpload,
  checkVarlenAttention,
  checkWeight,
  checkWriteWeight,
} from "../op-shapes"
import { varlenAttention } from "./attention"
import { add, gelu, silu, swiglu } from "./elementwise"
import { BlockedKvCache, causalAttention } from "./kv-cache"
import { embed, linear } from "./linear"
import { argmax, logSoftmax, topK } from "./logits"
import { HostTensor, Memory } from "./memory"
import { layerNorm, rmsNorm } from "./norms"
import { createWeight, type PackedWeight, type QuantisedWeight, STORED, writeWeight } from "./packed-weight"
import { rope } from "./rope"
import { concatRows, gatherRows } from "./rows"

/** A backend that runs anywhere and is meant to be read and compared with, not to be fast. */
export function createReferenceBackend(): Backend {
  return new ReferenceBackend()
}

class ReferenceBackend implements Backend {
  readonly info: BackendInfo = { name: "reference", isa: "plain JavaScript", threads: 1, stored: STORED }
  private readonly mem = new Memory()
  private readonly weights = new Set<Weight>()
  private readonly caches = new Set<KvCache>()
  private disposed = false

  // ── Memory ────────────────────────────────────────────────────────────────────────────────────────────────────

  upload(data: Float32Array, shape: readonly number[]): Tensor {
    checkUpload(data, shape)
    const out = this.make("upload", shape)
    out.data.set(data)
    return out
  }

  async read(t: Tensor): Promise<Float32Array> {
    return this.open("read", t).data.slice()
  }

  reshape(t: Tensor, shape: readonly number[]): Tensor {
    const source = this.open("reshape", t)
    checkReshape(t, shape)
    return this.mem.view(source, shape, source.data)
  }

  rows(t: Tensor, start: number, end: number): Tensor {
    const source = this.open("rows", t)
    const { shape, rowSize } = checkRows(t, start, end)
    return this.mem.view(source, shape, source.data.subarray(start * rowSize, end * rowSize))
  }

  scope<T>(fn: () => T): T {
    return this.mem.scope(fn)
  }

  free(...handles: readonly (Tensor | Weight | KvCache)[]): void {
    for (const handle of handles) {
      if (handle instanceof HostTensor) {
        this.mem.freeTensor(handle)
      } else if (handle instanceof BlockedKvCache) {
        handle.table.free()
        this.caches.delete(handle)
      } else if (this.weights.delete(handle as Weight)) {
        this.mem.count(-(handle as Weight).bytes)
      }
    }
  }

  memory(): { used: number; peak: number } {
    return this.mem.usage()
  }

  async dispose(): Promise<void> {
    this.free(...this.weights, ...this.caches)
    this.disposed = true
  }

  /** A new tensor for a result. */
  private make(op: string, shape: readonly number[]): HostTensor {
    if (this.disposed) throw new IsaacError("bad_input", `${op}: this backend was disposed; create a new one`)
    return this.mem.tensor(shape)
  }

  private open(op: string, t: Tensor): HostTensor {
    return this.mem.open(op, t)
  }

  private openWeight(op: string, w: Weight): PackedWeight {
    if (this.weights.has(w)) return w as PackedWeight
    throw new IsaacError("bad_input", `${op}: this weight was freed, or is another backend's`)
  }

  private openCache(op: string, kv: KvCache): BlockedKvCache {
    if (kv instanceof BlockedKvCache && this.caches.has(kv)) return kv
    throw new IsaacError("bad_input", `${op}: this key/value cache was freed, or is another backend's`)
  }

  // ── Weights ───────────────────────────────────────────────────────────────────────────────────────────────────

  loadWeight(bytes: Uint8Array, source: SourceType, shape: readonly [number, number], stored: StoredType): Weight {
    const w = createWeight("loadWeight", shape, stored)
    checkWeight(bytes, source, shape, stored)
    writeWeight(w, 0, bytes, source)
    return this.keep(w)
  }

  createWeight(shape: readonly [number, number], stored: StoredType): Weight {
    return this.keep(createWeight("createWeight", shape, stored))
  }

  writeWeight(w: Weight, firstRow: number, bytes: Uint8Array, source: SourceType): void {
    const weight = this.openWeight("writeWeight", w)
    checkWriteWeight(w, firstRow, bytes, source)
    writeWeight(weight, firstRow, bytes, source)
  }

  async readWeight(w: Weight): Promise<Uint8Array> {
    const weight = this.openWeight("readWeight", w)
    checkReadWeight(w)
    return (weight as QuantisedWeight).data.slice()
  }

  private keep(w: PackedWeight): Weight {
    this.weights.add(w)
    this.mem.count(w.bytes)
    return w
  }

  // ── Operations ────────────────────────────────────────────────────────────────────────────────────────────────

  embed(ids: Int32Array, w: Weight): Tensor {
    const table = this.openWeight("embed", w)
    checkEmbed(ids, w)
    const out = this.make("embed", [ids.length, w.shape[1]])
    embed(ids, table, out.data)
    return out
  }

  linear(x: Tensor, w: Weight, options: LinearOptions = {}): Tensor {
    const input = this.open("linear", x)
    const weight = this.openWeight("linear", w)
    const bias = options.bias && this.open("linear", options.bias)
    const residual = options.residual && this.open("linear", options.residual)
    const { T, N } = checkLinear(x, w, options)
    const out = this.make("linear", [T, N])
    linear(input.data, weight, bias?.data, options.activation, residual?.data, out.data)
    return out
  }

  layerNorm(x: Tensor, weight: Tensor, bias: Tensor, eps: number): Tensor {
    const [input, w, b] = [x, weight, bias].map((t) => this.open("layerNorm", t))
    checkLayerNorm(x, weight, bias)
    const out = this.make("layerNorm", x.shape)
    layerNorm(input.data, w.data, b.data, eps, out.data)
    return out
  }

  rmsNorm(x: Tensor, weight: Tensor, eps: number): Tensor {
    const [input, w] = [x, weight].map((t) => this.open("rmsNorm", t))
    checkRmsNorm(x, weight)
    const out = this.make("rmsNorm", x.shape)
    rmsNorm(input.data, w.data, eps, out.data)
    return out
  }

  rope(x: Tensor, cos: Tensor, sin: Tensor): Tensor {
    const [input, c, s] = [x, cos, sin].map((t) => this.open("rope", t))
    const { heads, headDim } = checkRope(x, cos, sin)
    rope(input.data, c.data, s.data, heads, headDim)
    return x
  }

  swiglu(gate: Tensor, up: Tensor): Tensor {
    const [g, u] = [gate, up].map((t) => this.open("swiglu", t))
    checkSame("swiglu", gate, up)
    const out = this.make("swiglu", gate.shape)
    swiglu(g.data, u.data, out.data)
    return out
  }

  silu(x: Tensor): Tensor {
    const input = this.open("silu", x)
    const out = this.make("silu", x.shape)
    silu(input.data, out.data)
    return out
  }

  gelu(x: Tensor): Tensor {
    const input = this.open("gelu", x)
    const out = this.make("gelu", x.shape)
    gelu(input.data, out.data)
    return out
  }

  add(a: Tensor, b: Tensor): Tensor {
    const [left, right] = [a, b].map((t) => this.open("add", t))
    checkSame("add", a, b)
    const out = this.make("add", a.shape)
    add(left.data, right.data, out.data)
    return out
  }

  concatRows(parts: readonly Tensor[]): Tensor {
    const sources = parts.map((t) => this.open("concatRows", t).data)
    const out = this.make("concatRows", checkConcatRows(parts))
    concatRows(sources, out.data)
    return out
  }

  gatherRows(x: Tensor, index: Int32Array): Tensor {
    const source = this.open("gatherRows", x)
    const { shape, rowSize } = checkGatherRows(x, index)
    const out = this.make("gatherRows", shape)
    gatherRows(source.data, index, rowSize, out.data)
    return out
  }

  varlenAttention(q: Tensor, k: Tensor, v: Tensor, cuSeqlens: Int32Array, heads: number, scale: number): Tensor {
    const [queries, keys, values] = [q, k, v].map((t) => this.open("varlenAttention", t).data)
    const { headDim } = checkVarlenAttention(q, k, v, cuSeqlens, heads, scale)
    const out = this.make("varlenAttention", q.shape)
    varlenAttention(queries, keys, values, cuSeqlens, heads, headDim, scale, out.data)
    return out
  }

  // ── KV cache ──────────────────────────────────────────────────────────────────────────────────────────────────

  createKv(options: KvOptions): KvCache {
    checkKvOptions(options)
    const cache = new BlockedKvCache(options, (bytes) => this.mem.count(bytes))
    this.caches.add(cache)
    return cache
  }

  causalAttention(q: Tensor, k: Tensor, v: Tensor, options: CausalAttentionOptions): Tensor {
    const [queries, keys, values] = [q, k, v].map((t) => this.open("causalAttention", t).data)
    const cache = this.openCache("causalAttention", options.kv)
    const { heads } = checkCausalAttention(q, k, v, options)
    const { layer, sequences, scale } = options
    cache.prepare(sequences)
    const out = this.make("causalAttention", q.shape)
    causalAttention(queries, keys, values, cache, layer, sequences, heads, scale, out.data)
    return out
  }

  kvCommit(kv: KvCache, slot: number, length: number): void {
    this.openCache("kvCommit", kv).table.commit(slot, length)
  }

  kvLength(kv: KvCache, slot: number): number {
    return this.openCache("kvLength", kv).table.length(slot)
  }

  kvCopy(kv: KvCache, from: number, to: number, length: number): void {
    this.openCache("kvCopy", kv).table.copy(from, to, length)
  }

  kvGrowth(kv: KvCache, sequences: readonly KvSequence[]): number {
    return this.openCache("kvGrowth", kv).growth(sequences)
  }

  async kvExport(kv: KvCache, slot: number, layer: number, length: number): Promise<KvNumbers> {
    const cache = this.openCache("kvExport", kv)
    checkKvExport(kv, slot, layer, length, cache.table.length(slot))
    return cache.export(slot, layer, length)
  }

  kvImport(kv: KvCache, slot: number, layer: number, numbers: KvNumbers): void {
    const cache = this.openCache("kvImport", kv)
    cache.import(slot, layer, numbers, checkKvImport(kv, layer, numbers))
  }

  // ── Logits ────────────────────────────────────────────────────────────────────────────────────────────────────

  argmax(x: Tensor): Tensor {
    const input = this.open("argmax", x)
    const { T, V } = checkArgmax(x)
    const out = this.make("argmax", [T])
    argmax(input.data, V, out.data)
    return out
  }

  topK(x: Tensor, k: number): { values: Tensor; indices: Tensor } {
    const input = this.open("topK", x)
    const { T, V } = checkTopK(x, k)
    const values = this.make("topK", [T, k])
    const indices = this.make("topK", [T, k])
    topK(input.data, V, k, values.data, indices.data)
    return { values, indices }
  }

  logSoftmax(x: Tensor): Tensor {
    const input = this.open("logSoftmax", x)
    const { V } = checkLogSoftmax(x)
    const out = this.make("logSoftmax", x.shape)
    logSoftmax(input.data, V, out.data)
    return out
  }
}
