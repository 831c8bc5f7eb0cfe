import { runInNewContext } from "node:vm"
import { describe, expect, it } from "vitest"
import { checkPixelCount, toRgbImage } from "./rgb-image"

describe("toRgbImage", () => {
  it("takes RGB as it is", () => {
    const data = Uint8Array.of(1, 2, 3, 4, 5, 6)
    const image = toRgbImage({ width: 2, height: 1, data })
    expect(image.data).toEqual(data)
    expect(image.data.buffer).toBe(data.buffer)
  })

  it("drops alpha without blending", () => {
    const data = Uint8ClampedArray.of(10, 20, 30, 0, 40, 50, 60, 255)
    expect([...toRgbImage({ width: 1, height: 2, data }).data]).toEqual([10, 20, 30, 40, 50, 60])
  })

  it("names the sizes that do not fit together", () => {
    expect(() => toRgbImage({ width: 2, height: 2, data: new Uint8Array(5) }, "image 3")).toThrow(
      /image 3 is 2×2 pixels but has 5 bytes; RGB takes 12 and RGBA 16/,
    )
    expect(() => toRgbImage({ width: 0, height: 2, data: new Uint8Array(0) })).toThrow("0×2")
    expect(() => toRgbImage({ width: 1, height: 1, data: [1, 2, 3] as unknown as Uint8Array })).toThrow("not Array")
    expect(() => toRgbImage({ width: 1, height: 1, data: new Float32Array(3) as never })).toThrow("not Float32Array")
  })

  it("refuses sides that are no sizes, whatever they are", () => {
    const sides = [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, "2", null, undefined, 2n, {}, Symbol("s")]
    for (const side of [...sides, Object.create(null)] as number[]) {
      for (const [width, height] of [
        [side, 1],
        [1, side],
      ]) {
        const error = (() => {
          try {
            return toRgbImage({ width, height, data: new Uint8Array(6) }, "image 3")
          } catch (error) {
            return error
          }
        })()
        expect(error).toMatchObject({ code: "bad_image", message: expect.stringMatching(/^image 3 is .*×.* pixels/) })
      }
    }
  })

  it("takes any memory that bytes may lie in, and says when it was transferred", () => {
    const expected = [1, 2, 3, 4, 5, 6]
    class Own extends Uint8Array {}
    const shared = new Uint8ClampedArray(new SharedArrayBuffer(16), 4, 6)
    shared.set(expected)
    const foreign = runInNewContext("Uint8Array.of(1, 2, 3, 4, 5, 6)") as Uint8Array
    expect(foreign instanceof Uint8Array).toBe(false)
    for (const data of [Buffer.from(expected), Own.from(expected), shared, foreign]) {
      expect([...toRgbImage({ width: 2, height: 1, data }).data]).toEqual(expected)
    }
    const gone = Uint8Array.from(expected)
    structuredClone(gone.buffer, { transfer: [gone.buffer] })
    expect(() => toRgbImage({ width: 2, height: 1, data: gone })).toThrow(/has 0 bytes.*transferred/)
  })
})

describe("checkPixelCount", () => {
  it("allows 60 megapixels and not one row more", () => {
    expect(() => checkPixelCount(10_000, 6000, "photo.jpg")).not.toThrow()
    expect(() => checkPixelCount(10_000, 6001, "photo.jpg")).toThrow(
      "photo.jpg is 10000×6001 pixels (60.01 megapixels)",
    )
  })
})
