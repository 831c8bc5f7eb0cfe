/** TensorStream: a batch of streams with the same number of tokens, the input of the model. */

import { IsaacError } from "../errors"
import { concatRows, tokenRows } from "./compact"
import { type Event, type EventType, eventTokens, type Rows } from "./event"
import { groupStream, type NamedKeys } from "./group"
import { eventMask, eventMaskByTag, modalityMask, roleMask } from "./masks"
import { positions } from "./positions"
import { type KnownRole, labels, type SelectedData, setData } from "./set-data"
import { checkSlice, sliceStream } from "./slice"
import { type EventChanges, Stream } from "./stream"
import { tokenView } from "./token-view"

/**
 * An immutable batch of B streams of T tokens each. Every view is computed when asked for and returned flat,
 * row-major: entry (b, t) of a [B, T] view is at b·T + t.
 */
export class TensorStream {
  readonly streams: readonly Stream[]
  /** `[B, T]`: the number of streams and the kept tokens of each. */
  readonly shape: readonly [batch: number, tokens: number]

  /** @throws IsaacError `bad_input` when the streams have different numbers of tokens */
  constructor(streams: readonly Stream[]) {
    if (!Array.isArray(streams) || !streams.every((stream) => stream instanceof Stream)) {
      throw new IsaacError("bad_input", "A TensorStream needs a list of streams (Stream.create), one for each row.")
    }
    const lengths = streams.map((stream) => stream.tokens)
    if (lengths.some((length) => length !== lengths[0])) {
      throw new IsaacError(
        "bad_input",
        `The streams of a batch need the same number of tokens, but have ${lengths.join(", ")}; ` +
          "pad the shorter ones (padStream) or cut the longer ones.",
      )
    }
    this.streams = Object.freeze([...streams])
    this.shape = Object.freeze([streams.length, lengths[0] ?? 0] as const)
  }

  /** All events, stream after stream. */
  get events(): readonly Event[] {
    return this.streams.flatMap((stream) => stream.events)
  }

  /** One stream of all events, in this order, with the first stream's priority. */
  flatStream(): Stream {
    return new Stream(this.events, this.streams[0]?.priority ?? [])
  }

  /** [B·T] token ids; see `tokenView` for the numbers at image positions. */
  tokenView(): Int32Array {
    return tokenView(this)
  }

  /** [B·T] 0 image, 1 text, 2 padding. */
  modalityMask(): Int32Array {
    return modalityMask(this)
  }

  /** [B·T] 0 agent, 1 user, 2 system, -1 others. */
  roleMask(): Int32Array {
    return roleMask(this)
  }

  /** [B·T] the number that `label` gives to each token's event, `fallback` where it gives none. */
  eventMask(label: (event: Event) => number | undefined | null, fallback = -1): Int32Array {
    return eventMask(this, label, fallback)
  }

  /** [B·T] the number that `index` holds for each event's tag `key`, `fallback` where it holds none. */
  eventMaskByTag(key: string, index: Readonly<Record<string, number>>, fallback = -1): Int32Array {
    return eventMaskByTag(this, key, index, fallback)
  }

  /** [B·T·3] (time, row, column) of every token. */
  positions(): Int32Array {
    return positions(this)
  }

  /** [B·T] the row each token takes from the compact data of its type. */
  tokenRows(): Int32Array {
    return tokenRows(this)
  }

  /**
   * Only the tokens [start, end) of every stream; an event at the border is cut in the middle.
   *
   * @throws IsaacError `bad_input` unless 0 ≤ start ≤ end ≤ T
   */
  slice(start: number, end: number): TensorStream {
    checkSlice(start, end, this.shape[1])
    return new TensorStream(this.streams.map((stream) => sliceStream(stream, start, end)))
  }

  /** A batch with changed events; `change` returns the fields that change, or undefined. */
  map(change: (event: Event, index: number) => EventChanges): TensorStream {
    return new TensorStream(this.streams.map((stream) => stream.map(change)))
  }

  /**
   * [B·T] the numbers that `numbers` gives for the kept tokens of each event, one per token.
   *
   * @throws IsaacError `bad_input` when it gives more or fewer
   */
  mapCompact(numbers: (event: Event) => ArrayLike<number>): Int32Array {
    const out = new Int32Array(this.shape[0] * this.shape[1])
    let at = 0
    for (const event of this.events) {
      const given = numbers(event)
      if (given.length !== eventTokens(event)) {
        throw new IsaacError(
          "bad_input",
          `An event of ${eventTokens(event)} kept tokens was given ${given.length} numbers.`,
        )
      }
      out.set(given, at)
      at += given.length
    }
    return out
  }

  /**
   * The data of every stream below each other, [B, R, width]: whole events, so R counts ids or patches, not tokens.
   *
   * @throws IsaacError `bad_input` when widths or rows differ between events or streams
   */
  compact(): { values: Rows["values"]; shape: readonly [batch: number, rows: number, width: number] } {
    const parts = this.streams.map((stream) => stream.compact())
    const rows = parts[0]?.rows ?? 0
    const uneven = parts.find((part) => part.rows !== rows)
    if (uneven) {
      throw new IsaacError("bad_input", `Streams with ${rows} and ${uneven.rows} rows of data do not form a batch.`)
    }
    const { values, width } = concatRows(parts)
    return { values, shape: [parts.length, rows, width] }
  }

  /** The events of all streams as one stream for each key ("type", "modality", "role" or a function's result). */
  group<Name extends keyof NamedKeys>(by: Name, options?: { schedule?: boolean }): Map<NamedKeys[Name], Stream>
  group<Key>(by: (event: Event) => Key, options?: { schedule?: boolean }): Map<Key, Stream>
  group(by: keyof NamedKeys | ((event: Event) => unknown), options?: { schedule?: boolean }): Map<unknown, Stream> {
    return groupStream(this.flatStream(), by as (event: Event) => unknown, options)
  }

  /** [B·T] ids of the tokens of some types, and where their role is one of `roles`; see `setData`. */
  setData(types: readonly EventType[], roles?: readonly KnownRole[]): SelectedData {
    return setData(this, types, roles)
  }

  /** [B·T] training labels: the ids of text tokens (of some roles), -100 elsewhere; not shifted. */
  labels(options?: { roles?: readonly KnownRole[] }): Int32Array {
    return labels(this, options)
  }
}
