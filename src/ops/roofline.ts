/** How much of what the machine can do an operation gets out of it. */

import type { OperationTotal } from "./profiled-backend"

/** What all threads of a backend can do together, a second: measured by loops that do nothing else. */
export interface MachineLimits {
  /** Operations of float32 multiply-adds, two each. */
  readonly multiply: number
  /** The same with factors of bfloat16; undefined where no instruction multiplies them. */
  readonly pairs?: number
  /** Operations of int8 dot products, two for each product. */
  readonly dot: number
  /** Bytes read, one after the other. */
  readonly read: number
  /** Of how many bytes: small ones may lie in a cache. */
  readonly readBytes: number
}

export interface Roofline {
  /** What the operation would wait for on a machine that does its best. */
  readonly bound: "arithmetic" | "memory"
  /** Least time by the limits / time it took. Above 1 where its numbers were in a cache. */
  readonly share: number
}

/** Undefined for an operation without work or bytes. */
export function rooflineOf(
  { multiplyAdds, bytes, factors, ms }: Pick<OperationTotal, "multiplyAdds" | "bytes" | "factors" | "ms">,
  limits: MachineLimits,
): Roofline | undefined {
  const { multiply, dot, pairs = multiply } = limits
  const arithmetic = (2 * multiplyAdds) / { f32: multiply, bf16: pairs, int8: dot }[factors]
  const memory = bytes / limits.read
  const least = Math.max(arithmetic, memory)
  if (least === 0 || ms === 0) return undefined
  return { bound: arithmetic >= memory ? "arithmetic" : "memory", share: (least * 1000) / ms }
}
