/** The bytes in a data URI. */

import { IsaacError } from "../errors"

/**
 * The media type and the bytes of `data:[type][;base64],content` (RFC 2397).
 *
 * @throws IsaacError `bad_input` when the comma is missing, the base64 or the percent-encoding is invalid, or the
 *   content would be larger than `maxBytes`
 */
export function parseDataUri(uri: string, maxBytes: number): { type: string; bytes: Uint8Array } {
  const comma = uri.indexOf(",")
  if (!/^data:/i.test(uri) || comma < 0) {
    throw new IsaacError("bad_input", `${shorten(uri)} is not a data URI: it should read data:image/png;base64,…`)
  }
  const header = uri.slice(5, comma)
  const content = uri.slice(comma + 1)
  const base64 = /;\s*base64\s*$/i.test(header)
  const size = base64 ? Math.floor((content.length * 3) / 4) : content.length
  const tooLarge = (bytes: number) =>
    new IsaacError("bad_input", `The data URI holds about ${bytes} bytes; at most ${maxBytes} are read.`)
  // Percent-encoding only shrinks, to a third at most.
  if ((base64 ? size : size / 3) > maxBytes) throw tooLarge(size)
  const type = header.split(";")[0].trim() || "text/plain"
  let bytes: Uint8Array
  try {
    bytes = base64 ? base64Bytes(decodeURIComponent(content)) : percentBytes(content)
  } catch (cause) {
    throw new IsaacError("bad_input", `The content of the data URI ${shorten(uri)} is not valid.`, { cause })
  }
  // What is not encoded counts as its UTF-8 bytes, up to three for one unit.
  if (bytes.byteLength > maxBytes) throw tooLarge(bytes.byteLength)
  return { type, bytes }
}

function base64Bytes(text: string): Uint8Array {
  // The URL-safe alphabet is common in the wild; atob takes only the standard one.
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"))
  const out = new Uint8Array(binary.length)
  for (let i = 0; i < out.length; i++) out[i] = binary.charCodeAt(i)
  return out
}

/** Percent-encoded bytes; anything else stands for its UTF-8 bytes. */
function percentBytes(text: string): Uint8Array {
  const utf8 = new TextEncoder().encode(text)
  const out = new Uint8Array(utf8.length)
  let length = 0
  for (let i = 0; i < utf8.length; i++) {
    if (utf8[i] !== 0x25) {
      out[length++] = utf8[i]
      continue
    }
    const hex = String.fromCharCode(utf8[i + 1] ?? 0, utf8[i + 2] ?? 0)
    if (!/^[0-9a-f]{2}$/i.test(hex)) throw new SyntaxError(`invalid escape %${hex}`)
    out[length++] = Number.parseInt(hex, 16)
    i += 2
  }
  return out.subarray(0, length)
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}…` : text
}
