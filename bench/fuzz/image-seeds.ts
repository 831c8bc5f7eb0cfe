/** Small sound pictures of every kind that is decoded, to be damaged. */

import sharp, { type Sharp } from "sharp"

const [width, height] = [40, 28]

/** Pixels with edges and gradients; every second frame is another. */
function pixels(channels: 1 | 2 | 3 | 4, frames = 1): Sharp {
  const data = new Uint8Array(width * height * frames * channels).map((_, i) => {
    const pixel = Math.floor(i / channels)
    const [x, y] = [pixel % width, Math.floor(pixel / width)]
    return (x * 6 + (i % channels) * 50) ^ (x > 9 && y % height > 9 ? 200 : y * 3)
  })
  const raw = { width, height: height * frames, channels, ...(frames > 1 ? { pageHeight: height } : {}) }
  return sharp(data, { raw })
}

const encoders: Readonly<Record<string, () => Sharp>> = {
  png: () => pixels(3).png(),
  "png alpha": () => pixels(4).png({ progressive: true }),
  "png palette": () => pixels(4).png({ palette: true, colours: 16 }),
  "png 16 bits": () => pixels(3).toColourspace("rgb16").png(),
  "png gray": () => pixels(2).toColourspace("b-w").png(),
  "png profile": () => pixels(3).withIccProfile("p3").withMetadata({ orientation: 6 }).png(),
  jpeg: () => pixels(3).jpeg({ quality: 60 }),
  "jpeg progressive": () => pixels(3).jpeg({ progressive: true, chromaSubsampling: "4:4:4" }),
  "jpeg gray": () => pixels(1).toColourspace("b-w").jpeg(),
  "jpeg cmyk": () => pixels(3).toColourspace("cmyk").jpeg(),
  "jpeg turned": () => pixels(3).withMetadata({ orientation: 5 }).jpeg(),
  // Newer than the types that sharp comes with.
  "jpeg gain map": () => (pixels(3) as Sharp & { withGainMap(): Sharp }).withGainMap().jpeg(),
  webp: () => pixels(3).webp({ quality: 50 }),
  "webp lossless": () => pixels(4).webp({ lossless: true }),
  "webp alpha": () => pixels(4).webp({ quality: 40, alphaQuality: 50 }),
  "webp animated": () => pixels(3, 2).webp({ loop: 0, delay: [50, 50] }),
  gif: () => pixels(3).gif(),
  "gif animated": () => pixels(4, 3).gif({ loop: 0, delay: [50, 50, 50] }),
  avif: () => pixels(3).avif({ effort: 0, quality: 40 }),
  "avif alpha": () => pixels(4).avif({ effort: 0, lossless: true }),
  "avif 10 bits": () => pixels(3).avif({ effort: 0, bitdepth: 10 }),
  tiff: () => pixels(3).tiff({ compression: "none" }),
  "tiff lzw": () => pixels(4).tiff({ compression: "lzw", predictor: "horizontal" }),
  "tiff deflate tiles": () =>
    pixels(3).tiff({ compression: "deflate", tile: true, tileWidth: 16, tileHeight: 16, pyramid: true }),
  "tiff jpeg": () => pixels(3).tiff({ compression: "jpeg" }),
  "tiff webp": () => pixels(3).tiff({ compression: "webp" }),
  "tiff fax": () => pixels(1).toColourspace("b-w").threshold().tiff({ compression: "ccittfax4", bitdepth: 1 }),
  "tiff float": () => pixels(3).toColourspace("scrgb").tiff({ predictor: "float", compression: "deflate" }),
}

export interface ImageSeed {
  readonly name: string
  readonly bytes: Uint8Array
}

/** Every kind; sound ones decode to 40 × 28 or 28 × 40 pixels. */
export function imageSeeds(): Promise<ImageSeed[]> {
  return Promise.all(
    Object.entries(encoders).map(async ([name, encode]) => ({
      name,
      bytes: new Uint8Array(await encode().toBuffer()),
    })),
  )
}
