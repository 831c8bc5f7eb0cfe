/**
 * The cpu backend over any engine: handles in, checks, memory, and the kernel that does the work. The definition of each
 * operation is ops/reference; the shape rules are shared with it.
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
  VarlenAttentionOptions,
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
  sizeOf,
} from "../op-shapes"
import { packedBytes } from "../packed-layout"
import type { MachineLimits } from "../roofline"
import { CpuKvCache, runCausalAttention, runVarlenAttention } from "./attention"
import type { Engine } from "./engine"
import { ACTIVATION_CODE } from "./kernels"
import { measureLimits } from "./machine-limits"
import { MappedFiles } from "./mapped-files"
import { CpuWeight, createWeight, mapWeight, runEmbed, runLinear, STORED, writeWeight } from "./packed-weight"
import { hasPairAttention, runPairAttention } from "./pair-attention"
import { CpuTensor, TensorMemory } from "./tensor-memory"

/** What an exponential costs in multiplications and additions, roughly. */
const EXP_WORK = 25

export class CpuBackend implements Backend {
  readonly info: BackendInfo
  private readonly mem: TensorMemory
  private readonly caches = new Set<CpuKvCache>()
  private readonly files: MappedFiles
  /** Bytes of weights in files, now and at most. */
  private mapped = 0
  private mostMapped = 0
  readonly mapWeight?: Backend["mapWeight"]

  constructor(private readonly engine: Engine) {
    const { name, isa, threads, memoryLimit } = engine
    this.info = Object.freeze({ name, isa, threads, stored: STORED, memoryLimit })
    this.mem = new TensorMemory(engine)
    this.files = new MappedFiles(engine)
    if (engine.map) {
      this.mapWeight = (place, source, shape) => {
        const w = mapWeight(engine, this.mem, this.files, place, source, shape)
        this.mapped += w.bytes
        this.mostMapped = Math.max(this.mostMapped, this.mapped)
        return w
      }
    }
  }

  // ── Memory ────────────────────────────────────────────────────────────────────────────────────────────────────

  upload(data: Float32Array, shape: readonly number[]): Tensor {
    checkUpload(data, shape)
    return this.mem.tensor("upload", shape, (out) => this.engine.floats(out, data.length).set(data))
  }

  async read(t: Tensor): Promise<Float32Array> {
    const { pointer, shape } = this.open("read", t)
    return new Float32Array(this.engine.floats(pointer, sizeOf(shape)))
  }

  reshape(t: Tensor, shape: readonly number[]): Tensor {
    const source = this.open("reshape", t)
    checkReshape(t, shape)
    return this.mem.view(source, shape, 0)
  }

  rows(t: Tensor, start: number, end: number): Tensor {
    const source = this.open("rows", t)
    const { shape, rowSize } = checkRows(t, start, end)
    return this.mem.view(source, shape, start * rowSize)
  }

  scope<T>(fn: () => T): T {
    return this.mem.scope(fn)
  }

  free(...handles: readonly (Tensor | Weight | KvCache)[]): void {
    for (const handle of handles) {
      if (handle instanceof CpuTensor) this.mem.freeTensor(handle)
      else if (handle instanceof CpuKvCache) {
        if (this.caches.delete(handle)) handle.table.free()
      } else if (handle instanceof CpuWeight && handle.live && handle.memory === this.mem) {
        handle.live = false
        if (handle.file === undefined) this.mem.allocator.free(handle.pointer)
        else {
          this.mapped -= handle.bytes
          this.files.close(handle.file)
        }
      }
    }
  }

  memory(): { used: number; peak: number } {
    const { used, peak } = this.mem.allocator
    return { used: used + this.mapped, peak: peak + this.mostMapped }
  }

  /** What this machine can do at most, to compare operations with; takes a little more than three times the budget. */
  limits(budgetMs = 150): MachineLimits {
    this.mem.checkOpen("limits")
    return measureLimits(this.engine, this.mem, budgetMs)
  }

  async dispose(): Promise<void> {
    this.mem.close()
    await this.engine.dispose()
  }

  private open(op: string, t: Tensor): CpuTensor {
    return this.mem.open(op, t)
  }

  private openWeight(op: string, w: Weight): CpuWeight {
    if (w instanceof CpuWeight && w.live && w.memory === this.mem) return w
    throw new IsaacError("bad_input", `${op}: this weight was freed, or is another backend's`)
  }

  private openCache(op: string, kv: KvCache): CpuKvCache {
    this.mem.checkOpen(op)
    if (kv instanceof CpuKvCache && this.caches.has(kv)) return kv
    throw new IsaacError("bad_input", `${op}: this key/value cache was freed, or is another backend's`)
  }

  // ── Weights ───────────────────────────────────────────────────────────────────────────────────────────────────

  loadWeight(bytes: Uint8Array, source: SourceType, shape: readonly [number, number], stored: StoredType): Weight {
    return createWeight(this.engine, this.mem, "loadWeight", shape, stored, (w) => {
      checkWeight(bytes, source, shape, stored)
      this.write(w, 0, bytes, source)
    })
  }

  createWeight(shape: readonly [number, number], stored: StoredType): Weight {
    return createWeight(this.engine, this.mem, "createWeight", shape, stored, ({ pointer, bytes }) =>
      this.engine.bytes(pointer, bytes).fill(0),
    )
  }

  writeWeight(w: Weight, firstRow: number, bytes: Uint8Array, source: SourceType): void {
    const weight = this.openWeight("writeWeight", w)
    checkWriteWeight(w, firstRow, bytes, source)
    this.write(weight, firstRow, bytes, source)
  }

  private write(w: CpuWeight, firstRow: number, bytes: Uint8Array, source: SourceType): void {
    writeWeight(this.engine, this.mem, w, firstRow, bytes, source)
  }

  async readWeight(w: Weight): Promise<Uint8Array> {
    const { pointer, shape } = this.openWeight("readWeight", w)
    return new Uint8Array(this.engine.bytes(pointer, packedBytes(shape, checkReadWeight(w))))
  }

  // ── Operations ────────────────────────────────────────────────────────────────────────────────────────────────

  embed(ids: Int32Array, w: Weight): Tensor {
    const weight = this.openWeight("embed", w)
    checkEmbed(ids, w)
    const inner = w.shape[1]
    return this.mem.tensor("embed", [ids.length, inner], (out) =>
      this.mem.borrow((borrowed) => runEmbed(this.engine, weight, borrowed.ints(ids, "embed: ids"), ids.length, out)),
    )
  }

  linear(x: Tensor, w: Weight, options: LinearOptions = {}): Tensor {
    const input = this.open("linear", x)
    const weight = this.openWeight("linear", w)
    const bias = options.bias ? this.open("linear", options.bias).pointer : 0
    const residual = options.residual ? this.open("linear", options.residual).pointer : 0
    const { T, N } = checkLinear(x, w, options)
    const activation = ACTIVATION_CODE[options.activation ?? "none"]
    return this.mem.tensor("linear", [T, N], (out) =>
      runLinear(this.engine, this.mem, weight, { x: input.pointer, out, bias, residual, activation, rows: T }),
    )
  }

  layerNorm(x: Tensor, weight: Tensor, bias: Tensor, eps: number): Tensor {
    const [input, w, b] = [x, weight, bias].map((t) => this.open("layerNorm", t).pointer)
    const { D, groups } = checkLayerNorm(x, weight, bias)
    return this.mem.tensor("layerNorm", x.shape, (out) =>
      this.engine.run("layer_norm", { x: input, weight: w, bias: b, out, width: D, eps }, groups, groups * D * 8),
    )
  }

  rmsNorm(x: Tensor, weight: Tensor, eps: number): Tensor {
    const [input, w] = [x, weight].map((t) => this.open("rmsNorm", t).pointer)
    const { D, groups } = checkRmsNorm(x, weight)
    return this.mem.tensor("rmsNorm", x.shape, (out) =>
      this.engine.run("rms_norm", { x: input, weight: w, out, width: D, eps }, groups, groups * D * 5),
    )
  }

  rope(x: Tensor, cos: Tensor, sin: Tensor): Tensor {
    const [input, c, s] = [x, cos, sin].map((t) => this.open("rope", t).pointer)
    const { T, heads, headDim } = checkRope(x, cos, sin)
    this.engine.run("rope", { x: input, cos: c, sin: s, heads, headDim }, T, T * heads * headDim * 5)
    return x
  }

  swiglu(gate: Tensor, up: Tensor): Tensor {
    return this.map("swiglu", "swiglu_map", gate, up, EXP_WORK)
  }

  silu(x: Tensor): Tensor {
    return this.map("silu", "silu_map", x, undefined, EXP_WORK)
  }

  gelu(x: Tensor): Tensor {
    return this.map("gelu", "gelu_map", x, undefined, EXP_WORK)
  }

  add(a: Tensor, b: Tensor): Tensor {
    return this.map("add", "add_map", a, b, 3)
  }

  /** An elementwise function of one tensor or two of one shape. */
  private map(
    op: string,
    kernel: "swiglu_map" | "silu_map" | "gelu_map" | "add_map",
    x: Tensor,
    y: Tensor | undefined,
    workPerNumber: number,
  ): Tensor {
    const first = this.open(op, x).pointer
    const second = y ? this.open(op, y).pointer : 0
    const size = y ? checkSame(op, x, y) : sizeOf(x.shape)
    const parts = Math.ceil(size / this.engine.sizes.elements)
    return this.mem.tensor(op, x.shape, (out) =>
      this.engine.run(kernel, { x: first, y: second, out, size }, parts, size * workPerNumber),
    )
  }

  concatRows(parts: readonly Tensor[]): Tensor {
    const sources = parts.map((t) => this.open("concatRows", t))
    return this.mem.tensor("concatRows", checkConcatRows(parts), (out) => {
      let target = out
      for (const { pointer, shape } of sources) {
        const size = sizeOf(shape)
        const count = Math.ceil(size / this.engine.sizes.elements)
        this.engine.run("copy_map", { x: pointer, y: 0, out: target, size }, count, size * 2)
        target += size * 4
      }
    })
  }

  gatherRows(x: Tensor, index: Int32Array): Tensor {
    const source = this.open("gatherRows", x).pointer
    const { shape, rowSize } = checkGatherRows(x, index)
    return this.mem.tensor("gatherRows", shape, (out) =>
      this.mem.borrow((borrowed) =>
        this.engine.run(
          "gather_rows",
          { x: source, index: borrowed.ints(index, "gatherRows: index"), out, rowSize },
          index.length,
          index.length * rowSize * 2,
        ),
      ),
    )
  }

  varlenAttention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cuSeqlens: Int32Array,
    heads: number,
    scale: number,
    { factors = "f32" }: VarlenAttentionOptions = {},
  ): Tensor {
    const [queries, keys, values] = [q, k, v].map((t) => this.open("varlenAttention", t).pointer)
    const { headDim } = checkVarlenAttention(q, k, v, cuSeqlens, heads, scale)
    return this.mem.tensor("varlenAttention", q.shape, (out) => {
      const pointers = { q: queries, k: keys, v: values, out }
      if (factors === "bf16" && hasPairAttention(this.engine, headDim)) {
        runPairAttention(this.engine, this.mem, { ...pointers, cuSeqlens, heads, headDim, scale })
      } else {
        runVarlenAttention(this.engine, this.mem, pointers, cuSeqlens, heads, headDim, scale)
      }
    })
  }

  // ── KV cache ──────────────────────────────────────────────────────────────────────────────────────────────────

  createKv(options: KvOptions): KvCache {
    this.mem.checkOpen("createKv")
    checkKvOptions(options)
    const cache = new CpuKvCache(this.engine, this.mem, options)
    this.caches.add(cache)
    return cache
  }

  causalAttention(q: Tensor, k: Tensor, v: Tensor, options: CausalAttentionOptions): Tensor {
    const [queries, keys, values] = [q, k, v].map((t) => this.open("causalAttention", t).pointer)
    const cache = this.openCache("causalAttention", options.kv)
    const { heads } = checkCausalAttention(q, k, v, options)
    const { layer, sequences, scale } = options
    cache.prepare(sequences)
    return this.mem.tensor("causalAttention", q.shape, (out) => {
      const pointers = { q: queries, k: keys, v: values, out }
      runCausalAttention(this.engine, this.mem, pointers, cache, layer, sequences, heads, scale)
    })
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
    const input = this.open("argmax", x).pointer
    const { T, V } = checkArgmax(x)
    return this.mem.tensor("argmax", [T], (out) => this.engine.run("argmax", { x: input, out, width: V }, T, T * V * 2))
  }

  topK(x: Tensor, k: number): { values: Tensor; indices: Tensor } {
    const input = this.open("topK", x).pointer
    const { T, V } = checkTopK(x, k)
    return this.scope(() => {
      const values = this.mem.tensor("topK", [T, k], () => {}) as CpuTensor
      const indices = this.mem.tensor("topK", [T, k], (out) => {
        const args = { x: input, values: values.pointer, indices: out, width: V, k }
        this.engine.run("top_k", args, T, T * V * 4)
      })
      return { values, indices }
    })
  }

  logSoftmax(x: Tensor): Tensor {
    const input = this.open("logSoftmax", x).pointer
    const { T, V } = checkLogSoftmax(x)
    return this.mem.tensor("logSoftmax", x.shape, (out) =>
      this.engine.run("log_softmax", { x: input, out, width: V }, T, T * V * EXP_WORK),
    )
  }
}
