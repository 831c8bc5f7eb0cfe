import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import { openFolder } from "../weights/files-node"
import { BoundedTemplate, limitsFor, TemplateLimit } from "./bounded-template"
import { ChatTemplate } from "./chat-template"

const LIMITS = { steps: 20_000, longest: 10_000, milliseconds: 20_000 }
const render = (source: string, limits = LIMITS) => new BoundedTemplate(source).render({ words: "a b" }, limits)
const say = [{ role: "user", content: "hi" }]

describe("a template from strangers", () => {
  it.each([
    [
      "loops in loops",
      "{% for a in range(99) %}{% for b in range(99) %}{% for c in range(99) %}{% endfor %}{% endfor %}{% endfor %}",
    ],
    ["a very long range", "{% for a in range(1000000000) %}{% endfor %}"],
    ["a range that goes down", "{% for a in range(0, -1000000000, -1) %}{% endfor %}"],
    [
      "a list that doubles",
      "{% set n = namespace(x=[1]) %}{% for a in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
    ],
    [
      "lists of long texts",
      "{% set n = namespace(x=[]) %}{% for a in range(9999) %}{% set n.x = n.x + [words|upper ~ a] %}{% endfor %}",
    ],
    ["a macro that calls itself", "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}"],
  ])("%s: it is stopped", (_, source) => {
    // Recursion ends by its depth or by its steps, whichever comes first.
    expect(() => render(source)).toThrow(/has not ended after 20000 steps|call stack|not a function/)
  })

  it("with a text that doubles is stopped", () => {
    const source = "{% set n = namespace(x='ab') %}{% for a in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}"
    expect(() => render(source)).toThrow(/a text of more than 10000 characters/)
    expect(() =>
      render(
        "{% set n = namespace(x='a') %}{% for a in range(9) %}{% set n.x = n.x|replace('a', 'aaaa') %}{% endfor %}",
      ),
    ).toThrow(TemplateLimit)
  })

  it("is stopped by the clock where steps are slow", () => {
    const source = "{% for a in range(1000000) %}{% endfor %}{% for a in range(99999) %}x{% endfor %}"
    expect(() => render(source, { steps: 1e9, longest: 1e6, milliseconds: -1 })).toThrow(/after -0\.001 seconds/)
  })

  it("has what templates use", () => {
    expect(render("{{ range(3)|list }} {{ range(5, 1, -2)|list }} {{ none is none }} {{ True }} {{ false }}")).toBe(
      "[0, 1, 2] [5, 3] true true false",
    )
    expect(render("{{ strftime_now('%Y') }}")).toMatch(/^\d{4}$/)
    expect(() => render("{{ raise_exception('no') }}")).toThrow("no")
    expect(() => render("{{ range(1.5) }}")).toThrow(/whole numbers/)
    expect(() => render("{{ range(1, 2, 0) }}")).toThrow(/not 0/)
  })

  it("has limits that grow with the conversation", () => {
    const small = limitsFor(1, 100)
    const large = limitsFor(1000, 1e6)
    expect(large.steps).toBeGreaterThan(small.steps)
    expect(large.longest).toBeGreaterThan(4e6)
  })

  it("is told of as the checkpoint's fault, without control characters", () => {
    const endless = new ChatTemplate("{% for a in range(10000000000) %}{% endfor %}", "the template")
    expect(() => endless.render(say)).toThrow(
      expect.objectContaining({
        code: "bad_checkpoint",
        message: expect.stringMatching(/^the template was stopped: it has not ended/),
      }),
    )
    const rude = new ChatTemplate("{{ raise_exception('\u001b[2J' ~ messages[0].content) }}")
    expect(() => rude.render([{ role: "user", content: "x".repeat(1e6) }])).toThrow(
      expect.objectContaining({ code: "bad_input", message: expect.stringMatching(/^[^\p{Cc}]{50,500}$/u) }),
    )
    expect(() => new ChatTemplate(`{{ ${"(".repeat(50_000)} }}`)).toThrow(
      expect.objectContaining({ code: "bad_checkpoint" }),
    )
  })

  it("reaches nothing of the program", () => {
    for (const path of ["constructor", "__proto__", "constructor.constructor('return process')()"]) {
      for (const value of ["words", "messages", "range", "[]", "{}", "''"]) {
        let text = ""
        try {
          text = render(`{{ ${value}.${path} }}`)
        } catch (error) {
          expect(String(error)).not.toMatch(/TypeError/)
        }
        expect(text).toMatch(/^(?:undefined)?$/)
      }
    }
    expect(render("{{ process }}{{ globalThis }}{{ require }}")).toMatch(/^(?:undefined)*$/)
  })

  it("renders hundreds of turns well within the limits", async () => {
    const folder = fileURLToPath(new URL("../../models/isaac-tiny", import.meta.url))
    const template = (await ChatTemplate.load(await openFolder(folder)))!
    const turns = Array.from({ length: 400 }, (_, i) => ({
      role: i % 2 ? "assistant" : "user",
      content: "hello there",
    }))
    expect(template.render(turns)).toContain("<|im_start|>assistant")
  })
})
