/** Masks: one number per token that says which event it came from. All are [B·T], row-major. */

import { type Event, eventTokens, Modality, RoleIndex } from "./event"
import type { TensorStream } from "./tensor-stream"

/** The number that `label` gives to each token's event; `fallback` where it gives none. */
export function eventMask(
  stream: TensorStream,
  label: (event: Event) => number | undefined | null,
  fallback = -1,
): Int32Array {
  const [batch, tokens] = stream.shape
  const mask = new Int32Array(batch * tokens) // [B·T]
  let at = 0
  for (const { events } of stream.streams) {
    for (const event of events) {
      const next = at + eventTokens(event)
      mask.fill(label(event) ?? fallback, at, next)
      at = next
    }
  }
  return mask
}

/** The number that `index` holds for the value of each event's tag `key`; `fallback` without the tag or the value. */
export function eventMaskByTag(
  stream: TensorStream,
  key: string,
  index: Readonly<Record<string, number>>,
  fallback = -1,
): Int32Array {
  return eventMask(
    stream,
    ({ tags }) => (Object.hasOwn(tags, key) && Object.hasOwn(index, tags[key]) ? index[tags[key]] : undefined),
    fallback,
  )
}

/** What each token is: 0 image, 1 text, 2 padding. */
export function modalityMask(stream: TensorStream): Int32Array {
  return eventMask(stream, ({ type }) => Modality[type])
}

/** Who said each token: 0 agent, 1 user, 2 system, -1 anybody else or nobody. */
export function roleMask(stream: TensorStream): Int32Array {
  return eventMask(stream, ({ role }) => roleIndex(role))
}

/** The number of a role in the role mask: 0 agent, 1 user, 2 system, -1 anything else, "" and null. */
export function roleIndex(role: string | null): number {
  return role !== null && Object.hasOwn(RoleIndex, role) ? RoleIndex[role as keyof typeof RoleIndex] : -1
}
