/**
 * The alphabet of byte-level BPE: every byte is written as one printable character, so that vocabularies are plain
 * text. Printable Latin-1 bytes stand for themselves, the other 68 are U+0100, U+0101, … in order (space is Ġ).
 */

const BYTE_OF_CHARACTER: ReadonlyMap<string, number> = new Map(
  (() => {
    const printable = (byte: number) =>
      (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff)
    let next = 0x100
    return Array.from({ length: 256 }, (_, byte): [string, number] => [
      String.fromCharCode(printable(byte) ? byte : next++),
      byte,
    ])
  })(),
)

/** All 256 characters, in the order of their bytes. */
export const BYTE_CHARACTERS: readonly string[] = [...BYTE_OF_CHARACTER.keys()]

/** The bytes a vocabulary entry stands for; undefined when it has a character outside the alphabet. */
export function entryBytes(entry: string): Uint8Array | undefined {
  const bytes = new Uint8Array(entry.length)
  for (let i = 0; i < entry.length; i++) {
    const byte = BYTE_OF_CHARACTER.get(entry[i])
    if (byte === undefined) return undefined
    bytes[i] = byte
  }
  return bytes
}
