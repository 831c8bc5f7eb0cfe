import { beforeAll, describe, expect, it } from "vitest"
import { z } from "zod"
import { GuidedWriter } from "../../test/guided-writer"
import { ReasoningStream } from "../perception/reasoning"
import { jsonLanguage } from "./json-grammar"
import type { Language } from "./language"

const UTF8 = new TextEncoder()
function behind(language: Language, text: string): Language | null {
  let state: Language | null = language
  for (const byte of UTF8.encode(text)) state = state?.next(byte) ?? null
  return state
}
const takes = (schema: unknown, text: string) => behind(jsonLanguage(schema), text)?.ends ?? false

const tree = {
  $ref: "#/$defs/node",
  $defs: {
    node: {
      type: "object",
      properties: { name: { type: "string" }, children: { type: "array", items: { $ref: "#/$defs/node" } } },
      required: ["name"],
      additionalProperties: false,
    },
  },
}

/** What follows the thoughts. */
function documentOf(text: string): string {
  const stream = new ReasoningStream({ verbatim: true })
  return stream.push(text).text + stream.end().text
}

const schemas: [name: string, schema: Record<string, unknown> | boolean][] = [
  [
    "a receipt",
    {
      $schema: "https://json-schema.org/draft/2020-12/schema",
      title: "Receipt",
      type: "object",
      properties: {
        shop: { type: "string", minLength: 1, maxLength: 12, description: "who sold it" },
        total: { type: "number", minimum: 0.05, maximum: 9.75 },
        currency: { enum: ["EUR", "USD", null, 7, 'a "b"'] },
        paid: { type: "boolean" },
        items: {
          type: "array",
          minItems: 1,
          maxItems: 3,
          items: {
            type: "object",
            properties: { label: { type: "string" }, count: { type: "integer", minimum: 1, maximum: 12 } },
            required: ["label", "count"],
            additionalProperties: false,
          },
        },
        note: { anyOf: [{ type: "string", format: "date" }, { type: "null" }] },
      },
      required: ["shop", "items", "total"],
      additionalProperties: false,
    },
  ],
  ["a tree", tree],
  ["any value", true],
  ["an empty schema", {}],
  ["strings of two to four characters", { type: "string", minLength: 2, maxLength: 4 }],
  ["several types", { type: ["integer", "null", "boolean"], minimum: -3, maximum: 20 }],
  ["a constant", { const: 'just "this"' }],
  ["pairs", { type: "array", prefixItems: [{ type: "string" }, { type: "integer" }], items: false, minItems: 2 }],
  ["a map", { type: "object", additionalProperties: { type: "number", exclusiveMinimum: -1, exclusiveMaximum: 0.5 } }],
  [
    "one of two",
    {
      oneOf: [
        { type: "object", properties: { kind: { const: "a" }, x: { type: "integer" } }, required: ["kind", "x"] },
        { type: "object", properties: { kind: { const: "b" } }, required: ["kind"] },
      ],
    },
  ],
  ["all optional", { type: "object", properties: { a: { type: "null" }, b: { type: "null" }, c: { type: "null" } } }],
  ["a reference", { allOf: [{ $ref: "#/$defs/x" }], $defs: { x: { type: "array", items: { type: "integer" } } } }],
]

describe("documents that a guide lets a model write", () => {
  let writer: GuidedWriter
  beforeAll(async () => {
    writer = await GuidedWriter.open()
  })

  it.each(schemas)("are valid: %s", (_, schema) => {
    const rules = writer.rules(jsonLanguage(schema))
    const check = z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0])
    const shortest = writer.trie.fewest(rules.language.exit())
    const seen = new Set<string>()
    for (let seed = 0; seed < 24; seed++) {
      const maxNewTokens = seed % 2 === 0 ? shortest + (seed >> 1) * 3 : 90
      const { text, whole, ids } = writer.write(rules, seed, {
        maxNewTokens,
        like: 0,
        temperature: seed % 3 === 0 ? 3 : 1,
      })
      const document = documentOf(text)
      expect(whole, text).toBe(true)
      expect(ids.length).toBeLessThanOrEqual(maxNewTokens)
      expect(check.safeParse(JSON.parse(document)).success, document).toBe(true)
      expect(document).toBe(document.trim())
      seen.add(document)
    }
    if (!(typeof schema === "object" && "const" in schema)) expect(seen.size).toBeGreaterThan(2)
  })

  it("are left as they are when not even the shortest has room", () => {
    const rules = writer.rules(jsonLanguage(schemas[0][1]))
    const { text, whole, finishReason } = writer.write(rules, 1, { maxNewTokens: 5, like: 0 })
    expect(whole).toBe(false)
    expect(finishReason).toBe("length")
    expect(() => JSON.parse(text)).toThrow()
  })

  it("end when they are complete, with what must come forced", () => {
    const rules = writer.rules(jsonLanguage({ const: "just this" }))
    const { ids, forced, finishReason } = writer.write(rules, 3, { like: 0 })
    expect(finishReason).toBe("stop")
    expect(ids.at(-1)).toBe(writer.end)
    expect(forced).toBeGreaterThanOrEqual(ids.length - 9)
  })
})

describe("the language of a schema", () => {
  it.each<[unknown, string, boolean]>([
    [{ type: "string" }, '"a\\"\\u00e9\\n é 👍"', true],
    [{ type: "string" }, '"\\ud83d"', false],
    [{ type: "string" }, '"tab\t"', false],
    [{ type: "string", maxLength: 2 }, '"👍é"', true],
    [{ type: "string", maxLength: 2 }, '"abc"', false],
    [{ type: "integer" }, "-12", true],
    [{ type: "integer" }, "-0", false],
    [{ type: "integer" }, "007", false],
    [{ type: "integer", minimum: 3, exclusiveMaximum: 5 }, "4", true],
    [{ type: "integer", minimum: 3, exclusiveMaximum: 5 }, "5", false],
    [{ type: "integer", minimum: -120, maximum: -7 }, "-119", true],
    [{ type: "integer", minimum: -120, maximum: -7 }, "-121", false],
    [{ type: "integer", minimum: -120, maximum: -7 }, "-6", false],
    [{ type: "integer", minimum: -(2 ** 53) + 1, maximum: 2 ** 53 - 1 }, "9007199254740991", true],
    [{ type: "integer", minimum: -(2 ** 53) + 1, maximum: 2 ** 53 - 1 }, "9007199254740992", false],
    [{ type: "number", minimum: 0.3, maximum: 0.7 }, "0.3", true],
    [{ type: "number", minimum: 0.3, maximum: 0.7 }, "0.7", true],
    [{ type: "number", minimum: 0.3, maximum: 0.7 }, "0.2999", false],
    [{ type: "number", minimum: 0.3, maximum: 0.7 }, "0.71", false],
    [{ type: "number", exclusiveMinimum: 0 }, "0", false],
    [{ type: "number", exclusiveMinimum: 0 }, "0.0", false],
    [{ type: "number", exclusiveMinimum: 0 }, "0.01", true],
    [{ type: "number", minimum: -2.5, maximum: -1.25 }, "-1.3", true],
    [{ type: "number", minimum: -2.5, maximum: -1.25 }, "-1.2", false],
    [{ type: "number" }, "1e5", false],
    [{ enum: ["cat", "catfish"] }, '"catfish"', true],
    [{ enum: ["cat", 1], type: "string" }, "1", false],
    [{ type: "array", items: { type: "null" }, minItems: 1 }, "[]", false],
    [{ type: "array", items: { type: "null" }, maxItems: 0 }, "[]", true],
    [{ type: "array", items: { type: "null" } }, "[null, null]", true],
    [{ type: "array", items: { type: "null" } }, "[null,null]", false],
    [{ type: "object", properties: { a: {}, b: {} }, required: ["b"] }, '{"b": 1}', true],
    [{ type: "object", properties: { a: {}, b: {} }, required: ["b"] }, '{"a": 1}', false],
    [{ type: "object", properties: { a: {}, b: {} } }, '{"a": 1, "b": {"x": []}}', true],
    [{ type: "object", properties: { a: {} } }, '{"c": 1}', false],
    [{ type: "object", required: ["z"] }, '{"z": true}', true],
    [{ type: "object", properties: {}, additionalProperties: false }, "{}", true],
    [{ type: "integer", nullable: true }, "null", true],
    [{ properties: { a: { type: "null" } } }, '{"a": null}', true],
    [tree, '{"name": "a", "children": [{"name": "b", "children": []}]}', true],
    [true, "<think>\nso\n</think>\n\nfalse", true],
    [true, "<think>\nso\n", false],
  ])("of %j: %s is %s", (schema, text, expected) => {
    expect(takes(schema, text)).toBe(expected)
  })

  const loop = {
    $ref: "#/$defs/a",
    $defs: { a: { anyOf: [{ $ref: "#/$defs/b" }, { type: "null" }] }, b: { $ref: "#/$defs/a" } },
  }
  const endless = {
    $ref: "#/$defs/a",
    $defs: { a: { type: "object", properties: { a: { $ref: "#/$defs/a" } }, required: ["a"] } },
  }
  const cyclic: Record<string, unknown> = { type: "array" }
  cyclic.items = cyclic
  let deep: Record<string, unknown> = { type: "null" }
  for (let i = 0; i < 200; i++) deep = { type: "array", items: deep }

  it.each<[unknown, RegExp]>([
    ["string", /"string"/],
    [null, /object/],
    [[], /object/],
    [false, /false: no value fits/],
    [{ type: "text" }, /type "text"/],
    [{ type: "string", pattern: "^a" }, /pattern at #/],
    [{ type: "object", properties: { a: { not: {} } } }, /not at #\/properties\/a/],
    [{ type: "array", uniqueItems: true }, /uniqueItems/],
    [{ type: "integer", multipleOf: 5 }, /multipleOf/],
    [{ type: "integer", minimum: 5, maximum: 4 }, /no integer from 5 to 4/],
    [{ type: "number", minimum: "1" }, /minimum "1"/],
    [{ type: "string", minLength: 3, maxLength: 2 }, /minLength 3 and maxLength 2/],
    [{ type: "string", minLength: 1e9 }, /at most 100000/],
    [
      {
        type: "array",
        items: { type: "array", items: { type: "array", minItems: 9999 }, minItems: 9999 },
        minItems: 9999,
      },
      /shortest document of the schema has \d+ bytes/,
    ],
    [{ enum: [] }, /enum/],
    [{ enum: [undefined] }, /no JSON/],
    [{ enum: ["a"], type: "integer" }, /no value of the enum/],
    [{ enum: Array.from({ length: 10_001 }, (_, i) => i) }, /10001 values in enum; at most 10000/],
    [{ $ref: "https://example.com/a" }, /within the schema/],
    [{ $ref: "#/$defs/none" }, /nothing there/],
    [{ $ref: "#/__proto__" }, /nothing there/],
    [{ $ref: "#" }, /back to itself/],
    [loop, /back to itself/],
    [endless, /no finite document/],
    [cyclic, /nested more than 100 deep/],
    [deep, /nested more than 100 deep/],
    [{ anyOf: [{ type: "string" }], minLength: 3 }, /minLength beside anyOf/],
    [{ oneOf: [{ type: "string" }, { type: ["string", "null"] }] }, /oneOf/],
    [{ oneOf: [{ type: "integer" }, { type: "number" }] }, /oneOf/],
    [{ oneOf: [1, 2].map((value) => ({ const: value, nullable: true })) }, /oneOf/],
    [{ oneOf: [{ type: "null" }, { enum: [1, 2], nullable: true }] }, /oneOf/],
    [
      {
        oneOf: ["a", "b"].map((name) => ({ $ref: `#/$defs/${name}`, nullable: true })),
        $defs: { a: { const: 1 }, b: { const: 2 } },
      },
      /oneOf/,
    ],
    [{ prefixItems: [{}], minItems: 2, unevaluatedItems: false }, /unevaluatedItems at #/],
    [{ type: "array", unevaluatedItems: { type: "string" } }, /unevaluatedItems at #/],
    [{ type: "array", additionalItems: false }, /additionalItems at #/],
    [
      { properties: { a: { type: "object", unevaluatedProperties: { type: "string" } } } },
      /unevaluatedProperties at #\/properties\/a/,
    ],
    [{ type: "object", unevaluatedProperties: false }, /unevaluatedProperties at #/],
    [{ type: "object", required: ["a"], unevaluatedProperties: false }, /unevaluatedProperties at #/],
    [{ allOf: [{ type: "string" }, { type: "string" }] }, /allOf of several/],
    [{ type: "object", properties: { a: {} }, required: ["b"], additionalProperties: false }, /requires "b"/],
    [{ type: "object", properties: [] }, /properties/],
    [{ type: "object", required: "a" }, /required/],
    [{ type: "object", patternProperties: {} }, /patternProperties/],
    [
      { type: "object", properties: Object.fromEntries(Array.from({ length: 1001 }, (_, i) => [`p${i}`, {}])) },
      /1001 properties; at most 1000/,
    ],
  ])("refuses %j", (schema, message) => {
    expect(() => jsonLanguage(schema)).toThrow(
      expect.objectContaining({ code: "bad_input", message: expect.stringMatching(message) }),
    )
  })

  it("takes keywords about items and properties of which there are none", () => {
    const open = { type: "array", items: { type: "integer" }, additionalItems: false, unevaluatedItems: true }
    expect(takes(open, "[1, 2]")).toBe(true)
    const pair = {
      prefixItems: [{ type: "integer" }, { type: "null" }],
      unevaluatedItems: false,
      additionalItems: false,
    }
    expect(takes(pair, "[1, null]")).toBe(true)
    const object = { properties: { a: { type: "integer" } }, unevaluatedProperties: false }
    expect(takes(object, '{"a": 1}')).toBe(true)
    const map = { type: "object", additionalProperties: { type: "integer" }, unevaluatedProperties: false }
    expect(takes(map, '{"b": 1}')).toBe(true)
  })

  it("tells what may be null from what may not", () => {
    const schema = { oneOf: [{ const: 1, nullable: true }, { const: 2 }] }
    expect(["1", "2", "null"].map((text) => takes(schema, text))).toEqual([true, true, true])
  })

  it("takes a thousand optional properties and an enum of ten thousand", () => {
    const values = Array.from({ length: 10_000 }, (_, i) => `value ${i}`)
    const properties = Object.fromEntries(Array.from({ length: 999 }, (_, i) => [`property ${i}`, { type: "integer" }]))
    const schema = { type: "object", properties: { ...properties, last: { enum: values } } }
    expect(takes(schema, '{"property 7": 1, "property 900": 2, "last": "value 9999"}')).toBe(true)
  })
})
