/**
 * From token bytes to text, as tokens come: a byte-level vocabulary splits characters across tokens, so a character is
 * given out only once all of its bytes are there.
 */

/** Joins the bytes of tokens into text. The pieces joined are the decoded whole. */
export class TextStream {
  // ignoreBOM: a U+FEFF that the model wrote is text and stays.
  readonly #decoder = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true })

  /** The text that these bytes complete; "" while a character is still open. Bytes of no character become U+FFFD. */
  push(bytes: Uint8Array): string {
    return this.#decoder.decode(bytes, { stream: true })
  }

  /** The end: a character that was never completed becomes U+FFFD. */
  end(): string {
    return this.#decoder.decode()
  }
}
