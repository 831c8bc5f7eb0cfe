/** How weights, keys and values are kept: as asked for, or as they fit into the memory that there is. */

import { IsaacError } from "../errors"
import type { BackendInfo, StoredType } from "../ops/backend"
import { packedTypeOfTensors } from "../weights/checkpoint"
import type { IsaacConfig } from "./config"
import { describePlan, type MemoryPlan, type MemoryPlanOptions, megabytes, planMemory } from "./memory-plan"

export type KvType = "f32" | "bf16"

export interface StorageChoice {
  /** As asked for; "auto" keeps each matrix as the checkpoint has it. */
  readonly stored: StoredType | "auto"
  readonly kvStored: KvType
  readonly plan: MemoryPlan
  /** For people, when something is kept smaller than it would be with more memory: what, why, and how to change it. */
  readonly notice?: string
}

export interface StorageWish extends Pick<MemoryPlanOptions, "maxContext" | "prefillTokens" | "tensors" | "tied"> {
  /** "auto": as the checkpoint has it, q8 where that does not fit, q4 where that does not fit either. Default "auto". */
  readonly stored?: StoredType | "auto"
  /** Default: f32, or bf16 where that does not fit. */
  readonly kvStored?: KvType
  /** Bytes that everything may take together. Default: the backend's limit, if it has one. */
  readonly memoryLimit?: number
}

/**
 * The first that fits of: as stored with f32 keys and values, as stored with bf16 ones, q8 with f32, q8 with bf16, q4
 * with f32, q4 with bf16. What was asked for is not changed, nor what is packed already. Rounding keys and values comes
 * before rounding weights, because it moves the answer less.
 *
 * Throws out_of_memory with the numbers of all that were tried.
 */
export function chooseStorage(config: IsaacConfig, info: BackendInfo, wish: StorageWish = {}): StorageChoice {
  const { stored = "auto", memoryLimit = info.memoryLimit } = wish
  const weights: (StoredType | "auto")[] = [stored]
  const smaller = smallerThan(stored, info, wish)
  if (stored === "auto") weights.push(...smaller)
  const caches: KvType[] = wish.kvStored ? [wish.kvStored] : ["f32", "bf16"]
  const tried: StorageChoice[] = []
  for (const asStored of weights) {
    for (const kvStored of caches) {
      const plan = planMemory(config, { ...wish, stored: asStored, kvStored })
      if (memoryLimit === undefined || plan.total <= memoryLimit) {
        const choice = { stored: asStored, kvStored, plan }
        return tried.length === 0 ? choice : { ...choice, notice: noticeOf(choice, tried[0], info.name, memoryLimit!) }
      }
      tried.push({ stored: asStored, kvStored, plan })
    }
  }
  throw tooLarge(tried, stored === "auto" ? [] : smaller, memoryLimit!)
}

/** Types that weights could be rounded to, the largest first: none where they are rounded already. */
function smallerThan(stored: StoredType | "auto", info: BackendInfo, { tensors }: StorageWish): StoredType[] {
  if (tensors && packedTypeOfTensors(tensors) !== undefined) return []
  const all: StoredType[] = ["q8", "q4"]
  return all.slice(all.indexOf(stored as StoredType) + 1).filter((type) => info.stored.includes(type))
}

function noticeOf(chosen: StorageChoice, wanted: StorageChoice, backend: string, limit: number): string {
  const requantised = chosen.stored !== wanted.stored
  const what = requantised ? `weights are kept as ${chosen.stored}` : "keys and values are kept as bf16"
  return (
    `The model would take ${describePlan(wanted.plan)}. That is more than the ${megabytes(limit)} that the ${backend} ` +
    `backend can have here, so ${what}: ${describePlan(chosen.plan)}. A smaller maxContext${requantised ? ", a dtype" : ""} or another backend of your ` +
    "choice changes that."
  )
}

function tooLarge(tried: readonly StorageChoice[], smaller: readonly StoredType[], limit: number): IsaacError {
  const plans = tried.map(({ plan }) => describePlan(plan))
  const dtypes = smaller.length > 0 ? `dtype ${smaller.join(" or ")}, or ` : ""
  return new IsaacError(
    "out_of_memory",
    `the model needs ${plans.join("; or ")}; but ${megabytes(limit)} are allowed. Choose ${dtypes}a smaller maxContext.`,
  )
}
