/** The part of a tokenizer that generation needs. */

export interface Vocabulary {
  /** Ids 0 … size-1 exist. */
  readonly size: number
  tokenBytes(id: number): Uint8Array
  /** Special tokens steer the model and are no text. */
  isSpecial(id: number): boolean
  /** Tokens that a guided answer is made of; without it all that are not special. */
  isText?(id: number): boolean
  /** The ids of a text, special tokens in it included. Without it tokens are known by their ids only. */
  encode?(text: string): ArrayLike<number>
  /** The same with what looks like a special token being ordinary characters. */
  encodeText?(text: string): ArrayLike<number>
}
