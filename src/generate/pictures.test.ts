import { afterAll, beforeAll, beforeEach, expect, it } from "vitest"
import { prompt, SessionRig, text, turn } from "../../test/session-rig"
import { createReferenceBackend } from "../ops/reference"
import { IsaacProcessor, type PreparedImage, type RgbImage, type Tokenizer } from "../processor"
import { Picture, PictureBook } from "./pictures"
import { identifyPrompt, imageHash } from "./prompt-keys"
import { Session } from "./session"
import type { SessionPool } from "./session-pool"

let rig: SessionRig
let pool: SessionPool
let book: PictureBook
let decoded: string[]

beforeAll(async () => {
  rig = await SessionRig.create(createReferenceBackend())
})
afterAll(() => rig.dispose())
beforeEach(() => {
  decoded = []
  pool = rig.pool(20)
  const processor = new IsaacProcessor({
    tokenizer: {} as Tokenizer,
    sizing: rig.model.config.vision,
    maxSequenceLength: 400,
    // A file is its pixels: 64 wide, as high as it is long.
    decodeImage: async (bytes, name) => {
      decoded.push(name)
      return { width: 64, height: bytes.length / 192, data: bytes.slice() }
    },
  })
  book = new PictureBook(processor, pool.knownImages)
})

const pixels = (seed: number, height = 64) => Uint8Array.from({ length: height * 192 }, (_, i) => (i * seed) % 251)
const file = (seed: number, name = `${seed}.png`) => new Picture({ name, bytes: pixels(seed) })
const shown = (image: PreparedImage, ...tokens: number[]) => prompt(text(1, 2), image.event(), text(...tokens))

it("looks at a picture once, and at another one with the same content not at all", async () => {
  const picture = file(3)
  const first = await book.prepare(picture, "image 1 of 1")
  expect(first.patches.width).toBe(768)
  const again = await book.prepare(picture, "image 1 of 1")
  expect(await book.prepare(picture, "image 1 of 1")).toBe(again)
  const same = await book.prepare(file(3, "copy.png"), "image 1 of 1")
  expect(decoded).toEqual(["3.png"])
  for (const known of [again, same]) {
    expect(known.patches).toMatchObject({ rows: 16, width: 0 })
    expect(known).toMatchObject({ width: 64, height: 64, dimsReal: [1, 4, 4], dimsVirtual: [1, 2, 2] })
    const { imageHashes } = await identifyPrompt(shown(known, 5), pool.knownImages)
    expect([...imageHashes.values()]).toEqual([await imageHash(first.patches, first.dimsReal)])
  }
})

it("tells contents apart: other bytes, pixels of another width, a file of the same bytes as pixels", async () => {
  const data = pixels(7)
  const wide: RgbImage = { width: 128, height: 32, data }
  const tall: RgbImage = { width: 64, height: 64, data }
  const pictures = [file(3), file(5), new Picture(wide), new Picture(tall), file(7)]
  const hashes: string[] = []
  for (const picture of pictures) {
    const image = await book.prepare(picture, "an image")
    expect(image.patches.width).toBe(768)
    const { imageHashes } = await identifyPrompt(shown(image), pool.knownImages)
    hashes.push(...imageHashes.values())
  }
  expect(decoded).toEqual(["3.png", "5.png", "7.png"])
  // The file that decodes to these very pixels is the same picture to the model.
  expect(new Set(hashes).size).toBe(4)
  expect(hashes[4]).toBe(hashes[3])
})

it("gives the logits of a fresh run in later turns, without decoding; after eviction with decoding", async () => {
  const picture = file(3)
  const [session, other] = [new Session(pool), new Session(pool)]
  const first = shown(await book.prepare(picture, "image 1 of 1"), 5)
  await turn(session, first)
  const again = await book.prepare(picture, "image 1 of 1")
  const want = await rig.oneShot(prompt(...first.events, text(6)))
  const second = shown(again, 5, 6)
  const { logits, reused, visionMs } = await turn(session, second)
  expect(logits[0]).toEqual(want)
  expect({ reused, visionMs }).toEqual({ reused: 7, visionMs: 0 })
  // Another session has the embeddings.
  expect(await turn(other, second)).toMatchObject({ logits: [want], reused: 0, visionMs: 0 })
  expect(decoded).toHaveLength(1)
  // Nobody has anything.
  session.evict()
  pool.images.clear()
  expect((await turn(session, second)).logits[0]).toEqual(want)
  expect(decoded).toEqual(["3.png", "3.png"])
  // A cut picture.
  session.evict()
  pool.images.clear()
  const cut = second.slice(3, 8)
  expect((await turn(session, cut)).logits[0]).toEqual(await rig.oneShot(prompt(...first.events, text(6)).slice(3, 8)))
})

it("refuses a picture that was changed after it was shown, when it must look again", async () => {
  const picture = file(3)
  const session = new Session(pool)
  await turn(session, shown(await book.prepare(picture, "image 1 of 1"), 5))
  ;(picture.source as { bytes: Uint8Array }).bytes[100] ^= 255
  const again = shown(await book.prepare(picture, "image 1 of 1"), 5)
  session.evict()
  pool.images.clear()
  await expect(turn(session, again)).rejects.toMatchObject({
    code: "bad_input",
    message: expect.stringMatching(/^image 1 of 1 was changed/),
  })
  expect(pool.images.bytes).toBe(0)
})
