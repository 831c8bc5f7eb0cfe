/** Pictures at another size, for drawings; the model's own resizing is in processor/. */

import { type RawPixels, toRgbImage } from "../processor/rgb-image"
import type { RgbaImage } from "./draw-canvas"
import type { PictureSize } from "./geometry"

/** Where a target row or column takes its value from: positions from `first` on, and the weight of each (sum 1). */
interface Source {
  readonly first: number
  readonly weights: readonly number[]
}

/**
 * RGB or RGBA pixels as RGBA of another size: bilinear where it grows, the mean of what a pixel covers where it shrinks.
 * Always a copy. Throws `bad_image` when the data does not fit the size.
 */
export function resample(picture: RawPixels, { width, height }: PictureSize): RgbaImage {
  const pixels = withAlpha(picture)
  return pixels.width === width && pixels.height === height ? pixels : resize(pixels, width, height)
}

function withAlpha(picture: RawPixels): RgbaImage {
  const { width, height, data } = picture
  if (data.length === width * height * 4) {
    return { width, height, data: new Uint8ClampedArray(data) }
  }
  const rgb = toRgbImage(picture, "the picture to draw on").data
  const out = new Uint8ClampedArray(width * height * 4)
  for (let from = 0, to = 0; to < out.length; from += 3, to += 4) {
    out[to] = rgb[from]
    out[to + 1] = rgb[from + 1]
    out[to + 2] = rgb[from + 2]
    out[to + 3] = 255
  }
  return { width, height, data: out }
}

/** Columns first, then rows. Colours are weighted by their alpha, so that hidden ones do not bleed. */
function resize({ width, height, data }: RgbaImage, toWidth: number, toHeight: number): RgbaImage {
  const columns = sources(width, toWidth)
  const across = new Float32Array(toWidth * height * 4)
  for (let y = 0, at = 0; y < height; y++) {
    for (const { first, weights } of columns) {
      for (let i = 0, from = (y * width + first) * 4; i < weights.length; i++, from += 4) {
        const weight = weights[i] * data[from + 3]
        across[at] += data[from] * weight
        across[at + 1] += data[from + 1] * weight
        across[at + 2] += data[from + 2] * weight
        across[at + 3] += weight
      }
      at += 4
    }
  }
  const out = new Uint8ClampedArray(toWidth * toHeight * 4)
  let at = 0
  for (const { first, weights } of sources(height, toHeight)) {
    for (let x = 0; x < toWidth; x++, at += 4) {
      let [r, g, b, a] = [0, 0, 0, 0]
      for (let i = 0, from = (first * toWidth + x) * 4; i < weights.length; i++, from += toWidth * 4) {
        r += across[from] * weights[i]
        g += across[from + 1] * weights[i]
        b += across[from + 2] * weights[i]
        a += across[from + 3] * weights[i]
      }
      if (a === 0) continue
      out[at] = r / a
      out[at + 1] = g / a
      out[at + 2] = b / a
      out[at + 3] = a
    }
  }
  return { width: toWidth, height: toHeight, data: out }
}

function sources(from: number, to: number): Source[] {
  const ratio = from / to
  if (ratio > 1) {
    return Array.from({ length: to }, (_, i) => {
      const [start, end] = [i * ratio, Math.min(from, (i + 1) * ratio)]
      const first = Math.floor(start)
      const weights: number[] = []
      for (let at = first; at < end; at++) weights.push((Math.min(at + 1, end) - Math.max(at, start)) / (end - start))
      return { first, weights }
    })
  }
  return Array.from({ length: to }, (_, i) => {
    const position = Math.min(Math.max((i + 0.5) * ratio - 0.5, 0), from - 1)
    const first = Math.floor(position)
    const fraction = position - first
    return { first, weights: fraction === 0 ? [1] : [1 - fraction, fraction] }
  })
}
