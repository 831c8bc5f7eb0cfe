/** Collects the stages of a forward pass as numbers, under their names. */

import type { Backend, ForwardHooks, Tensor } from "../internal"

export interface Stage {
  readonly data: Float32Array
  readonly shape: readonly number[]
}

export class StageRecorder implements ForwardHooks {
  readonly #reads: {
    readonly name: string
    readonly shape: readonly number[]
    readonly data: Promise<Float32Array>
  }[] = []

  constructor(private readonly backend: Backend) {}

  /** Called inside the pass: the tensor is read now, since it is freed when the pass goes on. */
  readonly onStage = (name: string, tensor: Tensor): void => {
    this.#reads.push({ name, shape: tensor.shape, data: this.backend.read(tensor) })
  }

  /** What came in so far. A stage that came in several passes is one tensor: their rows below each other. */
  async stages(): Promise<Map<string, Stage>> {
    const parts = new Map<string, Stage[]>()
    for (const { name, shape, data } of this.#reads) {
      const part = { shape, data: await data }
      parts.set(name, [...(parts.get(name) ?? []), part])
    }
    return new Map([...parts].map(([name, stages]) => [name, stages.length === 1 ? stages[0] : stack(stages)]))
  }
}

function stack(parts: readonly Stage[]): Stage {
  const data = new Float32Array(parts.reduce((sum, part) => sum + part.data.length, 0))
  let rows = 0
  let at = 0
  for (const part of parts) {
    data.set(part.data, at)
    at += part.data.length
    rows += part.shape[0]
  }
  return { data, shape: [rows, ...parts[0].shape.slice(1)] }
}
