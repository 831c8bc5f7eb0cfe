/**
 * What must hold for a model of any shape on any backend, tried on one that shares no size with the published ones:
 * it equals an independent float64 model, packed images equal single ones, chunked prefill equals one prefill, decoding
 * through the cache equals the full pass, a batch equals its rows.
 */

import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { IsaacModel } from "../src/model"
import type { Backend, KvType, StoredType, Tensor } from "../src/ops/backend"
import { imageToEvent } from "../src/processor"
import { createEvent, type Event, Stream, TensorStream } from "../src/stream"
import { openCheckpoint } from "../src/weights/checkpoint"
import { type DoubleToken, doubleEmbedding, doubleLogits, doubleVision } from "./double-model"
import { maxAbsDiff } from "./golden"
import { checkpointFiles, ODD_CONFIG, randomNumbers, randomTensors } from "./random-checkpoint"

export interface LawOptions {
  /** How weights are kept. Default "auto": float32. */
  readonly stored?: StoredType | "auto"
  /** How keys and values are kept. Default "f32". */
  readonly kvStored?: KvType
  /** Largest difference from float64, at logits of magnitude 3. Default 1.5e-5. */
  readonly exact?: number
  /** Largest difference between two ways of computing the same. Default 2e-5. */
  readonly same?: number
}

/** Declares the tests of one backend. */
export function modelLaws(name: string, create: () => Promise<Backend>, options: LawOptions = {}): void {
  const { stored = "auto", kvStored = "f32", exact = 1.5e-5, same = 2e-5 } = options

  describe(`laws of the model on ${name} (weights ${stored}, keys and values ${kvStored}): patch 10, shuffle 3, head_dim 16, vision heads of 6, table 7×7`, () => {
    const tensors = randomTensors(ODD_CONFIG)
    let backend: Backend
    let model: IsaacModel

    beforeAll(async () => {
      backend = await create()
      const checkpoint = await openCheckpoint(checkpointFiles(ODD_CONFIG, tensors))
      model = await IsaacModel.load(checkpoint, backend, { stored, kvStored })
      await checkpoint.close()
    })
    afterAll(async () => {
      model.dispose()
      await backend.dispose()
    })

    const text = (seed: number, length: number, time = 0): Event => {
      const next = randomNumbers(seed)
      return createEvent({ type: "text", time, data: Array.from({ length }, () => Math.floor((next() + 1) * 48)) })
    }
    const image = (seed: number, height: number, width: number, time = 0): Event => {
      const next = randomNumbers(seed)
      const data = Uint8Array.from({ length: height * width * 3 }, () => (next() + 1) * 127)
      return imageToEvent({ height, width, data }, model.config.vision, time)
    }
    const streamOf = (...rows: Event[][]) =>
      new TensorStream(rows.map((events) => new Stream(events, ["text", "image"])))
    /** Text, an image wider than the table, text, a tall one, text: 9 + 4 + … tokens. */
    const prompt = () => streamOf([text(1, 5), image(2, 60, 90, 1), text(3, 4, 2), image(4, 90, 30, 3), text(5, 3, 4)])
    const read = async (tensor: Tensor): Promise<Float32Array> => {
      const numbers = await backend.read(tensor)
      backend.free(tensor)
      return numbers
    }
    const logitsOf = (input: Parameters<IsaacModel["forward"]>[0]) => read(model.forward(input).logits!)

    it("equals an independent float64 model, image by image and token by token", async () => {
      const stream = prompt()
      const tokens: DoubleToken[] = []
      let time = 0
      for (const { type, data, dimsReal } of stream.events) {
        if (type === "text") {
          for (const id of data.values) {
            tokens.push({ vector: doubleEmbedding(id, model.config, tensors), position: [time, time, time] })
            time++
          }
          continue
        }
        const [, rows, columns] = dimsReal
        const patches = Array.from({ length: data.rows }, (_, i) => [
          ...data.values.slice(i * data.width, (i + 1) * data.width),
        ])
        for (const [i, vector] of doubleVision(patches, rows, columns, model.config, tensors).entries()) {
          tokens.push({ vector, position: [time, Math.floor(i / (columns / 3)), i % (columns / 3)] })
        }
        time++
      }
      const embeds = await read(model.embedStream(stream))
      expect(
        maxAbsDiff(
          embeds,
          tokens.flatMap(({ vector }) => vector),
        ),
      ).toBeLessThan(exact)
      const want = doubleLogits(tokens, model.config, tensors)
      const got = await logitsOf({ tensorStream: stream })
      expect(Math.max(...want.flat().map(Math.abs))).toBeGreaterThan(1)
      expect(maxAbsDiff(got, want.flat())).toBeLessThan(exact)
    })

    it("packed images equal single ones", async () => {
      const images = [image(2, 60, 90), image(4, 90, 30), image(6, 30, 30)]
      const packed = await read(model.encodeImages(images))
      const single = await Promise.all(images.map((one) => read(model.encodeImages([one]))))
      expect(
        maxAbsDiff(
          packed,
          single.flatMap((tokens) => [...tokens]),
        ),
      ).toBeLessThan(same)
    })

    it("image tokens that were encoded before give the same stream", async () => {
      const stream = prompt()
      const [first] = stream.events.filter(({ type }) => type === "image")
      const tokens = model.encodeImages([first])
      const imageTokens = new Map([[first, tokens]])
      const encoded: string[] = []
      const embeds = model.embedStream(stream, {
        imageTokens,
        onStage: (stage, tensor) => stage === "vision_projector" && encoded.push(String(tensor.shape)),
      })
      expect(encoded).toEqual(["3,40"]) // the second image alone
      expect(maxAbsDiff(await read(embeds), await read(model.embedStream(stream)))).toBeLessThan(same)
      backend.free(tokens)
    })

    it("a cut image is encoded whole, one that is sliced away not at all", async () => {
      const stream = prompt()
      const whole = await read(model.embedStream(stream))
      const cut = stream.slice(7, 14) // inside the first image, into the text behind it
      const seen: number[] = []
      const embeds = model.embedStream(cut, {
        onStage: (stage, tensor) => stage === "vision_embeddings" && seen.push(tensor.shape[0]),
      })
      expect(seen).toEqual([54])
      expect(maxAbsDiff(await read(embeds), whole.subarray(7 * 40, 14 * 40))).toBeLessThan(same)
    })

    it("chunked prefill equals one prefill, and logits of the last token those of all", async () => {
      const stream = prompt()
      const tokens = stream.shape[1]
      const vocabulary = model.config.text.vocabSize
      const all = await logitsOf({ tensorStream: stream })
      const embeds = model.embedStream(stream)
      const flat = backend.reshape(embeds, [tokens, 40])
      const [positions, modality] = [stream.positions(), stream.modalityMask()]
      const cache = model.newCache(tokens)
      for (let start = 0; start < tokens; start += 4) {
        const end = Math.min(tokens, start + 4)
        const { logits, ropeDelta } = model.forward({
          inputsEmbeds: backend.rows(flat, start, end),
          positionIds: positions.subarray(3 * start, 3 * end),
          modality: modality.subarray(start, end),
          cache,
          logits: "last",
        })
        const want = all.subarray((end - 1) * vocabulary, end * vocabulary)
        expect(maxAbsDiff(await read(logits!), want)).toBeLessThan(same)
        if (end === tokens) expect([...ropeDelta]).toEqual([...model.forward({ tensorStream: stream }).ropeDelta])
      }
      expect(cache.length()).toBe(tokens)
      cache.free()
      backend.free(embeds)
    })

    it("decoding through the cache equals the full pass", async () => {
      const stream = prompt()
      const more = [8, 61, 23, 5]
      const tokens = stream.shape[1]
      const vocabulary = model.config.text.vocabSize
      const cache = model.newCache(tokens + more.length)
      backend.free(model.forward({ tensorStream: stream, cache, logits: "last" }).logits!)
      const steps: number[] = []
      for (const id of more) {
        steps.push(...(await logitsOf({ inputIds: Int32Array.of(id), cache, logits: "last" })))
      }
      // The same tokens as text behind the prompt, at the positions that decoding gave them.
      const longer = streamOf([...stream.events, createEvent({ type: "text", time: 9, data: more })])
      const positionIds = longer.positions()
      const first = Math.max(...stream.positions()) + 1
      for (let i = 0; i < 3 * more.length; i++) positionIds[3 * tokens + i] = first + Math.floor(i / 3)
      const full = await logitsOf({ tensorStream: longer, positionIds })
      expect(maxAbsDiff(steps, full.subarray(tokens * vocabulary))).toBeLessThan(same)
      cache.free()
    })

    it("a batch equals its rows, in a full pass and in decoding from slots of different length", async () => {
      const one = streamOf([text(7, 4), image(8, 30, 60, 1), text(9, 2, 2)])
      const two = streamOf([image(10, 60, 30), text(11, 6, 1)])
      const both = new TensorStream([...one.streams, ...two.streams])
      const [a, b] = [await logitsOf({ tensorStream: one }), await logitsOf({ tensorStream: two })]
      expect(maxAbsDiff(await logitsOf({ tensorStream: both }), [...a, ...b])).toBeLessThan(same)
      const { vocabSize } = model.config.text
      const last = [...a.subarray(-vocabSize), ...b.subarray(-vocabSize)]
      expect(maxAbsDiff(await logitsOf({ tensorStream: both, logits: "last" }), last)).toBeLessThan(same)

      const longer = prompt()
      const cache = model.newCache(64)
      backend.free(model.forward({ tensorStream: one, cache, slots: [5], logits: "last" }).logits!)
      backend.free(model.forward({ tensorStream: longer, cache, slots: [2], logits: "last" }).logits!)
      const step = { inputIds: Int32Array.of(17, 44), batch: 2, logits: "last" as const }
      const together = await logitsOf({ ...step, cache, slots: [5, 2] })
      const apart: number[] = []
      for (const [tensorStream, id] of [
        [one, 17],
        [longer, 44],
      ] as const) {
        const own = model.newCache(64)
        backend.free(model.forward({ tensorStream, cache: own, logits: "last" }).logits!)
        apart.push(...(await logitsOf({ inputIds: Int32Array.of(id), cache: own, logits: "last" })))
        own.free()
      }
      expect(maxAbsDiff(together, apart)).toBeLessThan(same)
      cache.free()
    })

    it("the loss is the same whether logits are kept or not, and NaN when no label counts", async () => {
      const stream = streamOf([text(1, 150), ...prompt().events]) // more rows than the loss looks at together
      const next = randomNumbers(20)
      const labels = Int32Array.from(stream.tokenView(), () => (next() > 0.5 ? -100 : Math.floor((next() + 1) * 48)))
      const all = model.forward({ tensorStream: stream, labels })
      const none = model.forward({ tensorStream: stream, labels, logits: "none" })
      expect(none.logits).toBeUndefined()
      expect(Math.abs((await all.loss!) - (await none.loss!))).toBeLessThan(1e-6)
      const ignored = new Int32Array(labels.length).fill(-100)
      expect(await model.forward({ tensorStream: stream, labels: ignored, logits: "none" }).loss).toBeNaN()
      backend.free(all.logits!)
    })

    it("an aborted pass leaves the cache as it was", async () => {
      const cache = model.newCache(64)
      const ids = Int32Array.of(5, 6, 7)
      backend.free(model.forward({ inputIds: ids, cache, logits: "last" }).logits!)
      const want = await logitsOf({ inputIds: Int32Array.of(5, 6, 7, 8), logits: "last" })
      let layers = 0
      const stop = () => {
        if (++layers === 2) throw new Error("stop")
      }
      expect(() => model.forward({ inputIds: Int32Array.of(9, 9), cache }, { checkAbort: stop })).toThrow("stop")
      expect(cache.length()).toBe(3)
      expect(maxAbsDiff(await logitsOf({ inputIds: Int32Array.of(8), cache, logits: "last" }), want)).toBeLessThan(same)
      cache.free()
    })

    it("gives back all memory that a pass took", () => {
      const before = backend.memory().used
      const { logits } = model.forward({ tensorStream: prompt() })
      backend.free(logits!)
      expect(() => model.forward({ inputIds: Int32Array.of(97) })).toThrow(/97/)
      expect(backend.memory().used).toBe(before)
    })
  })
}
