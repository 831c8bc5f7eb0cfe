/** Which kind of file bytes are, told by how they begin. */

/** The formats that are decoded. */
export type ImageFormat = "PNG" | "JPEG" | "WebP" | "GIF" | "AVIF" | "TIFF"

export const FORMATS_READ = "PNG, JPEG, WebP, GIF, AVIF and TIFF are read"

/** Enough bytes to tell any of them. */
export const FORMAT_BYTES = 64

/** Beginnings of files, a byte as a Latin-1 character each; "?" stands for any byte. */
const IMAGES: readonly (readonly [start: string, format: ImageFormat])[] = [
  ["\x89PNG\r\n\x1a\n", "PNG"],
  ["\xff\xd8\xff", "JPEG"],
  ["RIFF????WEBP", "WebP"],
  ["GIF87a", "GIF"],
  ["GIF89a", "GIF"],
  ["II*\0", "TIFF"],
  ["MM\0*", "TIFF"],
  ["II+\0", "TIFF"],
  ["MM\0+", "TIFF"],
]

/** Files that people take for pictures, or give instead of one. */
const OTHERS: readonly (readonly [start: string, name: string])[] = [
  ["%PDF", "a PDF document"],
  ["BM", "a BMP file"],
  ["\0\0\x01\0", "an icon (ICO)"],
  ["\0\0\x02\0", "a cursor (CUR)"],
  ["\xff\x0a", "a JPEG XL file"],
  ["\0\0\0\x0cJXL ", "a JPEG XL file"],
  ["\0\0\0\x0cjP  ", "a JPEG 2000 file"],
  ["\xff\x4f\xff\x51", "a JPEG 2000 file"],
  ["8BPS", "a Photoshop document"],
  ["%!PS", "a PostScript file"],
  ["qoif", "a QOI file"],
  ["\x76\x2f\x31\x01", "an OpenEXR file"],
  ["#?RADIANCE", "a Radiance HDR file"],
  ["PK\x03\x04", "a ZIP archive (perhaps an office document)"],
  ["\x1f\x8b", "a gzip file"],
  ["RIFF????AVI ", "a video"],
  ["\x1aE\xdf\xa3", "a video"],
]

/** Brands of an ISO media file ("ftyp"). */
const BRANDS: readonly (readonly [brand: RegExp, name: string])[] = [
  [/^(heic|heix|heim|heis|hevc|hevx|hevm|hevs)$/, "HEIC (photos as iPhones keep them)"],
  [/^(mif1|msf1)$/, "a HEIF file"],
  [/^crx /, "a camera's raw file"],
]

/**
 * The image format of a file, or what else it seems to be; both undefined for what begins like nothing known. A file
 * that begins like an image may still be broken.
 */
export function formatOf(bytes: Uint8Array): { readonly image?: ImageFormat; readonly other?: string } {
  const image = IMAGES.find(([start]) => beginsWith(bytes, start))?.[1]
  if (image !== undefined) return { image }
  if (beginsWith(bytes, "????ftyp")) return isoFormat(bytes)
  const other = OTHERS.find(([start]) => beginsWith(bytes, start))?.[1]
  return { other: other ?? textFormat(bytes) }
}

/**
 * Sizes in pixels that a PNG or AVIF file declares, read without a decoder: those for other formats refuse absurd sizes
 * quietly, these do not.
 */
export function declaredSizes(bytes: Uint8Array, format: ImageFormat): (readonly [width: number, height: number])[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const sizeAt = (at: number) => [view.getUint32(at), view.getUint32(at + 4)] as const
  if (format === "PNG") return bytes.length < 24 ? [] : [sizeAt(16)]
  if (format !== "AVIF") return []
  const sizes: (readonly [number, number])[] = []
  // Boxes "ispe" of 20 bytes: length, name, version, width, height.
  for (let at = bytes.indexOf(0x69); at >= 4 && at + 16 <= bytes.length; at = bytes.indexOf(0x69, at + 1)) {
    if (view.getUint32(at) === 0x69737065 && view.getUint32(at - 4) === 20) sizes.push(sizeAt(at + 8))
  }
  return sizes
}

/** The major brand, or one of those that the file is also compatible with: there AVIF may be behind "mif1". */
function isoFormat(bytes: Uint8Array): ReturnType<typeof formatOf> {
  const size = Math.min(bytes.length, (bytes[2] << 8) | bytes[3], FORMAT_BYTES)
  const brands = [8, ...Array.from({ length: Math.max(0, (size - 16) >> 2) }, (_, i) => 16 + 4 * i)].map((at) =>
    latin1(bytes.subarray(at, at + 4)),
  )
  if (brands.some((brand) => brand === "avif" || brand === "avis")) return { image: "AVIF" }
  for (const [pattern, name] of BRANDS) {
    if (brands.some((brand) => pattern.test(brand))) return { other: name }
  }
  return { other: "a video" }
}

function textFormat(bytes: Uint8Array): string | undefined {
  const text = latin1(bytes.subarray(0, 1024))
    .replace(/^\xef\xbb\xbf/, "")
    .trimStart()
  if (/^<svg[\s>]/i.test(text) || (/^<(\?xml|!doctype svg|!--)/i.test(text) && /<svg[\s>]/i.test(text))) {
    return "an SVG drawing"
  }
  if (/^<(!doctype html|html|head|body)[\s>]/i.test(text)) return "a web page"
  return undefined
}

function beginsWith(bytes: Uint8Array, start: string): boolean {
  if (bytes.length < start.length) return false
  for (let i = 0; i < start.length; i++) {
    if (start[i] !== "?" && bytes[i] !== start.charCodeAt(i)) return false
  }
  return true
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes)
}
