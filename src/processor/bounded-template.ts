/**
 * Jinja templates from strangers, run with a limit. They reach no file, network or object of the program; what is left to
 * fear is one that never ends or fills the memory, so every step of the interpreter is counted, and what it makes.
 */

import { Environment, Interpreter, parse, Template, tokenize } from "@huggingface/jinja"

/** What one rendering may take. Templates get by with a hundredth of it. */
export interface TemplateLimits {
  /** Steps of the interpreter; values that it makes count by their size. */
  readonly steps: number
  /** Longest text that may come out or be put together on the way, in UTF-16 units. */
  readonly longest: number
  /** Looked at between steps. */
  readonly milliseconds: number
}

/** Steps that one item of a list counts as: a turn of a loop over it costs about as much, even an empty one. */
const STEPS_PER_ITEM = 4
/** Units of text that count as one step: making and holding them costs about as much. */
const UNITS_PER_STEP = 16
/** Steps between two looks at the clock. */
const STEPS_PER_LOOK = 10_000

/** Limits that grow with what is to be rendered: `turns` messages with `units` UTF-16 units of text in all. */
export function limitsFor(turns: number, units: number): TemplateLimits {
  // Templates look at the list of messages in every turn.
  return { steps: 2_000_000 + 80 * turns ** 2 + 4 * units, longest: (1 << 24) + 4 * units, milliseconds: 20_000 }
}

type Program = ReturnType<typeof parse>
type Value = ReturnType<Interpreter["evaluate"]>

/** Thrown when a template takes more than it may. */
export class TemplateLimit extends Error {}

export class BoundedTemplate {
  readonly #program: Program

  /** Throws an Error when the source is no Jinja. */
  constructor(source: string) {
    // Chat templates are written for these two settings.
    this.#program = parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }))
  }

  /** Throws TemplateLimit, or what the template raises. */
  render(variables: Readonly<Record<string, unknown>>, limits: TemplateLimits): string {
    const interpreter = new CountingInterpreter(new Environment(), limits)
    for (const [name, value] of Object.entries({ ...globals(interpreter), ...variables })) {
      interpreter.global.set(name, value)
    }
    const rendered: unknown = interpreter.run(this.#program).value
    return typeof rendered === "string" ? rendered : ""
  }
}

/** What every chat template may use. */
function globals(interpreter: CountingInterpreter): Record<string, unknown> {
  return {
    true: true,
    True: true,
    false: false,
    False: false,
    none: null,
    None: null,
    range: (start: number, stop?: number, step?: number) => interpreter.range(start, stop, step),
    raise_exception: (message: unknown) => {
      throw new Error(String(message))
    },
    strftime_now: (format: unknown) => new Template("{{ strftime_now(format) }}").render({ format }),
  }
}

class CountingInterpreter extends Interpreter {
  readonly #limits: TemplateLimits
  readonly #deadline: number
  #left: number
  #nextLook: number

  constructor(environment: Environment, limits: TemplateLimits) {
    super(environment)
    this.#limits = limits
    this.#deadline = performance.now() + limits.milliseconds
    this.#left = limits.steps
    this.#nextLook = limits.steps - STEPS_PER_LOOK
  }

  override evaluate(...call: Parameters<Interpreter["evaluate"]>): Value {
    this.#count(1)
    const result = super.evaluate(...call)
    const { value } = result
    if (typeof value === "string") {
      const { longest } = this.#limits
      if (value.length > longest) throw new TemplateLimit(`it makes a text of more than ${longest} characters`)
      this.#count(value.length / UNITS_PER_STEP)
    } else if (Array.isArray(value)) this.#count(value.length * STEPS_PER_ITEM)
    else if (value instanceof Map) this.#count(value.size * STEPS_PER_ITEM)
    return result
  }

  /** Python's range. Counted before it is made. */
  range(first: number, end?: number, step = 1): number[] {
    const [start, stop] = end === undefined ? [0, first] : [first, end]
    if (![start, stop, step].every(Number.isSafeInteger) || step === 0) {
      throw new Error("range() takes whole numbers, and a step that is not 0")
    }
    const length = Math.max(0, Math.ceil((stop - start) / step))
    this.#count(length * STEPS_PER_ITEM)
    return Array.from({ length }, (_, i) => start + i * step)
  }

  #count(steps: number): void {
    this.#left -= steps
    if (this.#left < 0) throw new TemplateLimit(`it has not ended after ${this.#limits.steps} steps`)
    if (this.#left > this.#nextLook) return
    this.#nextLook = this.#left - STEPS_PER_LOOK
    if (performance.now() > this.#deadline) {
      throw new TemplateLimit(`it has not ended after ${this.#limits.milliseconds / 1000} seconds`)
    }
  }
}
