/** A conversation as a person holds it: what was shown, what was said, and the last answer to draw. */

import { existsSync } from "node:fs"
import type { Answer, AnswerStream, AskOptions, Isaac, IsaacSession, Message } from "../index"
import { IsaacError, type RgbImage } from "../internal"
import { drawAnswer } from "./draw"
import { readPictures } from "./pictures"

export interface ShownPicture {
  readonly name: string
  /** Undefined for one that came with a saved session. */
  readonly picture?: RgbImage
}

export class Talk {
  readonly #isaac: Isaac
  #session: IsaacSession
  /** Those that the model has seen. */
  #seen: readonly ShownPicture[] = []
  /** Those that go with the next question. */
  #next: readonly ShownPicture[]
  #last: { readonly answer: Answer; readonly pictures: readonly ShownPicture[] } | undefined

  constructor(isaac: Isaac, pictures: readonly ShownPicture[]) {
    this.#isaac = isaac
    this.#session = isaac.session()
    this.#next = pictures
  }

  get pictures(): readonly ShownPicture[] {
    return [...this.#seen, ...this.#next]
  }

  /** Shown, but not asked about yet. */
  get waiting(): number {
    return this.#next.length
  }

  messages(): Promise<readonly Message[]> {
    return this.#session.messages()
  }

  async addPicture(name: string, options: { readonly signal: AbortSignal; readonly allowPrivateUrls?: true }) {
    this.#next = [...this.#next, await readPicture(name, options)]
  }

  /** Ask. An answer that is stopped or fails leaves everything as it was. */
  ask(question: string, options: AskOptions): { readonly events: AnswerStream; end(): Promise<Answer> } {
    const asked = this.#next
    const events = this.#session.ask(
      asked.map(({ picture }) => picture!),
      question,
      options,
    )
    return {
      events,
      end: async () => {
        const answer = await events
        if (answer.finishReason !== "abort") {
          this.#seen = [...this.#seen, ...asked]
          this.#next = this.#next.slice(asked.length)
        }
        this.#last = { answer, pictures: [...this.#seen, ...this.#next] }
        return answer
      },
    }
  }

  /** Throws bad_input when there is nothing to draw, io. */
  async draw(file: string): Promise<void> {
    if (this.#last === undefined)
      throw new IsaacError("bad_input", "there is no answer to draw yet; ask something first")
    const { answer, pictures } = this.#last
    if (pictures.length === 0) throw new IsaacError("bad_input", "there is no picture to draw on; show one with /image")
    const number = answer.pixels[0]?.image ?? pictures.length - 1
    const { name, picture } = pictures[number]
    if (picture === undefined) {
      throw new IsaacError(
        "bad_input",
        `${name} came with the saved session and cannot be drawn on; show it with /image`,
      )
    }
    const images: RgbImage[] = []
    images[answer.pixels.length > 0 ? number : 0] = picture
    await drawAnswer(file, answer, images)
  }

  /** Of the pictures, those that are known only as a saved session has them. They go with it. */
  get loaded(): number {
    return this.pictures.filter(({ picture }) => picture === undefined).length
  }

  /** Forget what was said, and what was loaded; the other pictures stay, or are those given. */
  async reset(pictures: readonly ShownPicture[] = this.pictures.filter(({ picture }) => picture)): Promise<void> {
    await this.#session.dispose()
    this.#session = this.#isaac.session()
    this.#seen = []
    this.#next = pictures
    this.#last = undefined
  }

  save(file: string): Promise<void> {
    return this.#session.save(file)
  }

  /** Go on with a saved session. Throws what `restoreSession` throws; then everything stays as it was. */
  async load(file: string): Promise<void> {
    const session = await this.#isaac.restoreSession(file)
    await this.#session.dispose()
    this.#session = session
    const images = (await session.messages()).flatMap(({ content }) =>
      typeof content === "string" ? [] : content.filter(({ type }) => type === "image"),
    )
    this.#seen = images.map((_, i) => ({ name: `picture ${i + 1}` }))
    this.#next = []
    this.#last = undefined
  }

  dispose(): Promise<void> {
    return this.#session.dispose()
  }
}

/** Throws not_found, io, bad_input, bad_image. */
export async function readPicture(
  typed: string,
  { signal, allowPrivateUrls }: { readonly signal: AbortSignal; readonly allowPrivateUrls?: true },
): Promise<ShownPicture> {
  const name = existsSync(typed) ? typed : unquoted(typed)
  if (name === "-") throw new IsaacError("bad_input", "standard input is where questions come from; name a file")
  const [picture] = await readPictures([name], signal, { allowPrivateUrls })
  return { name: name.startsWith("data:") ? "a data URI" : name, picture }
}

/** A name as terminals write it when a file is dropped onto them. */
function unquoted(typed: string): string {
  const [, quoted] = /^'(.*)'$|^"(.*)"$/s.exec(typed)?.filter((part) => part !== undefined) ?? []
  return quoted ?? typed.replace(/\\(.)/g, "$1")
}
