/** The prompts of the tiny model's reference runs: their streams, ids, masks, positions and labels. */

import { describe, expect, test } from "vitest"
import { type GoldenTensor, readGolden, readGoldenJson } from "../../test/golden"
import { collate } from "./collate"
import { createEvent, type Event, type EventType } from "./event"
import { ignoredLabel } from "./set-data"
import { Stream } from "./stream"
import { TensorStream } from "./tensor-stream"

interface Case {
  name: string
  file: string
  batch: number
  length: number
  streams: ({ type: "text" | "padding"; tokens: number[] } | { type: "image"; image: number })[][]
  max_sequence_length: number | null
  slice: [number, number] | null
  stream_after_slicing: {
    type: EventType
    time: [number, number]
    dims_virtual: number[]
    dims_real: number[]
    idx_range: [number, number]
  }[][]
}

const pixelShuffle = 2
const { cases } = readGoldenJson<{ cases: Case[] }>("random-tiny/cases/index.json")

describe.each(cases)("$name", (wanted) => {
  test("stream, ids, modality, positions, labels", async () => {
    const tensors = await readGolden(`random-tiny/cases/${wanted.file}`)
    const stream = keep(wanted, buildStream(wanted, tensors))
    expect(stream.shape).toEqual([wanted.batch, wanted.length])

    // Times are the ordinals of the prompt's pieces, empty texts included, which the list of events does not tell.
    const described = stream.streams.map(({ events }) =>
      events.map(({ type, dimsVirtual, dimsReal, idxRange }) => ({
        type,
        dims_virtual: [...dimsVirtual],
        dims_real: [...dimsReal],
        idx_range: [...idxRange],
      })),
    )
    expect(described).toEqual(wanted.stream_after_slicing.map((events) => events.map(({ time, ...rest }) => rest)))

    const modality = stream.modalityMask()
    expect([...modality]).toEqual([...tensors.get("modality")!.data])
    expect([...stream.positions()]).toEqual([...tensors.get("position_ids")!.data])
    expect([...stream.tokenView()]).toEqual([...tensors.get("input_ids")!.data])

    // Three quarters of the text count in the loss; where they do, the label is the token.
    const given = tensors.get("labels")!.data
    const ours = stream.labels()
    let counted = 0
    for (let i = 0; i < given.length; i++) {
      if (modality[i] !== 1) expect([given[i], ours[i]]).toEqual([ignoredLabel, ignoredLabel])
      else if (given[i] !== ignoredLabel) {
        expect(ours[i]).toBe(given[i])
        counted++
      }
    }
    expect(counted).toBeGreaterThan(0)
  })
})

/** The prompt before any slice, one stream per row of the batch; the goldens hold the patches of kept images only. */
function buildStream(wanted: Case, tensors: Map<string, GoldenTensor>): TensorStream {
  const grids = tensors.get("token_grids")?.data ?? []
  const patches = tensors.get("patches")
  let patchRow = 0
  const rows = wanted.streams.map((pieces) => {
    const events = pieces.map((piece, time): Event => {
      if (piece.type !== "image") return createEvent({ type: piece.type, data: piece.tokens, time })
      const [height, width] = [grids[2 * piece.image], grids[2 * piece.image + 1]]
      const rowWidth = patches!.shape[1]
      const values = patches!.data.slice(patchRow * rowWidth, (patchRow + height * width) * rowWidth) as Float32Array
      patchRow += height * width
      return createEvent({
        type: "image",
        time,
        data: { values, rows: height * width, width: rowWidth },
        dimsReal: [1, height, width],
        dimsVirtual: [1, height / pixelShuffle, width / pixelShuffle],
      })
    })
    return new TensorStream([Stream.create(events, ["text", "image", "padding"])])
  })
  expect(patchRow).toBe(patches?.shape[0] ?? 0)
  return collate(rows)
}

/** Truncation keeps the last tokens; an explicit slice comes after it. */
function keep({ max_sequence_length: limit, slice }: Case, stream: TensorStream): TensorStream {
  const tokens = stream.shape[1]
  const truncated = limit !== null && tokens > limit ? stream.slice(tokens - limit, tokens) : stream
  return slice ? truncated.slice(...slice) : truncated
}
