import { expect, it } from "vitest"
import { checkpointFiles, ODD_CONFIG, randomTensors } from "../../test/random-checkpoint"
import { createReferenceBackend } from "../ops/reference"
import { type Checkpoint, openCheckpoint } from "../weights/checkpoint"
import type { TensorData } from "../weights/safetensors"
import { ObservedCheckpoint } from "./fingerprint"
import { IsaacModel } from "./isaac-model"

/** Load the weights and take the fingerprint; `through` is how the checkpoint is read. */
async function fingerprint(
  tensors = randomTensors(ODD_CONFIG),
  config: Readonly<Record<string, unknown>> = ODD_CONFIG,
  through: (checkpoint: Checkpoint) => Checkpoint = (checkpoint) => checkpoint,
) {
  const backend = createReferenceBackend()
  const observed = new ObservedCheckpoint(await openCheckpoint(checkpointFiles(config, tensors)))
  const model = await IsaacModel.load(through(observed.checkpoint), backend)
  await backend.dispose()
  return observed.fingerprint(model.config)
}

const changed = (name: string, change: (data: Float32Array) => void) => {
  const tensors = randomTensors(ODD_CONFIG)
  const tensor = tensors.get(name)!
  const data = Float32Array.from(tensor.data as Float32Array)
  change(data)
  return tensors.set(name, { ...tensor, data })
}
const scaled = (data: Float32Array) => {
  for (let i = 0; i < data.length; i++) data[i] *= 1.01
}

it("is the same for the same weights, however they are read", async () => {
  const whole = await fingerprint()
  expect(whole.model).toMatch(/^[0-9a-f]{64}$/)
  expect(whole.weights).toMatch(/^[0-9a-f]{64}$/)
  expect(await fingerprint()).toEqual(whole)
  /** Rows of numbers at a time, as those of a large matrix are. */
  const pieces = (checkpoint: Checkpoint): Checkpoint => ({
    ...checkpoint,
    async readPart(name, offset, length) {
      const out = new Uint8Array(length)
      for (let at = 0; at < length; at += 12) {
        const piece = Math.min(12, length - at)
        out.set(await checkpoint.readPart(name, offset + at, piece), at)
      }
      return out
    },
  })
  expect(await fingerprint(undefined, undefined, pieces)).toEqual(whole)
})

it("tells models apart by a matrix, a norm, the architecture", async () => {
  const plain = await fingerprint()
  const matrix = await fingerprint(changed("model.layers.1.self_attn.v_proj.weight", scaled))
  expect(matrix.model).toBe(plain.model)
  expect(matrix.weights).not.toBe(plain.weights)
  const last = await fingerprint(
    changed("lm_head.weight", (data) => {
      data[data.length - 1] += 1
    }),
  )
  expect(last.weights).not.toBe(plain.weights)
  const norm = await fingerprint(changed("model.layers.0.input_layernorm.weight", scaled))
  expect(norm.model).not.toBe(plain.model)
  const config = await fingerprint(undefined, { ...ODD_CONFIG, rope_parameters: { rope_theta: 501 } })
  expect(config.model).not.toBe(plain.model)
})

it("is the same model when norms and biases are stored wider", async () => {
  const narrow = randomTensors(ODD_CONFIG)
  const wide = new Map(narrow)
  for (const [name, { shape, data }] of narrow) {
    const bits = new Uint16Array(new Uint32Array((data as Float32Array).buffer).map((word) => word >>> 16))
    const rounded = new Float32Array(new Uint32Array(Array.from(bits, (half) => half << 16)).buffer)
    narrow.set(name, { shape, data: bits, dtype: "BF16" } satisfies TensorData)
    wide.set(name, shape.length === 1 ? { shape, data: rounded } : narrow.get(name)!)
  }
  const [a, b] = [await fingerprint(narrow), await fingerprint(wide)]
  expect(b.model).toBe(a.model)
  expect(b.weights).not.toBe(a.weights)
})
