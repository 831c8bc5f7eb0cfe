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

/** Longest text of a stranger's value in a message. */
const SHOWN = 120

/**
 * A value out of a stranger's file, for a message: like JSON, short, without control characters (they would reach
 * people's terminals), and never throwing, however deep or odd the value is.
 */
export function shown(value: unknown, longest = SHOWN): string {
  let text = ""
  const write = (part: unknown, depth: number): void => {
    if (text.length > longest) return
    if (part === null || typeof part !== "object") {
      // Long texts are cut before they are quoted.
      text += typeof part === "string" ? JSON.stringify(part.slice(0, longest + 1)) : String(part)
    } else if (depth === 4) {
      text += "…"
    } else if (Array.isArray(part)) {
      text += "["
      for (let i = 0; i < part.length && text.length <= longest; i++) {
        if (i > 0) text += ","
        write(part[i], depth + 1)
      }
      text += "]"
    } else {
      text += "{"
      for (const key of Object.keys(part)) {
        if (text.length > longest) break
        text += `${text.endsWith("{") ? "" : ","}${JSON.stringify(key.slice(0, longest + 1))}:`
        write((part as Record<string, unknown>)[key], depth + 1)
      }
      text += "}"
    }
  }
  write(value, 0)
  return plainText(text.length > longest ? `${text.slice(0, longest)}…` : text)
}

/** A text with its control characters, and those that turn the direction of writing, written as escapes. */
export function plainText(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cs}\u2028-\u202e\u2066-\u2069\ufeff]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  )
}
