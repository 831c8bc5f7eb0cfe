/** The projector: shuffled vision tokens → the decoder's width. Two linear layers without biases, SiLU between. */

import type { Backend, Tensor, Weight } from "../ops/backend"

export interface ProjectorWeights {
  /** [4·Dv·r², Dv·r²] */
  readonly up: Weight
  /** [D, 4·Dv·r²] */
  readonly down: Weight
}

/** x [N, Dv·r²] → [N, D] */
export function project(backend: Backend, x: Tensor, { up, down }: ProjectorWeights): Tensor {
  return backend.scope(() => {
    const wide = backend.linear(x, up, { activation: "silu" }) // [N, 4·Dv·r²]
    return backend.linear(wide, down) // [N, D]
  })
}
