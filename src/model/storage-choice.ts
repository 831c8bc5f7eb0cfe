/** How weights, keys and values are kept: as asked for, or as they fit into the memory that there is. */

import { IsaacError } from "../errors"
import type { BackendInfo, KvType, StoredType } from "../ops/backend"
import { packedTypeOfTensors } from "../weights/checkpoint"
import type { IsaacConfig } from "./config"
import { describePlan, type MemoryPlan, type MemoryPlanOptions, megabytes, planMemory } from "./memory-plan"

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
  /** Default: f32, or bf16 beside q8 and q4, and what fits, see `chooseStorage`. */
  readonly kvStored?: KvType
  /** Bytes that everything may take together. Default: the backend's limit, if it has one. */
  readonly memoryLimit?: number
}

/**
 * The first that fits of: weights as stored, with keys and values as f32, then bf16; weights as q8, then as q4, each with
 * keys and values as bf16, then int8. Rounding keys and values comes before rounding weights, because it moves the answer
 * less: beside q8 and q4, what bf16 changes is not seen (docs/numerics.md), and writing reads half as much of them. int8
 * depends on how even the numbers of a head are, and comes last. What was asked for is not changed, nor what is packed
 * already.
 *
 * Throws out_of_memory with the numbers of all that were tried.
 */
export function chooseStorage(config: IsaacConfig, info: BackendInfo, wish: StorageWish = {}): StorageChoice {
  const { stored = "auto", memoryLimit = info.memoryLimit } = wish
  const weights: (StoredType | "auto")[] = [stored]
  const smaller = smallerThan(stored, info, wish)
  if (stored === "auto") weights.push(...smaller)
  const tried: StorageChoice[] = []
  for (const asStored of weights) {
    const isPacked = asStored === "q8" || asStored === "q4" || (asStored === "auto" && arePacked(wish))
    const caches: KvType[] = isPacked
      ? ["bf16", "int8"]
      : weights.length === 1
        ? ["f32", "bf16", "int8"]
        : ["f32", "bf16"]
    for (const kvStored of wish.kvStored ? [wish.kvStored] : caches) {
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

function arePacked({ tensors }: StorageWish): boolean {
  return tensors !== undefined && packedTypeOfTensors(tensors) !== undefined
}

/** Types that weights could be rounded to, the largest first: none where they are rounded already. */
function smallerThan(stored: StoredType | "auto", info: BackendInfo, { tensors }: StorageWish): StoredType[] {
  if (arePacked({ tensors })) return []
  const all: StoredType[] = ["q8", "q4"]
  return all.slice(all.indexOf(stored as StoredType) + 1).filter((type) => info.stored.includes(type))
}

function noticeOf(chosen: StorageChoice, wanted: StorageChoice, backend: string, limit: number): string {
  const requantised = chosen.stored !== wanted.stored
  const what = [
    ...(requantised ? [`weights are kept as ${chosen.stored}`] : []),
    ...(chosen.kvStored !== wanted.kvStored ? [`keys and values are kept as ${chosen.kvStored}`] : []),
  ].join(" and ")
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
