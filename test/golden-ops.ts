/** The published reference's own operations: test/fixtures/golden/ops/nn_ops.safetensors. */

import { beforeAll, describe, expect, test } from "vitest"
import type { Backend, Tensor, Weight } from "../src/ops/backend"
import { sumSlack } from "../src/ops/conformance/expectation"
import { bytesOf, type Rig } from "../src/ops/conformance/rig"
import { type GoldenTensor, maxAbsDiff, readGolden, readGoldenJson } from "./golden"

interface OpsIndex {
  readonly nn_ops: Readonly<Record<string, { fp32_vs_fp64_max: number; eps?: number }>>
}

export function goldenOpsTests(rig: Rig): void {
  describe("golden operations", () => {
    const { nn_ops: noise } = readGoldenJson<OpsIndex>("ops/index.json")
    let tensors: Map<string, GoldenTensor>
    beforeAll(async () => {
      tensors = await readGolden("ops/nn_ops.safetensors")
    })
    const get = (name: string) => {
      const t = tensors.get(name)!
      return { shape: t.shape, data: t.data as Float32Array }
    }
    /** The tensor, its leading axes joined so that it is [rows, columns] with this many columns. */
    const matrix = (name: string, columns = get(name).shape.at(-1)!) => {
      const { data } = get(name)
      return rig.up(data, data.length / columns, columns)
    }
    const vector = (name: string) => rig.up(get(name).data, get(name).data.length)
    /** [1, heads, T, d] → [T, heads·d]. */
    const tokensFirst = (name: string) => {
      const { data, shape } = get(name)
      const [, heads, T, d] = shape
      const out = new Float32Array(data.length)
      for (let h = 0; h < heads; h++) {
        for (let t = 0; t < T; t++) {
          out.set(data.subarray((h * T + t) * d, (h * T + t + 1) * d), (t * heads + h) * d)
        }
      }
      return rig.up(out, T, heads * d)
    }
    /** Ten times the difference between the reference's own float32 and float64. */
    const check = (name: string, got: Float32Array, tolerance = 10 * noise[name].fp32_vs_fp64_max) => {
      expect(maxAbsDiff(got, get(`${name}.out`).data), name).toBeLessThanOrEqual(tolerance)
    }
    const withWeights = async (names: string[], fn: (b: Backend, ...w: Weight[]) => Tensor) => {
      const b = rig.backend
      const weights = names.map((name) => {
        const { data, shape } = get(name)
        return b.loadWeight(bytesOf(data), "F32", [shape[0], shape[1]], "f32")
      })
      try {
        return await rig.evaluate(() => fn(b, ...weights))
      } finally {
        b.free(...weights)
      }
    }

    test("linear", async () => {
      const got = await withWeights(["linear.weight"], (b, w) =>
        b.linear(matrix("linear.x"), w, { bias: vector("linear.bias") }),
      )
      check("linear", got)
    })

    test("swiglu_mlp", async () => {
      const names = ["swiglu_mlp.gate_proj", "swiglu_mlp.up_proj", "swiglu_mlp.down_proj"]
      const got = await withWeights(names, (b, gate, up, down) => {
        const x = matrix("swiglu_mlp.x")
        return b.linear(b.swiglu(b.linear(x, gate), b.linear(x, up)), down)
      })
      check("swiglu_mlp", got)
    })

    test("siglip_mlp", async () => {
      const got = await withWeights(["siglip_mlp.fc1_weight", "siglip_mlp.fc2_weight"], (b, fc1, fc2) => {
        const hidden = b.linear(matrix("siglip_mlp.x"), fc1, {
          bias: vector("siglip_mlp.fc1_bias"),
          activation: "gelu_tanh",
        })
        return b.linear(hidden, fc2, { bias: vector("siglip_mlp.fc2_bias") })
      })
      check("siglip_mlp", got)
    })

    test("rms_norm, layer_norm", async () => {
      for (const name of ["rms_norm", "rms_norm_tiny_values", "rms_norm_eps5"]) {
        const eps = noise[name].eps!
        check(name, await rig.evaluate((b) => b.rmsNorm(matrix(`${name}.x`), vector(`${name}.weight`), eps)))
      }
      for (const name of ["layer_norm", "layer_norm_constant_row"]) {
        const eps = noise[name].eps!
        const got = await rig.evaluate((b) =>
          b.layerNorm(matrix(`${name}.x`), vector(`${name}.weight`), vector(`${name}.bias`), eps),
        )
        if (name === "layer_norm") {
          check(name, got)
        } else {
          // The reference happens to sum this row without an error. Another order may round its mean, and the division by
          // √eps magnifies that.
          const size =
            Math.abs(get(`${name}.x`).data[0]) *
            get(`${name}.weight`).data.reduce((a, w) => Math.max(a, Math.abs(w)), 0)
          check(name, got, (sumSlack(get(`${name}.weight`).data.length) * size) / Math.sqrt(eps))
        }
      }
    })

    test("gelu_tanh, silu", async () => {
      check("gelu_tanh", await rig.evaluate((b) => b.gelu(vector("gelu_tanh.x"))))
      check("silu", await rig.evaluate((b) => b.silu(vector("silu.x"))))
    })

    test("varlen_attention", async () => {
      const cuSeqlens = tensors.get("varlen_attention.cu_seqlens")!.data as Int32Array
      const [q, k, v] = ["q", "k", "v"].map((x) => `varlen_attention.${x}`)
      const got = await rig.evaluate((b) =>
        b.varlenAttention(matrix(q, 144), matrix(k, 144), matrix(v, 144), cuSeqlens, 2, 72 ** -0.5),
      )
      check("varlen_attention", got)
    })

    test("gqa_causal_attention", async () => {
      const name = "gqa_causal_attention"
      const b = rig.backend
      const kv = b.createKv({ layers: 1, kvHeads: 2, headDim: 32, maxTokens: 37 })
      const sequences = [{ slot: 0, start: 0, length: 37 }]
      const options = { kv, layer: 0, sequences, scale: 32 ** -0.5 }
      const got = await rig.evaluate(() =>
        b.causalAttention(tokensFirst(`${name}.q`), tokensFirst(`${name}.k`), tokensFirst(`${name}.v`), options),
      )
      check(name, got)
      b.free(kv)
    })

    test("gqa_decode_attention", async () => {
      const name = "gqa_decode_attention"
      const b = rig.backend
      const kv = b.createKv({ layers: 1, kvHeads: 2, headDim: 32, maxTokens: 37 })
      const got = await rig.evaluate(() => {
        const [q, k, v] = ["q", "k", "v"].map((x) => tokensFirst(`${name}.${x}`))
        const attend = (query: Tensor, start: number, end: number) =>
          b.causalAttention(query, b.rows(k, start, end), b.rows(v, start, end), {
            kv,
            layer: 0,
            sequences: [{ slot: 0, start, length: end - start }],
            scale: 32 ** -0.5,
          })
        attend(b.concatRows(Array.from({ length: 36 }, () => q)), 0, 36)
        b.kvCommit(kv, 0, 36)
        return attend(q, 36, 37)
      })
      check(name, got)
      b.free(kv)
    })

    test("softmax_large: attention whose scores are the logits and whose values are the unit vectors", async () => {
      const name = "softmax_large"
      const { data, shape } = get(`${name}.x`)
      const [rows, n] = shape
      const unit = Float32Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0))
      const first = Float32Array.from({ length: n * n }, (_, i) => (i % n === 0 ? 1 : 0))
      const got: number[] = []
      for (let r = 0; r < rows; r++) {
        // Key j is (logit j, 0, 0 …), every query (1, 0, 0 …): the scores are the logits, exactly.
        const keys = first.map((x, i) => x * data[r * n + Math.floor(i / n)])
        const out = await rig.evaluate((b) =>
          b.varlenAttention(rig.up(first, n, n), rig.up(keys, n, n), rig.up(unit, n, n), Int32Array.of(0, n), 1, 1),
        )
        got.push(...out.slice(0, n))
      }
      check(name, Float32Array.from(got))
    })

    test("cross_entropy: logits at t against the label at t + 1, −100 ignored", async () => {
      for (const name of ["cross_entropy", "cross_entropy_one_valid", "cross_entropy_batch"]) {
        const [B, T, V] = get(`${name}.logits`).shape
        const labels = tensors.get(`${name}.labels`)!.data
        const logp = await rig.evaluate((b) => b.logSoftmax(matrix(`${name}.logits`)))
        let [sum, count] = [0, 0]
        for (let row = 0; row < B; row++) {
          for (let t = 0; t + 1 < T; t++) {
            const label = labels[row * T + t + 1]
            if (label === -100) continue
            sum -= logp[(row * T + t) * V + label]
            count++
          }
        }
        check(name, Float32Array.of(sum / count))
      }
    })
  })
}
