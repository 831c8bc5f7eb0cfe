/** Looking into a forward pass, and stopping one. */

import type { Tensor } from "../ops/backend"

export interface ForwardHooks {
  /**
   * Called with each stage's result, in order. The tensor lives until the call returns: start a `Backend.read` inside,
   * its numbers are safe from then on. With more images than one vision pass takes, vision stages come once per pass.
   */
  onStage?(name: string, tensor: Tensor): void
  /** Called between layers; what it throws ends the pass and leaves caches as they were. */
  checkAbort?(): void
}
