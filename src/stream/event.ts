/**
 * Event: one piece of a stream, either text (token ids) or an image (patches), at a time.
 *
 * An event knows two sizes. `dimsVirtual` counts what the decoder sees (tokens); `dimsReal` counts what the
 * processor made (ids or patches). They are equal for text; for an image with pixel shuffle r they are
 * [1, H/r, W/r] and [1, H, W].
 */

/** What an event holds. The numbers are those of the modality mask. */
export const Modality = { image: 0, text: 1, padding: 2 } as const
export type EventType = keyof typeof Modality

/** Who speaks. The numbers are those of the role mask; anything else, and no role, is -1. */
export const RoleIndex = { agent: 0, user: 1, system: 2 } as const

/** A dense matrix of `rows` × `width` numbers, row-major: ids have width 1, patches have width 3·patch². */
export interface Rows {
  readonly values: Int32Array | Float32Array
  readonly rows: number
  readonly width: number
}

/** Everything an event is made of; `createEvent` checks it and fills the defaults. */
export interface Event {
  readonly id?: string
  readonly type: EventType
  /** [start, end] in arbitrary units; the processor uses the event's ordinal for both. */
  readonly time: readonly [number, number]
  readonly role: string | null
  /** Token dims: text [n, 1], image [1, H/r, W/r]. Their product is the number of tokens. */
  readonly dimsVirtual: readonly number[]
  /** Item dims: text [n, 1], image [1, H, W]. Their product is `data.rows`. */
  readonly dimsReal: readonly number[]
  /** The kept token range [start, end) in virtual tokens; a slice may cut an event in the middle. */
  readonly idxRange: readonly [number, number]
  readonly data: Rows
  readonly tags: Readonly<Record<string, string | number>>
}
