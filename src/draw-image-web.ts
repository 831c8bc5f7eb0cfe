/** The same in a browser, through a canvas. */

import { DRAWING_FORMATS, type DrawImageOptions } from "./draw-image"
import type { ImageInput } from "./engine-options"
import { IsaacError, shown } from "./errors"
import { drawOnPixels, drawRaster, drawSvg, type PixelLeaf, type RgbaImage, toDataUri } from "./perception"
import { decodeImage } from "./processor/decode-image-web"
import { loadImage } from "./processor/image-input"
import { readImage } from "./processor/image-source-web"
import { prepareImage } from "./worker/page-caller-web"

/** See draw-image-node.ts: the same call. A format that the browser does not write is refused as `unsupported`. */
export async function drawImage(
  image: ImageInput,
  leaves: readonly PixelLeaf[],
  { format = "png", signal, allowPrivateUrls: _, ...options }: DrawImageOptions = {},
): Promise<Uint8Array> {
  if (!DRAWING_FORMATS.includes(format)) {
    throw new IsaacError("bad_input", `a drawing's format is ${DRAWING_FORMATS.join(", ")}, not ${shown(format)}`)
  }
  const ready = (await prepareImage(image)) as Exclude<ImageInput, HTMLElement | OffscreenCanvas | VideoFrame>
  try {
    const file = await readImage(ready, { signal })
    const picture = await loadImage(file, "the picture", decodeImage)
    if (format !== "svg") return await encode(drawOnPixels(picture, leaves, options), format)
    const href = toDataUri(await encode(drawRaster(picture, [], { minSide: 0 }), "png"))
    const { width, height } = picture
    return new TextEncoder().encode(drawSvg({ width, height, href }, leaves, options))
  } finally {
    if (ready instanceof ImageBitmap && ready !== image) ready.close()
  }
}

async function encode({ width, height, data }: RgbaImage, format: "png" | "jpeg" | "webp"): Promise<Uint8Array> {
  const canvas = new OffscreenCanvas(width, height)
  const context = canvas.getContext("2d")
  if (!context) throw new IsaacError("unsupported", `this browser has no canvas of ${width}×${height} pixels`)
  context.putImageData(new ImageData(data as Uint8ClampedArray<ArrayBuffer>, width, height), 0, 0)
  const type = `image/${format}`
  const blob = await canvas.convertToBlob({ type, quality: 0.9 })
  if (blob.type !== type)
    throw new IsaacError("unsupported", `this browser does not write ${format} files; png it does`)
  return new Uint8Array(await blob.arrayBuffer())
}
