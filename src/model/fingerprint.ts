/** What tells models apart: a hash of the architecture and of numbers sampled from the weights while they are loaded. */

import { isPackedSource } from "../ops/backend"
import type { Checkpoint, CheckpointTensor } from "../weights/checkpoint"
import { ELEMENT_BYTES, toFloat32 } from "../weights/safetensors"
import type { IsaacConfig } from "./config"

/** Numbers sampled from each tensor: enough that a change of it is seen. */
const SAMPLES = 64

export interface ModelFingerprint {
  /**
   * Of the architecture, and of the norms and biases as float32: the same for a checkpoint and its conversions.
   * 64 hex digits.
   */
  readonly model: string
  /** Of all weights as they were read: conversions differ. 64 hex digits. */
  readonly weights: string
}

/** Samples the tensors that are read through it. */
export class ObservedCheckpoint {
  /** The checkpoint, to be read from. */
  readonly checkpoint: Checkpoint
  /** By canonical name: the bytes of the sampled numbers. */
  readonly #samples = new Map<string, Uint8Array>()
  readonly #tensors: Checkpoint["tensors"]

  constructor(real: Checkpoint) {
    this.#tensors = real.tensors
    this.checkpoint = {
      ...real,
      read: async (name) => {
        const tensor = await real.read(name)
        this.#sample(name, 0, tensor.bytes)
        return tensor
      },
      readPart: async (name, offset, length) => {
        const bytes = await real.readPart(name, offset, length)
        this.#sample(name, offset, bytes)
        return bytes
      },
    }
  }

  /** Of what was read so far; complete once the weights are loaded. */
  async fingerprint({ text, vision }: IsaacConfig): Promise<ModelFingerprint> {
    const { heads, kvHeads, headDim, rmsEps, ropeTheta } = text
    const { patchSize, pixelShuffle, minPatches, maxPatches } = vision
    const architecture = [heads, kvHeads, headDim, rmsEps, ropeTheta, patchSize, pixelShuffle, minPatches, maxPatches]
    const vectors: unknown[] = []
    const all: unknown[] = []
    for (const name of [...this.#samples.keys()].sort()) {
      const { dtype, shape } = this.#tensors.get(name)!
      const sample = this.#samples.get(name)!
      if (shape.length === 1 && !isPackedSource(dtype)) vectors.push([name, shape, [...toFloat32(sample, dtype)]])
      all.push([name, dtype, shape, [...sample]])
    }
    return { model: await hash([architecture, vectors]), weights: await hash([architecture, all]) }
  }

  /** Note those of the sampled numbers that lie in `bytes`, which begin at byte `offset` of the tensor. */
  #sample(name: string, offset: number, bytes: Uint8Array): void {
    const tensor = this.#tensors.get(name)!
    const width = isPackedSource(tensor.dtype) ? 1 : ELEMENT_BYTES[tensor.dtype]
    const places = samplePlaces(tensor, width)
    const sample = this.#samples.get(name) ?? new Uint8Array(places.length * width)
    this.#samples.set(name, sample)
    for (const [i, place] of places.entries()) {
      const at = place - offset
      if (at >= 0 && at + width <= bytes.byteLength) sample.set(bytes.subarray(at, at + width), i * width)
    }
  }
}

/** Byte offsets of the sampled numbers, from the first to the last. */
function samplePlaces({ bytes }: CheckpointTensor, width: number): number[] {
  const count = Math.floor(bytes / width)
  const samples = Math.min(SAMPLES, count)
  return Array.from({ length: samples }, (_, i) => Math.floor((i * (count - 1)) / Math.max(1, samples - 1)) * width)
}

async function hash(value: unknown): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(JSON.stringify(value)))
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("")
}
