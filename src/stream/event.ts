/**
 * Event: one piece of a stream, either text (token ids) or an image (patches), at a time.
 *
 * An event knows two sizes. `dimsVirtual` counts what the decoder sees (tokens); `dimsReal` counts what the
 * processor made (ids or patches). They are equal for text; for an image with pixel shuffle r they are
 * [1, H/r, W/r] and [1, H, W].
 */

import { IsaacError } from "../errors"

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

/** What `createEvent` needs: type, time and data, and for an image its dims; the rest has defaults. */
export interface EventInit {
  readonly type: EventType
  /** Token ids for text and padding, or a matrix of rows. Typed arrays are kept, not copied: do not change them later. */
  readonly data: Rows | Int32Array | readonly number[]
  /** [start, end], or one number for an event without duration. */
  readonly time: number | readonly [number, number]
  readonly id?: string
  /** Default null: nobody in particular. */
  readonly role?: string | null
  /** Default [rows, 1] for text and padding; required for an image. */
  readonly dimsReal?: readonly number[]
  /** Default `dimsReal`. */
  readonly dimsVirtual?: readonly number[]
  /** Default [0, product of dimsVirtual): the whole event. */
  readonly idxRange?: readonly [number, number]
  readonly tags?: Readonly<Record<string, string | number>>
}

/**
 * Makes an immutable event.
 *
 * @throws IsaacError `bad_input` when the parts contradict each other (see `checkEvent`), `not_finite` for a time
 *   that is NaN or infinite.
 */
export function createEvent(init: EventInit): Event {
  if (init === null || typeof init !== "object") throw new IsaacError("bad_input", "An event must be an object.")
  const data = toRows(init.data)
  if (init.dimsReal === undefined && init.type === "image") {
    throw new IsaacError(
      "bad_input",
      `An image event needs dimsReal [1, patch rows, patch columns]; only the number of patches (${data.rows}) is known.`,
    )
  }
  const dimsReal = init.dimsReal ?? [data.rows, 1]
  const dimsVirtual = init.dimsVirtual ?? dimsReal
  checkDims(dimsReal, "dimsReal")
  checkDims(dimsVirtual, "dimsVirtual")
  const time: readonly [number, number] = typeof init.time === "number" ? [init.time, init.time] : init.time
  const idxRange = init.idxRange ?? ([0, product(dimsVirtual)] as const)
  const event: Event = {
    ...(init.id === undefined ? {} : { id: init.id }),
    type: init.type,
    time,
    role: init.role ?? null,
    dimsVirtual,
    dimsReal,
    idxRange,
    data,
    tags: Object.freeze({ ...init.tags }),
  }
  checkEvent(event)
  return Object.freeze({
    ...event,
    time: Object.freeze([time[0], time[1]] as const),
    dimsVirtual: Object.freeze([...dimsVirtual]),
    dimsReal: Object.freeze([...dimsReal]),
    idxRange: Object.freeze([idxRange[0], idxRange[1]] as const),
  })
}

/**
 * Checks the promises that every other function of this folder relies on:
 * the type is known, the times are finite, dims are one to three whole numbers, the product of `dimsReal` is
 * `data.rows`, `data.values` has rows × width numbers and `idxRange` lies inside the tokens.
 *
 * An end before the start is allowed (such an event simply overlaps less); scheduling is defined for it.
 */
export function checkEvent(event: Event): void {
  if (event === null || typeof event !== "object") throw new IsaacError("bad_input", "An event must be an object.")
  const name = describeEvent(event)
  const { type, time, dimsVirtual, dimsReal, idxRange, data } = event
  if (!isEventType(type)) {
    throw new IsaacError("bad_input", `${name}: unknown type ${String(type)}; use ${Object.keys(Modality).join(", ")}.`)
  }
  checkPair(time, `${name}: time`)
  checkPair(idxRange, `${name}: idxRange`)
  checkDims(dimsVirtual, `${name}: dimsVirtual`)
  checkDims(dimsReal, `${name}: dimsReal`)
  if (!Number.isFinite(time[0]) || !Number.isFinite(time[1])) {
    throw new IsaacError("not_finite", `${name}: the time [${time[0]}, ${time[1]}] must be two finite numbers.`)
  }
  if (event.role !== null && typeof event.role !== "string") {
    throw new IsaacError("bad_input", `${name}: the role must be a string or null.`)
  }
  checkRows(data, name)
  if (product(dimsReal) !== data.rows) {
    throw new IsaacError(
      "bad_input",
      `${name}: dimsReal [${dimsReal}] means ${product(dimsReal)} rows, but the data has ${data.rows}.`,
    )
  }
  const tokens = product(dimsVirtual)
  const [start, end] = idxRange
  if (!Number.isInteger(start) || !Number.isInteger(end) || start < 0 || start > end || end > tokens) {
    throw new IsaacError(
      "bad_input",
      `${name}: idxRange [${start}, ${end}) must lie inside [0, ${tokens}), the tokens of dimsVirtual [${dimsVirtual}].`,
    )
  }
  for (const [key, value] of Object.entries(event.tags ?? {})) {
    if (typeof value !== "string" && typeof value !== "number") {
      throw new IsaacError("bad_input", `${name}: the tag ${key} must be a string or a number.`)
    }
  }
}

/**
 * How many tokens an event has: the kept ones by default, all of them with `partial: false`, and with `real: true`
 * the rows of its data (ids or patches), which are never partial.
 */
export function eventTokens(event: Event, options: { partial?: boolean; real?: boolean } = {}): number {
  const { real = false, partial = !real } = options
  if (real && partial) {
    throw new IsaacError("bad_input", "Real rows are counted for whole events only: leave out `partial` or `real`.")
  }
  if (real) return product(event.dimsReal)
  return partial ? event.idxRange[1] - event.idxRange[0] : product(event.dimsVirtual)
}

/** True for "image", "text" and "padding". */
export function isEventType(value: unknown): value is EventType {
  return typeof value === "string" && Object.hasOwn(Modality, value)
}

/** A short name of an event for error messages: `text event "a0"`. */
export function describeEvent(event: Event): string {
  return `${String(event.type)} event${event.id === undefined ? "" : ` "${event.id}"`}`
}

/** The product of dims; 1 for none. */
export function product(dims: readonly number[]): number {
  let result = 1
  for (const dim of dims) result *= dim
  return result
}

function toRows(data: EventInit["data"]): Rows {
  if (data instanceof Int32Array) return Object.freeze({ values: data, rows: data.length, width: 1 })
  if (Array.isArray(data)) {
    const bad = data.findIndex((id) => typeof id !== "number" || (id | 0) !== id)
    if (bad >= 0) throw new IsaacError("bad_input", `Token id ${bad} is ${data[bad]}; ids are whole 32-bit numbers.`)
    return Object.freeze({ values: Int32Array.from(data as number[]), rows: data.length, width: 1 })
  }
  if (data === null || typeof data !== "object") {
    throw new IsaacError("bad_input", "An event's data must be token ids or { values, rows, width }.")
  }
  const { values, rows, width } = data as Rows
  return Object.freeze({ values, rows, width })
}

function checkRows(data: Rows, name: string): void {
  const { values, rows, width } = data ?? {}
  if (!(values instanceof Int32Array || values instanceof Float32Array)) {
    throw new IsaacError("bad_input", `${name}: data.values must be an Int32Array or a Float32Array.`)
  }
  if (!isCount(rows) || !isCount(width) || values.length !== rows * width) {
    throw new IsaacError("bad_input", `${name}: ${values.length} numbers are not ${rows} rows of width ${width}.`)
  }
}

function checkDims(dims: unknown, what: string): void {
  if (!Array.isArray(dims) || dims.length < 1 || dims.length > 3 || !dims.every(isCount)) {
    throw new IsaacError("bad_input", `${what} must be one to three whole numbers, not [${String(dims)}].`)
  }
}

function checkPair(values: unknown, what: string): void {
  if (!Array.isArray(values) || values.length !== 2) {
    throw new IsaacError("bad_input", `${what} must be [start, end], not ${String(values)}.`)
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
