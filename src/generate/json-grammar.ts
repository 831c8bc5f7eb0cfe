/**
 * JSON documents that are valid for a schema, as a language.
 *
 * The language holds fewer documents than the schema allows: properties come in the schema's order, objects have no
 * others than those named, white space is one space behind colons and commas, numbers have no exponents. So a model
 * cannot loop in blanks, and much of a document is known before it is written.
 *
 * Keywords: type, properties, required, additionalProperties, items, prefixItems, minItems, maxItems, enum, const, anyOf,
 * oneOf (of options that exclude each other), allOf (of one), $ref within the schema, minLength, maxLength, minimum,
 * maximum and their exclusive forms, nullable. Annotations and `format` are passed over; every other keyword is refused.
 */

import { IsaacError, shown } from "../errors"
import { decimals, integers } from "./json-number"
import { Grammar, type Language, type Reference } from "./language"
import { thinking } from "./thinking-language"
import { utf8Character } from "./utf8-language"

/** A JSON Schema: `true`, or an object of keywords. */
export type JsonSchema = boolean | { readonly [keyword: string]: unknown }

/** What JSON can say. */
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue }

/** Say nothing about which values are valid. */
const ANNOTATIONS = new Set([
  ...["$schema", "$id", "$anchor", "$comment", "$defs", "definitions", "id", "title", "description", "default"],
  ...["examples", "example", "deprecated", "readOnly", "writeOnly", "format", "contentEncoding", "contentMediaType"],
])
const TYPES = ["null", "boolean", "integer", "number", "string", "array", "object"] as const
type Type = (typeof TYPES)[number]
/** Keywords that one type understands; its presence implies the type where none is given. */
const KEYWORDS: Readonly<Partial<Record<Type, readonly string[]>>> = {
  number: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
  string: ["minLength", "maxLength"],
  array: ["items", "prefixItems", "minItems", "maxItems", "uniqueItems", "additionalItems", "unevaluatedItems"],
  object: ["properties", "required", "additionalProperties", "propertyNames", "unevaluatedProperties"],
}
const COMBINERS = ["$ref", "anyOf", "oneOf", "allOf", "enum", "const"]
const KNOWN = new Set([...ANNOTATIONS, ...COMBINERS, ...Object.values(KEYWORDS).flat(), "type", "nullable"])

const MOST_SCHEMAS = 10_000
const MOST_VALUES = 10_000
const MOST_PROPERTIES = 1000
const DEEPEST = 100
const LONGEST_STRING = 100_000
const MOST_ITEMS = 10_000
/** Bytes of the shortest document. */
const LONGEST_DOCUMENT = 1 << 20

/**
 * The documents that are valid for a schema, a <think> block before them if the model likes.
 *
 * Throws bad_input for what is no schema, has keywords that are not supported, or that no finite document fits.
 */
export function jsonLanguage(schema: unknown): Language {
  const reader = new SchemaReader(schema)
  const document = reader.document()
  const { grammar } = reader
  if (document.shortest === Number.POSITIVE_INFINITY) {
    throw new IsaacError("bad_input", "the schema has no finite document: something that it requires holds itself")
  }
  if (document.shortest > LONGEST_DOCUMENT) {
    throw new IsaacError(
      "bad_input",
      `the shortest document of the schema has ${document.shortest} bytes; at most ${LONGEST_DOCUMENT} are taken`,
    )
  }
  const blank = grammar.repeat(grammar.bytes(0x20, 0x20, 0x0a, 0x0a), 0, 2)
  return grammar.either(document, thinking(grammar, grammar.sequence(blank, document), false))
}

/** Where a schema stands, and whether nothing was written since the definition that it is in began. */
interface Place {
  readonly path: string
  readonly depth: number
  /** The definition that is being read; undefined behind the first byte of something. */
  readonly bare: string | undefined
}

class SchemaReader {
  readonly grammar = new Grammar()
  readonly #root: unknown
  readonly #definitions = new Map<string, Reference>()
  /** Definitions that are yet to be read. */
  readonly #pending: string[] = []
  /** Which definitions may begin with which others at once. */
  readonly #begins = new Map<string, Set<string>>()
  #schemas = 0
  #values = 0
  readonly #character: Language
  readonly #string: Language
  #any: Reference | undefined

  constructor(root: unknown) {
    this.#root = root
    const { grammar } = this
    const hex = [0x30, 0x39, 0x41, 0x46, 0x61, 0x66]
    const digit = grammar.bytes(...hex)
    // No surrogates: half of a pair would be no character.
    const unicode = grammar.either(
      grammar.sequence(grammar.bytes(0x30, 0x39, 0x41, 0x43, 0x45, 0x46, 0x61, 0x63, 0x65, 0x66), digit, digit, digit),
      grammar.sequence(grammar.bytes(0x44, 0x44, 0x64, 0x64), grammar.bytes(0x30, 0x37), digit, digit),
    )
    const short = grammar.bytes(...[...'"\\/bfnrt'].flatMap((c) => [c.charCodeAt(0), c.charCodeAt(0)]))
    const escaped = grammar.sequence(
      grammar.text("\\"),
      grammar.either(short, grammar.sequence(grammar.text("u"), unicode)),
    )
    this.#character = grammar.either(utf8Character(grammar, 0x20, 0x21, 0x23, 0x5b, 0x5d, 0x7e), escaped)
    this.#string = this.#quoted(0, Number.POSITIVE_INFINITY)
  }

  document(): Language {
    const document = this.#definition("#", "#")
    for (let pointer = this.#pending.pop(); pointer !== undefined; pointer = this.#pending.pop()) {
      const schema = this.#find(pointer)
      this.#definitions.get(pointer)!.define(this.#read(schema, { path: pointer, depth: 0, bare: pointer }))
    }
    this.#checkCycles()
    this.grammar.settle()
    return document
  }

  #definition(pointer: string, from: string): Reference {
    let reference = this.#definitions.get(pointer)
    if (reference === undefined) {
      if (this.#find(pointer) === undefined) {
        throw new IsaacError("bad_input", `the schema has $ref ${shown(pointer, 80)} at ${from}, and nothing there`)
      }
      reference = this.grammar.reference()
      this.#definitions.set(pointer, reference)
      this.#pending.push(pointer)
    }
    return reference
  }

  /** What stands at a JSON pointer such as #/$defs/box. */
  #find(pointer: string): unknown {
    let found: unknown = this.#root
    for (const part of pointer.split("/").slice(1)) {
      const key = unescapePointer(part)
      if (typeof found !== "object" || found === null || !Object.hasOwn(found, key)) return undefined
      found = (found as Record<string, unknown>)[key]
    }
    return found
  }

  #read(schema: unknown, place: Place): Language {
    const { path, depth } = place
    if (++this.#schemas > MOST_SCHEMAS) {
      throw new IsaacError("bad_input", `the schema has more than ${MOST_SCHEMAS} parts`)
    }
    if (depth > DEEPEST) {
      throw new IsaacError(
        "bad_input",
        `the schema is nested more than ${DEEPEST} deep; use $ref for what holds itself`,
      )
    }
    if (schema === true) return this.#anything()
    if (schema === false) throw new IsaacError("bad_input", `the schema at ${path} is false: no value fits it`)
    if (!isObject(schema)) {
      throw new IsaacError("bad_input", `the schema at ${path} is ${shown(schema, 80)}; it must be an object`)
    }
    const unknown = Object.keys(schema).find((keyword) => !KNOWN.has(keyword) && schema[keyword] !== undefined)
    if (unknown !== undefined) throw unsupported(unknown, path)

    const combiner = COMBINERS.find((keyword) => schema[keyword] !== undefined)
    const value = combiner === undefined ? this.#typed(schema, place) : this.#combined(schema, combiner, place)
    return schema.nullable === true ? this.grammar.either(value, this.grammar.text("null")) : value
  }

  /** $ref, anyOf, oneOf, allOf, enum, const: beside them only annotations, and a type beside enum and const. */
  #combined(schema: Record<string, unknown>, combiner: string, place: Place): Language {
    const { path } = place
    const values = combiner === "enum" || combiner === "const"
    const beside = Object.keys(schema).find(
      (keyword) =>
        keyword !== combiner &&
        schema[keyword] !== undefined &&
        !ANNOTATIONS.has(keyword) &&
        keyword !== "nullable" &&
        !(values && keyword === "type"),
    )
    if (beside !== undefined) {
      throw new IsaacError(
        "bad_input",
        `the schema at ${path} has ${beside} beside ${combiner}, which is not supported`,
      )
    }
    const given = schema[combiner]
    if (combiner === "$ref") return this.#reference(given, place)
    if (combiner === "const") return this.#oneOfValues([given], schema, path)
    if (!Array.isArray(given) || given.length === 0) {
      throw new IsaacError(
        "bad_input",
        `the schema at ${path} has a ${combiner} that is no array of at least one entry`,
      )
    }
    if (combiner === "enum") return this.#oneOfValues(given, schema, path)
    if (combiner === "allOf" && given.length > 1) throw unsupported("allOf of several schemas", path)
    if (combiner === "oneOf") this.#checkDisjoint(given, path)
    const options = given
      .map((option, i) => [option, i] as const)
      .filter(([option]) => option !== false)
      .map(([option, i]) => this.#read(option, { ...place, path: `${path}/${combiner}/${i}`, depth: place.depth + 1 }))
    if (options.length === 0) throw new IsaacError("bad_input", `no value fits the schema at ${path}`)
    return this.grammar.either(...options)
  }

  #reference(pointer: unknown, { path, bare }: Place): Language {
    if (typeof pointer !== "string" || !(pointer === "#" || pointer.startsWith("#/"))) {
      throw new IsaacError(
        "bad_input",
        `the schema at ${path} has $ref ${shown(pointer, 80)}; only places within the schema are supported, as #/$defs/name`,
      )
    }
    if (bare !== undefined) {
      let begins = this.#begins.get(bare)
      if (begins === undefined) {
        begins = new Set()
        this.#begins.set(bare, begins)
      }
      begins.add(pointer)
    }
    return this.#definition(pointer, path)
  }

  /** A definition that leads to itself with nothing written in between would never begin. */
  #checkCycles(): void {
    const done = new Set<string>()
    for (const start of this.#begins.keys()) {
      const path: { readonly name: string; readonly rest: Iterator<string> }[] = []
      const open = new Set<string>()
      const enter = (name: string) => {
        if (open.has(name)) {
          throw new IsaacError("bad_input", `the schema has a $ref that leads back to itself: ${shown(name, 80)}`)
        }
        if (done.has(name)) return
        open.add(name)
        path.push({ name, rest: (this.#begins.get(name) ?? new Set<string>()).values() })
      }
      enter(start)
      for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
        const { done: over, value } = top.rest.next()
        if (!over) {
          enter(value)
          continue
        }
        open.delete(top.name)
        done.add(top.name)
        path.pop()
      }
    }
  }

  #oneOfValues(values: readonly unknown[], schema: Record<string, unknown>, path: string): Language {
    this.#values += values.length
    if (this.#values > MOST_VALUES) {
      throw new IsaacError(
        "bad_input",
        `the schema has ${this.#values} values in enum; at most ${MOST_VALUES} are taken`,
      )
    }
    const types = schema.type === undefined ? undefined : typesOf(schema.type, path)
    const texts = values
      .filter((value) => types === undefined || types.some((type) => isOfType(value, type)))
      .map((value) => jsonText(value, path))
    if (texts.length === 0) throw new IsaacError("bad_input", `no value of the enum at ${path} is of its type`)
    return this.grammar.words(texts)
  }

  #typed(schema: Record<string, unknown>, place: Place): Language {
    const { path } = place
    const types =
      schema.type !== undefined
        ? typesOf(schema.type, path)
        : TYPES.filter((type) => KEYWORDS[type]?.some((keyword) => schema[keyword] !== undefined))
    if (types.length === 0) return this.#anything()
    return this.grammar.either(...types.map((type) => this.#ofType(type, schema, place)))
  }

  #ofType(type: Type, schema: Record<string, unknown>, place: Place): Language {
    const { grammar } = this
    if (type === "null") return grammar.text("null")
    if (type === "boolean") return grammar.words(["true", "false"])
    if (type === "integer" || type === "number") return this.#number(type, schema, place.path)
    if (type === "string") {
      const min = count(schema.minLength, "minLength", LONGEST_STRING, place.path) ?? 0
      const max = count(schema.maxLength, "maxLength", Number.MAX_SAFE_INTEGER, place.path) ?? Number.POSITIVE_INFINITY
      return this.#quoted(min, atLeast(max, min, "Length", place.path))
    }
    return type === "array" ? this.#array(schema, place) : this.#object(schema, place)
  }

  #quoted(min: number, max: number): Language {
    const { grammar } = this
    const quote = grammar.text('"')
    return grammar.sequence(quote, grammar.repeat(this.#character, min, max), quote)
  }

  #number(type: "integer" | "number", schema: Record<string, unknown>, path: string): Language {
    if (schema.multipleOf !== undefined && !(type === "integer" && schema.multipleOf === 1)) {
      throw unsupported("multipleOf", path)
    }
    const [min, max] = [limit(schema, "minimum", path), limit(schema, "maximum", path)]
    const [above, below] = [limit(schema, "exclusiveMinimum", path), limit(schema, "exclusiveMaximum", path)]
    // The next number that can be written.
    const step = type === "integer" ? (x: number, d: number) => (d > 0 ? Math.floor(x) + 1 : Math.ceil(x) - 1) : nextTo
    const low = Math.max(
      min ?? Number.NEGATIVE_INFINITY,
      above === undefined ? Number.NEGATIVE_INFINITY : step(above, 1),
    )
    const high = Math.min(
      max ?? Number.POSITIVE_INFINITY,
      below === undefined ? Number.POSITIVE_INFINITY : step(below, -1),
    )
    const numbers = (type === "integer" ? integers : decimals)(this.grammar, { low, high })
    if (numbers === undefined) {
      throw new IsaacError(
        "bad_input",
        `the schema at ${path} has no ${type} from ${low} to ${high} that can be written`,
      )
    }
    return numbers
  }

  #array(schema: Record<string, unknown>, place: Place): Language {
    const { grammar } = this
    const { path } = place
    if (schema.uniqueItems === true) throw unsupported("uniqueItems", path)
    const inside = (part: unknown, name: string) =>
      this.#read(part, { path: `${path}/${name}`, depth: place.depth + 1, bare: undefined })
    const prefix = schema.prefixItems ?? []
    if (!Array.isArray(prefix))
      throw new IsaacError("bad_input", `the schema at ${path} has prefixItems that are no array`)
    const min = count(schema.minItems, "minItems", MOST_ITEMS, path) ?? 0
    const most = count(schema.maxItems, "maxItems", Number.MAX_SAFE_INTEGER, path)
    const closed = schema.items === false || (schema.items === undefined && prefix.length > 0)
    const max = atLeast(most ?? (closed ? Math.max(prefix.length, min) : Number.POSITIVE_INFINITY), min, "Items", path)
    const judged = schema.items !== undefined || max <= prefix.length
    for (const keyword of ["additionalItems", "unevaluatedItems"]) checkIdle(schema, keyword, judged, path)
    if (closed && schema.items === false && min > prefix.length) {
      throw new IsaacError("bad_input", `the schema at ${path} has minItems ${min} and takes ${prefix.length} items`)
    }
    const first = prefix.slice(0, max).map((part, i) => inside(part, `prefixItems/${i}`))
    const [comma, open, close] = [grammar.text(", "), grammar.text("["), grammar.text("]")]
    const given = first.flatMap((item, i) => (i === 0 ? [item] : [comma, item]))
    if (max <= first.length || schema.items === false) return grammar.sequence(open, ...given, close)
    const item = schema.items === undefined ? this.#anything() : inside(schema.items, "items")
    const more = grammar.sequence(comma, item)
    if (first.length > 0) {
      const rest = grammar.repeat(more, Math.max(min - first.length, 0), max - first.length)
      return grammar.sequence(open, ...given, rest, close)
    }
    const some = grammar.sequence(item, grammar.repeat(more, Math.max(min - 1, 0), max - 1), close)
    return grammar.sequence(open, min === 0 ? grammar.either(close, some) : some)
  }

  #object(schema: Record<string, unknown>, place: Place): Language {
    const { grammar } = this
    const { path } = place
    const { properties = {}, required = [], additionalProperties, propertyNames } = schema
    if (!isObject(properties))
      throw new IsaacError("bad_input", `the schema at ${path} has properties that are no object`)
    if (!Array.isArray(required) || !required.every((name) => typeof name === "string")) {
      throw new IsaacError("bad_input", `the schema at ${path} has a required that is no array of names`)
    }
    if (propertyNames !== undefined && !(isObject(propertyNames) && onlyString(propertyNames))) {
      throw unsupported("propertyNames", path)
    }
    const inside = (part: unknown, name: string) =>
      this.#read(part, { path: `${path}/${name}`, depth: place.depth + 1, bare: undefined })
    const needed = new Set<string>(required)
    const names = [...new Set([...Object.keys(properties), ...needed])]
    if (names.length > MOST_PROPERTIES) {
      throw new IsaacError(
        "bad_input",
        `the schema at ${path} has ${names.length} properties; at most ${MOST_PROPERTIES}`,
      )
    }
    const missing = names.find((name) => !Object.hasOwn(properties, name))
    if (missing !== undefined && additionalProperties === false) {
      throw new IsaacError("bad_input", `the schema at ${path} requires ${shown(missing, 80)} and does not allow it`)
    }
    const named = isObject(schema.properties) || names.length > 0
    const judged = additionalProperties !== undefined || (named && missing === undefined)
    checkIdle(schema, "unevaluatedProperties", judged, path)
    const [comma, open, close] = [grammar.text(", "), grammar.text("{"), grammar.text("}")]
    if (!named && additionalProperties !== false) {
      // A map: any keys.
      const value =
        additionalProperties === undefined ? this.#anything() : inside(additionalProperties, "additionalProperties")
      const entry = grammar.sequence(this.#string, grammar.text(": "), value)
      const some = grammar.sequence(entry, grammar.repeat(grammar.sequence(comma, entry), 0), close)
      return grammar.sequence(open, grammar.either(close, some))
    }
    // From the last property to the first: what may follow when some were written, and when none was.
    let behind = close
    let first = close
    for (const name of [...names].reverse()) {
      const declared = Object.hasOwn(properties, name)
      if (declared && properties[name] === false && !needed.has(name)) continue
      const value = declared
        ? inside(properties[name], `properties/${escapePointer(name)}`)
        : inside(additionalProperties ?? true, "additionalProperties")
      const entry = grammar.sequence(grammar.text(`${JSON.stringify(name)}: `), value, behind)
      const next = grammar.sequence(comma, entry)
      const optional = !needed.has(name)
      first = optional ? grammar.either(entry, first) : entry
      behind = optional ? grammar.either(next, behind) : next
    }
    return grammar.sequence(open, first)
  }

  /** Any value at all. */
  #anything(): Language {
    if (this.#any === undefined) {
      const { grammar } = this
      this.#any = grammar.reference()
      const { path, depth } = { path: "#", depth: 0 }
      const place = { path, depth, bare: undefined }
      const plain = ["null", "boolean", "number", "string"] as const
      this.#any.define(
        grammar.either(
          ...plain.map((type) => this.#ofType(type, {}, place)),
          this.#array({}, place),
          this.#object({}, place),
        ),
      )
    }
    return this.#any
  }

  /** A value must fit just one schema of a oneOf: refuse what cannot be told apart by its type or by a constant. */
  #checkDisjoint(options: readonly unknown[], path: string): void {
    const known = options.map((option) => this.#resolve(option))
    for (const [i, a] of known.entries()) {
      for (const b of known.slice(i + 1)) {
        if (!exclusive(a, b)) {
          throw new IsaacError(
            "bad_input",
            `the schema at ${path} has a oneOf of schemas that one value may fit both; use anyOf, or tell them apart by type or const`,
          )
        }
      }
    }
  }

  /** A schema behind its references. */
  #resolve(schema: unknown): unknown {
    let resolved = schema
    let nullable = false
    for (let i = 0; i < DEEPEST && isObject(resolved) && typeof resolved.$ref === "string"; i++) {
      nullable ||= resolved.nullable === true
      resolved = this.#find(resolved.$ref)
    }
    return nullable && isObject(resolved) ? { ...resolved, nullable } : resolved
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

function unsupported(what: string, path: string): IsaacError {
  return new IsaacError(
    "bad_input",
    `the schema has ${what.slice(0, 80)} at ${path}, which is not supported; leave it out`,
  )
}

/**
 * Takes a keyword about the items or properties that no other keyword judges only where it changes nothing.
 *
 * @param judged there are no such items or properties
 */
function checkIdle(schema: Record<string, unknown>, keyword: string, judged: boolean, path: string): void {
  const value = schema[keyword]
  if (!(value === undefined || value === true || (value === false && judged))) throw unsupported(keyword, path)
}

function typesOf(type: unknown, path: string): Type[] {
  const types: readonly unknown[] = Array.isArray(type) ? type : [type]
  const known = TYPES.filter((name) => types.includes(name))
  if (known.length === 0 || known.length < new Set(types).size) {
    throw new IsaacError("bad_input", `the schema at ${path} has type ${shown(type, 80)}; it takes ${TYPES.join(", ")}`)
  }
  // A whole number is a number.
  return known.includes("number") ? known.filter((name) => name !== "integer") : known
}

function isOfType(value: unknown, type: Type): boolean {
  switch (type) {
    case "null":
      return value === null
    case "array":
      return Array.isArray(value)
    case "object":
      return isObject(value)
    case "integer":
      return Number.isInteger(value)
    default:
      return typeof value === type
  }
}

/** A value of an enum as it is written. */
function jsonText(value: unknown, path: string): string {
  const text = typeof value === "number" && !Number.isFinite(value) ? undefined : stringify(value)
  if (text === undefined) throw new IsaacError("bad_input", `the schema at ${path} has a value that is no JSON`)
  if (text.length > LONGEST_STRING) {
    throw new IsaacError(
      "bad_input",
      `the schema at ${path} has a value of ${text.length} characters; at most ${LONGEST_STRING}`,
    )
  }
  return text
}

function stringify(value: unknown): string | undefined {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined // it holds itself, or a bigint
  }
}

/** A length; undefined when there is none. */
function count(value: unknown, name: string, most: number, path: string): number | undefined {
  if (value === undefined) return undefined
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0) {
    throw new IsaacError(
      "bad_input",
      `the schema at ${path} has ${name} ${shown(value, 80)}; it must be a whole number`,
    )
  }
  if (value > most)
    throw new IsaacError("bad_input", `the schema at ${path} has ${name} ${value}; at most ${most} is taken`)
  return value
}

function atLeast(max: number, min: number, name: string, path: string): number {
  if (max >= min) return max
  throw new IsaacError("bad_input", `the schema at ${path} has min${name} ${min} and max${name} ${max}: nothing fits`)
}

function limit(schema: Record<string, unknown>, name: string, path: string): number | undefined {
  const value = schema[name]
  if (value === undefined || (typeof value === "number" && !Number.isNaN(value))) return value
  throw new IsaacError("bad_input", `the schema at ${path} has ${name} ${shown(value, 80)}; it must be a number`)
}

/** The next number with ten digits behind the point, up or down. */
function nextTo(value: number, direction: number): number {
  const next = value + direction * 1e-10
  return next === value ? value + direction * Math.abs(value) * 2 ** -52 : next
}

function onlyString(schema: Record<string, unknown>): boolean {
  return Object.keys(schema).every((key) => ANNOTATIONS.has(key) || (key === "type" && schema.type === "string"))
}

function unescapePointer(part: string): string {
  let plain = part
  try {
    plain = decodeURIComponent(part)
  } catch {
    // a percent sign that is one
  }
  return plain.replaceAll("~1", "/").replaceAll("~0", "~")
}

function escapePointer(name: string): string {
  return name.slice(0, 80).replaceAll("~", "~0").replaceAll("/", "~1")
}

/** Whether no value fits both schemas for sure. */
function exclusive(a: unknown, b: unknown): boolean {
  if (!isObject(a) || !isObject(b) || (a.nullable === true && b.nullable === true)) return false
  const [valuesA, valuesB] = [valuesOf(a), valuesOf(b)]
  if (valuesA && valuesB) return !valuesA.some((value) => valuesB.includes(value))
  const [typesA, typesB] = [kindsOf(a), kindsOf(b)]
  if (typesA && typesB && !typesA.some((type) => typesB.includes(type))) return true
  // Objects that are told apart by a property that both require.
  const [propertiesA, propertiesB] = [a.properties, b.properties]
  if (!isObject(propertiesA) || !isObject(propertiesB)) return false
  const requires = (schema: Record<string, unknown>, name: string) =>
    schema.type === "object" && Array.isArray(schema.required) && schema.required.includes(name)
  return Object.keys(propertiesA).some((name) => {
    if (!Object.hasOwn(propertiesB, name) || !requires(a, name) || !requires(b, name)) return false
    const [one, other] = [propertiesA[name], propertiesB[name]]
    const [mine, theirs] = [isObject(one) && valuesOf(one), isObject(other) && valuesOf(other)]
    return Boolean(mine && theirs && !mine.some((value) => theirs.includes(value)))
  })
}

/** The values of const or enum, as texts. */
function valuesOf(schema: Record<string, unknown>): readonly (string | undefined)[] | undefined {
  return plainValues(schema)?.map(stringify)
}

function plainValues(schema: Record<string, unknown>): readonly unknown[] | undefined {
  const values = schema.const !== undefined ? [schema.const] : schema.enum
  if (!Array.isArray(values)) return undefined
  return schema.nullable === true ? [...values, null] : values
}

/** The types that a schema names; whole numbers are numbers. */
function kindsOf(schema: Record<string, unknown>): readonly unknown[] | undefined {
  const values = plainValues(schema)
  if (values) return values.map((value) => TYPES.find((type) => type !== "integer" && isOfType(value, type)))
  if (schema.type === undefined) return undefined
  const types: readonly unknown[] = Array.isArray(schema.type) ? schema.type : [schema.type]
  const nullable = schema.nullable === true ? ["null"] : []
  return [...types.map((type) => (type === "integer" ? "number" : type)), ...nullable]
}
