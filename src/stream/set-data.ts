/** setData and labels: the token ids of chosen types and roles at their places in the batch. */

import { IsaacError } from "../errors"
import { describeEvent, type EventType, eventTokens, isEventType, type RoleIndex } from "./event"
import { roleIndex, roleMask } from "./masks"
import type { TensorStream } from "./tensor-stream"

/** null and "" stand for nobody in particular and choose every token whose role has no number of its own. */
export type KnownRole = keyof typeof RoleIndex | "" | null

const knownRoles: readonly KnownRole[] = [null, "", "agent", "user", "system"]

/** The label of a token that does not count in the loss. */
export const ignoredLabel = -100

/** What `setData` gives: two [B·T] arrays. */
export interface SelectedData {
  /** The ids of all tokens of the chosen types, whatever their role; 0 elsewhere. */
  readonly data: Int32Array
  /** 1 where both type and role were chosen. */
  readonly mask: Uint8Array
}

/**
 * The token ids of the events of some types, and a mask of those that also have one of some roles (default: any).
 *
 * @throws IsaacError `bad_input` when a type does not occur in the stream, when its events have not one number per
 *   token (as images do not), or for an unknown role
 */
export function setData(
  stream: TensorStream,
  types: readonly EventType[],
  roles: readonly KnownRole[] = knownRoles,
): SelectedData {
  const [batch, tokens] = stream.shape
  const data = new Int32Array(batch * tokens) // [B·T]
  const mask = new Uint8Array(batch * tokens) // [B·T]
  const roleOf = roleMask(stream) // [B·T]
  for (const type of types) {
    if (!isEventType(type) || !stream.events.some((event) => event.type === type)) {
      throw new IsaacError("bad_input", `The stream has no ${String(type)} event to take data from.`)
    }
    const unknown = roles.find((role) => !knownRoles.includes(role))
    if (unknown !== undefined) {
      throw new IsaacError("bad_input", `Unknown role "${unknown}"; use agent, user, system, "" or null.`)
    }
    const chosen = new Set(roles.map(roleIndex))
    let at = 0
    for (const event of stream.events) {
      const next = at + eventTokens(event)
      if (event.type === type) {
        const { values, rows, width } = event.data
        if (width !== 1 || rows !== eventTokens(event, { partial: false })) {
          throw new IsaacError(
            "bad_input",
            `${describeEvent(event)} has ${rows} × ${width} numbers for ${eventTokens(event, { partial: false })} ` +
              "tokens; only events with one number per token can be selected.",
          )
        }
        data.set(values.subarray(...event.idxRange), at)
        for (let i = at; i < next; i++) mask[i] = chosen.has(roleOf[i]) ? 1 : 0
      }
      at = next
    }
  }
  return { data, mask }
}

/**
 * Training labels, [B·T]: the id of every text token with one of `roles` (default: any), -100 everywhere else.
 * They are not shifted: the loss compares the logits at t with the label at t + 1.
 */
export function labels(stream: TensorStream, { roles }: { roles?: readonly KnownRole[] } = {}): Int32Array {
  const out = new Int32Array(stream.shape[0] * stream.shape[1]).fill(ignoredLabel) // [B·T]
  if (!stream.events.some((event) => event.type === "text")) return out
  const { data, mask } = setData(stream, ["text"], roles)
  for (let i = 0; i < out.length; i++) if (mask[i]) out[i] = data[i]
  return out
}
