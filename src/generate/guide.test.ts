import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest"
import { promptOf, randomTinyModel, sessionPool, textEvent } from "../../test/tiny-sessions"
import type { IsaacModel } from "../model"
import { createReferenceBackend } from "../ops/reference"
import { checkGuided, type GuidedOption, tagLanguage } from "../perception/tag-grammar"
import { parse } from "../perception/tags"
import { drawCandidates } from "./candidates"
import { Continuation, type GeneratedToken } from "./continuation"
import { Generation, type GenerationSetup } from "./generation"
import { GuideRules, textTokens } from "./guide"
import { jsonLanguage } from "./json-grammar"
import { Grammar, type Language } from "./language"
import { scoreTokens } from "./score"
import { Session } from "./session"
import type { SessionPool } from "./session-pool"
import type { Vocabulary } from "./vocabulary"

const UTF8 = new TextEncoder()
const PIECES = ["<point", "_box", "<polygon", "<collection", " <point", ' mention="', "cat", "dog", '">', " ("]
const MORE = [" </", "</", "point", "polygon", "collection", "true", "false", '": ', '{"', '", "', ", "]
const TEXTS = [...PIECES, ...MORE]
const END = 499

/** All bytes, pieces of tags and documents, ids without a text, and an end token. */
const vocabulary: Vocabulary = {
  size: 500,
  tokenBytes: (id) => (id < 256 ? Uint8Array.of(id) : UTF8.encode(TEXTS[id - 256] ?? "")),
  isSpecial: (id) => id === END,
  encode: (text) => encode(text),
  encodeText: (text) => encode(text),
}

/** The longest token first. */
function encode(text: string): number[] {
  const ids: number[] = []
  let rest = text
  while (rest !== "") {
    const best = TEXTS.filter((piece) => rest.startsWith(piece)).sort((a, b) => b.length - a.length)[0]
    if (best !== undefined) {
      ids.push(256 + TEXTS.indexOf(best))
      rest = rest.slice(best.length)
    } else {
      const character = String.fromCodePoint(rest.codePointAt(0)!)
      ids.push(...UTF8.encode(character))
      rest = rest.slice(character.length)
    }
  }
  return ids
}

const trie = textTokens(vocabulary)
const rulesOf = (language: Language) => new GuideRules(vocabulary, trie, language)
const tags = (option: GuidedOption) => rulesOf(tagLanguage(checkGuided(option)!))
const idOf = (text: string) => (TEXTS.includes(text) ? 256 + TEXTS.indexOf(text) : text.charCodeAt(0))
const textsOf = (ids: Iterable<number>) => [...ids].map((id) => new TextDecoder().decode(vocabulary.tokenBytes(id)))

describe("a guide", () => {
  it("says what may come, and what must, as the tokenizer cuts it", () => {
    const guide = tags({ kinds: ["box"], classes: ["cat"], text: false }).start()
    expect(guide.mayEnd).toBe(true)
    expect(guide.forced(100)).toEqual([])
    expect(new Set(textsOf(guide.allowed(100).ids))).toEqual(new Set(["<", "<point", "<collection"]))
    guide.accept(idOf("<point"))
    expect(guide.mayEnd).toBe(false)
    // Behind the class there may be a t, so the quote is all that is sure; a longer token may begin with it.
    expect(textsOf(guide.forced(100))).toEqual(["_box", ' mention="', "cat"])
    for (const text of ["_box", ' mention="', "cat"]) guide.accept(idOf(text))
    expect(textsOf(guide.allowed(100).ids)).toEqual(['"', '">'])
    guide.accept(idOf('">'))
    expect(textsOf(guide.forced(100))).toEqual([" ("])
    for (const text of [" (", "9", ",", "5", "0", ")"]) guide.accept(idOf(text))
    expect(textsOf(guide.forced(100))).toEqual([" ("])
    guide.accept(idOf(" ("))
    expect(textsOf(guide.allowed(100).ids)).toEqual(["1", "2", "3", "4", "5", "6", "7", "8", "9"])
    for (const text of ["9", ","]) guide.accept(idOf(text))
    expect(textsOf(guide.allowed(100).ids)).toEqual(["1", "2", "3", "4", "5", "6", "7", "8", "9"])
    guide.accept(idOf("4"))
    expect(textsOf(guide.allowed(100).ids)).toHaveLength(10)
    expect(textsOf(guide.allowed(100).ids)).not.toContain(")")
    for (const text of ["0", "0", ")"]) guide.accept(idOf(text))
    expect(textsOf(guide.forced(100))).toEqual([" </", "point", "_box", ">"])
  })

  it("cuts what must come as it is cut behind the token before", () => {
    const apart = (text: string) => (text.startsWith(" (") ? [32, 40, ...encode(text.slice(2))] : encode(text))
    const context = { ...vocabulary, encodeText: apart }
    const guide = new GuideRules(context, trie, tagLanguage(checkGuided({ kinds: ["point"] })!)).start()
    for (const text of ["<point", ">"]) guide.accept(idOf(text))
    expect(textsOf(guide.forced(100))).toEqual([" ("])
    // A token that would not be there if what follows came with it tells nothing.
    const other = new GuideRules(context, trie, new Grammar().text('"> (1)')).start()
    other.accept(idOf('"'))
    expect(textsOf(other.forced(100))).toEqual([">", " (", "1", ")"])
    // What the tokenizer writes in another way is left to the model.
    const changing = { ...vocabulary, encodeText: (text: string) => encode(text.toUpperCase()) }
    const left = new GuideRules(changing, trie, new Grammar().text("true")).start()
    expect(left.forced(100)).toEqual([])
    expect(textsOf(left.allowed(100).ids)).toEqual(["t", "true"])
  })

  it("goes its own way when it is cloned", () => {
    const guide = tags({ text: false }).start()
    guide.accept(idOf("<point"))
    const other = guide.clone()
    guide.accept(idOf(">"))
    expect(guide.forced(100)).not.toEqual([])
    expect(other.forced(100)).toEqual([])
    other.accept(idOf("_box"))
    expect(() => guide.accept(idOf("_box"))).toThrow(/does not allow/)
  })

  it("finds what may come in a string of limited length as if it looked at every token", () => {
    // Pieces of up to 40 bytes, some with quotes.
    const pieces: Vocabulary = {
      ...{ size: 900, isSpecial: () => false },
      tokenBytes: (id) => UTF8.encode(id < 256 ? "" : `${"ab".repeat((id >> 2) % 20)}${["", '"', '",', "é"][id % 4]}`),
    }
    const large = textTokens(pieces)
    const text = jsonLanguage({ type: "array", items: { type: "string", maxLength: 60 } })
    const rules = new GuideRules(pieces, large, text)
    let place: Language | null = text
    for (const byte of UTF8.encode('["')) place = place?.next(byte) ?? null
    for (let written = 0; written <= 60; written++) {
      expect(rules.allowed(place!, 1000).ids, `${written} characters`).toEqual(large.walk(place!, () => true).ids)
      if (written < 60) place = place?.next(0x61) ?? null
    }
    expect(rules.allowed(place!, 1000).size).toBeLessThan(large.walk(text.next(0x5b)!.next(0x22)!, () => true).size)
  })

  it("leaves out what cannot be completed any more, and says so when nothing ever could", () => {
    const rules = tags({ kinds: ["point"], text: false })
    // <point > _( 0 , 0 ) _</ point >: ten tokens.
    expect(textsOf(rules.start().allowed(10).ids)).toContain("<point")
    expect(textsOf(rules.start().allowed(9).ids)).toEqual(["<"]) // of <think>
    expect(textsOf(rules.start().allowed(6).ids)).toEqual([])
    const guide = rules.start()
    for (const text of ["<point", ">", " ("]) guide.accept(idOf(text))
    expect(textsOf(guide.allowed(8).ids)).toHaveLength(10)
    guide.accept(idOf("7"))
    expect(textsOf(guide.allowed(7).ids)).toHaveLength(11)
    expect(textsOf(guide.allowed(6).ids)).toEqual([","])
    // Too late: the rest has no room however it is written.
    expect(textsOf(guide.allowed(5).ids)).toHaveLength(11)
    const poor: Vocabulary = { ...vocabulary, size: 300, tokenBytes: (id) => Uint8Array.of(97 + (id % 26)) }
    const other = new GuideRules(poor, textTokens(poor), new Grammar().text("0"))
    expect(() => other.start().allowed(9)).toThrow(expect.objectContaining({ code: "bad_input" }))
  })
})

describe("an answer under a guide", () => {
  const prompt = promptOf(textEvent(1, 2))
  /** Logits that like these texts, the first one most. */
  function liking(...texts: string[]): Float32Array {
    const logits = new Float32Array(vocabulary.size)
    for (const [i, text] of texts.entries()) logits[idOf(text)] = 10 - i
    return logits
  }
  const start = (guide: GuideRules, more: Partial<GenerationSetup> = {}) =>
    new Continuation(prompt, { maxNewTokens: 100, stopIds: [END], vocabulary, guide, ...more })

  it("counts what is forced as seen, and does not force what is banned", () => {
    const guide = rulesOf(
      jsonLanguage({
        enum: [
          [true, true],
          [true, false],
        ],
      }),
    )
    const answer = start(guide, { presencePenalty: 2 })
    expect(answer.next(liking("["), 99).text).toBe("[")
    expect(textsOf(answer.forced)).toEqual(["true", ","])
    answer.next(undefined, 98)
    answer.next(undefined, 97)
    // "true" was liked more, by less than its penalty.
    expect(answer.next(liking("x", "true", "false"), 96).text).toBe("false")
    const banned = start(guide, { logitBias: { [idOf("true")]: -100 } })
    banned.next(liking("["), 99)
    expect(banned.forced).toEqual([])
    expect(banned.next(liking("true", "t"), 98).text).toBe("t")
    const hopeless = start(guide, { logitBias: { [idOf("[")]: -100, [idOf("<")]: -100 } })
    expect(() => hopeless.next(liking("["), 99)).toThrow(/logitBias bans every token/)
  })

  it("ends by itself where nothing may follow and there is no end token", () => {
    for (const more of [{ stopIds: [] }, { logitBias: { [END]: -100 } }]) {
      const answer = start(rulesOf(jsonLanguage({ const: 7 })), more)
      expect(answer.next(liking("7"), 99)).toEqual({ id: idOf("7"), text: "7" })
      expect(answer.finishReason).toBe("stop")
      expect(answer.whole).toBe(true)
    }
    const answer = start(rulesOf(jsonLanguage({ const: 7 })))
    answer.next(liking("7"), 99)
    expect(answer.finishReason).toBeUndefined()
    expect(answer.forced).toEqual([END])
    answer.next(undefined, 98)
    expect(answer.finishReason).toBe("stop")
  })

  it("ends where the model wants what has no room, and says that it was cut", () => {
    const guide = tags({ kinds: ["point"] })
    const cut = start(guide, { maxNewTokens: 10 })
    cut.next(liking("1"), 99)
    expect(cut.next(liking("<point"), 98)).toEqual({ id: END, text: "" })
    expect(cut).toMatchObject({ finishReason: "length", whole: true, tokens: 2 })
    const roomy = start(guide, { maxNewTokens: 11 })
    roomy.next(liking("1"), 99)
    expect(roomy.next(liking("<point"), 98).text).toBe("<point")
    const free = start(guide, { maxNewTokens: 10, stopIds: [] })
    free.next(liking("1"), 99)
    expect(free.next(liking("<point", "x"), 98).text).toBe("x")
    const ended = start(guide, { maxNewTokens: 10 })
    ended.next(liking("1"), 99)
    const logits = liking("x")
    logits[END] = 11
    expect(ended.next(logits, 98).id).toBe(END)
    expect(ended.finishReason).toBe("stop")
  })

  it("takes an end token that is a letter for an end only where it may end", () => {
    const guide = rulesOf(jsonLanguage({ type: "array", items: { type: "integer" } }))
    const answer = start(guide, { stopIds: [idOf("1")] })
    answer.next(liking("["), 99)
    expect(answer.next(liking("1", "2"), 98).text).toBe("2")
    answer.next(liking("]"), 97)
    expect(answer.forced).toEqual([idOf("1")])
  })
})

describe("generation under a guide", () => {
  const backend = createReferenceBackend()
  let model: IsaacModel
  let pool: SessionPool
  let session: Session
  beforeAll(async () => {
    model = await randomTinyModel(backend)
  })
  afterAll(() => backend.dispose())
  beforeEach(() => {
    pool = sessionPool(model)
    session = new Session(pool)
  })
  afterEach(() => pool.cache.free())

  const prompt = promptOf(textEvent(3, 1, 4, 1, 5, 9, 2, 6))
  const guide = tags({ kinds: ["box", "polygon"], classes: ["cat", "dog"], text: false })
  const setup = { maxNewTokens: 60, stopIds: [END], vocabulary, guide, temperature: 1, seed: 8 }

  async function run(more: Partial<GenerationSetup> = {}, stream = prompt, within = session) {
    const steps = vi.spyOn(within, "steps")
    const generation = new Generation(within, stream, { ...setup, ...more })
    const tokens: GeneratedToken[] = []
    for await (const token of generation) tokens.push(token)
    const passes = steps.mock.calls.length
    steps.mockRestore()
    const { report } = generation
    return { tokens, ids: tokens.map(({ id }) => id), text: tokens.map(({ text }) => text).join(""), report, passes }
  }

  it("computes what is forced in the pass of the token before", async () => {
    const { ids, text, report, passes } = await run()
    const { leaves, issues } = parse(text)
    expect(issues).toEqual([])
    expect(leaves.length).toBeGreaterThan(0)
    expect(report.whole).toBe(true)
    expect(report.forcedTokens).toBeGreaterThan(ids.length / 3)
    expect(report.completionTokens).toBe(ids.length)
    // The last token is not computed any more.
    expect(passes).toBeLessThanOrEqual(ids.length - report.forcedTokens)
    expect(passes).toBeGreaterThanOrEqual(ids.length - report.forcedTokens - 1)
  })

  it("writes the same whether somebody wants to know the probabilities or not, and they are the model's", async () => {
    const plain = await run()
    const told = await run({ logprobs: 2 })
    expect(told.ids).toEqual(plain.ids)
    expect(told.text).toBe(plain.text)
    expect(told.report.forcedTokens).toBe(plain.report.forcedTokens)
    // One more where what was forced last was not computed any more.
    expect(told.passes - plain.passes).toBeLessThanOrEqual(1)
    const scored = await scoreTokens(new Session(pool), prompt, Int32Array.from(plain.ids), {
      size: 500,
      maxContext: 400,
    })
    for (const [i, { logprob, top }] of told.tokens.entries()) {
      expect(logprob).toBeCloseTo(scored[i], 4)
      expect(top).toHaveLength(2)
    }
    expect(Object.keys(plain.tokens[1])).toEqual(["id", "text"])
  })

  it.each([false, true])("leaves a session that goes on as a fresh one (logprobs %s)", async (logprobs) => {
    const { ids } = await run({ logprobs })
    // Not the end, nor what was forced just before it.
    const held = session.length
    expect(held).toBeGreaterThan(8 + ids.length - 8)
    expect(held).toBeLessThan(8 + ids.length)
    const next = promptOf(textEvent(3, 1, 4, 1, 5, 9, 2, 6, ...ids, 11, 12))
    const { logits, reused } = await session.prefill(next)
    expect(reused).toBe(held)
    const fresh = (await new Session(pool).prefill(next)).logits
    for (const [i, logit] of logits.entries()) expect(logit).toBeCloseTo(fresh[i], 4)
  })

  it.each([false, true])("ends at a stop text in the middle of what is forced (logprobs %s)", async (logprobs) => {
    const whole = await run()
    const { ids, text, report } = await run({ logprobs, stop: "mention" })
    expect(whole.ids.slice(0, ids.length)).toEqual(ids)
    expect(whole.text.startsWith(text)).toBe(true)
    expect(report).toMatchObject({ finishReason: "stop", stopped: "mention", whole: false })
    expect(session.length).toBeLessThanOrEqual(8 + ids.length - 1)
  })

  it.each([false, true])("keeps to the rules however soon it is cut (logprobs %s)", async (logprobs) => {
    for (let most = 1; most <= 40; most += 5) {
      const { text, ids, report } = await run({ maxNewTokens: most, logprobs })
      expect(ids.length).toBeLessThanOrEqual(most)
      expect(report.whole, text).toBe(true)
      expect(parse(text).issues).toEqual([])
      if (ids.at(-1) !== END) expect(report.finishReason).toBe("length")
    }
  })

  it.each([false, true])("keeps to the rules in a context that gets full (logprobs %s)", async (logprobs) => {
    for (const room of [0, 1, 13, 22]) {
      const long = promptOf(textEvent(...Array.from({ length: 400 - room }, (_, i) => i % 300)))
      const { text, ids, report } = await run({ logprobs, maxNewTokens: 1000, logitBias: { [END]: -20 } }, long)
      expect(ids.length).toBeLessThanOrEqual(room + 1)
      expect(report.whole, text).toBe(true)
      expect(parse(text).issues).toEqual([])
    }
  })

  it("can be aborted at any token", async () => {
    const whole = await run()
    for (let after = 1; after < whole.ids.length; after += 4) {
      const controller = new AbortController()
      const generation = new Generation(session, prompt, { ...setup, abort: controller.signal })
      const ids: number[] = []
      for await (const { id } of generation) {
        ids.push(id)
        if (ids.length === after) controller.abort()
      }
      expect(ids).toEqual(whole.ids.slice(0, ids.length))
      if (generation.report.finishReason !== "abort") continue
      expect(generation.report).toMatchObject({ whole: false, completionTokens: ids.length })
      expect(session.length).toBeLessThanOrEqual(8 + ids.length)
    }
    expect((await run()).ids).toEqual(whole.ids)
  })

  it("draws candidates that are what generation with their seeds gives", async () => {
    const runs = await drawCandidates(session, prompt, { ...setup, n: 5 })
    let forced = 0
    for (const { tokens, report, sample } of runs) {
      const alone = await run({ seed: report.seed }, prompt, new Session(pool))
      expect(alone.ids, `sample ${sample}`).toEqual(tokens.map(({ id }) => id))
      expect(report).toMatchObject({ whole: true, forcedTokens: alone.report.forcedTokens })
      expect(parse(tokens.map(({ text }) => text).join("")).issues).toEqual([])
      forced += report.forcedTokens
    }
    expect(forced).toBeGreaterThan(10)
  })
})
