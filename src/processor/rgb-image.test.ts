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
    expect(() => toRgbImage({ width: 1, height: 1, data: [1, 2, 3] as unknown as Uint8Array })).toThrow("Uint8Array")
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
