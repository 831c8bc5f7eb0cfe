/** The pixels of a bitmap in a browser or a web worker. */

import { IsaacError } from "../errors"
import { checkPixelCount, type RgbImage, toRgbImage } from "./rgb-image"

/**
 * The colours of a bitmap, whatever its alpha.
 *
 * A canvas keeps colours multiplied by alpha: what is transparent comes back black. WebGL gives them as they are, so it
 * reads pictures that have transparent pixels, where there is WebGL and the picture is not larger than it takes.
 *
 * @throws IsaacError `bad_image` for more than 60 megapixels, or a browser without canvas
 */
export function pixelsOf(bitmap: ImageBitmap, name: string): RgbImage {
  const { width, height } = bitmap
  checkPixelCount(width, height, name)
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true })
  if (!context) {
    throw new IsaacError("bad_image", `This browser has no canvas for ${name}, ${width}×${height} pixels.`)
  }
  context.drawImage(bitmap, 0, 0)
  const { data } = context.getImageData(0, 0, width, height) // [height, width, 4]
  return toRgbImage({ width, height, data: (isOpaque(data) ? undefined : readByWebGl(bitmap)) ?? data }, name)
}

function isOpaque(rgba: Uint8ClampedArray): boolean {
  for (let i = 3; i < rgba.length; i += 4) if (rgba[i] !== 255) return false
  return true
}

/** [height, width, 4], not multiplied by alpha; undefined where that is not to be had. */
function readByWebGl(bitmap: ImageBitmap): Uint8Array | undefined {
  const { width, height } = bitmap
  const gl = new OffscreenCanvas(1, 1).getContext("webgl2")
  if (!gl) return undefined
  try {
    if (Math.max(width, height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return undefined
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false)
    gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE)
    const texture = gl.createTexture()
    gl.bindTexture(gl.TEXTURE_2D, texture)
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, bitmap)
    gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer())
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0)
    const rgba = new Uint8Array(width * height * 4)
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, rgba)
    return gl.getError() === gl.NO_ERROR ? rgba : undefined
  } finally {
    gl.getExtension("WEBGL_lose_context")?.loseContext()
  }
}
