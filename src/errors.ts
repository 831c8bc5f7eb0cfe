/**
 * The one error type of the library. Imports nothing, so that every layer may throw it.
 *
 * A message says what happened, with the numbers, and what to do about it.
 */

/** What kind of thing went wrong; stable, for programs to branch on. */
export type IsaacErrorCode =
  /** A call's arguments contradict each other or are out of range. */
  | "bad_input"
  /** Bytes that are no image, a truncated image, or one over the size limit. */
  | "bad_image"
  /** A checkpoint folder or file that is missing, truncated or contradicts itself. */
  | "bad_checkpoint"
  /** A config.json that lacks a field or contradicts itself or the weights. */
  | "bad_config"
  /** The prompt does not fit into the model's maximum sequence length. */
  | "too_long"
  /** The operation cannot fit into memory; the message has the plan. */
  | "out_of_memory"
  /** A file, folder or address that does not exist or cannot be read or written. */
  | "not_found"
  | "io"
  /** The caller's AbortSignal fired. */
  | "aborted"
  /** The engine's worker stopped; every pending call is rejected with this. */
  | "worker_lost"
  /** The backend that was asked for cannot run here; the message says why. */
  | "backend_unavailable"
  /** A NaN or infinity where a finite number is needed. */
  | "not_finite"
  /** A feature that this version does not have. */
  | "unsupported"
  /** A broken promise of our own code: please report it. */
  | "internal"

/** The only error this library throws on purpose. */
export class IsaacError extends Error {
  override readonly name = "IsaacError"
  readonly code: IsaacErrorCode

  constructor(code: IsaacErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
  }
}

/** True for an IsaacError, also for one that crossed a realm or worker border as a copy. */
export function isIsaacError(value: unknown): value is IsaacError {
  return value instanceof Error && value.name === "IsaacError" && typeof (value as { code?: unknown }).code === "string"
}
