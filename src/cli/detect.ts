/** `isaac detect IMAGE…`: what there is, and where. */

import { createHash } from "node:crypto"
import { readFile } from "node:fs/promises"
import { dirname, resolve } from "node:path"
import { type Command, InvalidArgumentError } from "commander"
import type { AnnotatedImage } from "../index"
import { IsaacError, plainText } from "../internal"
import { readPictures } from "./pictures"
import { addTask } from "./task-command"
import type { TaskFlags } from "./task-options"
import { printLeaves } from "./task-text"
import type { Terminal } from "./terminal"

interface DetectFlags extends TaskFlags {
  readonly classes?: readonly string[]
  readonly examples?: string
}

export function addDetect(program: Command, terminal: Terminal): void {
  addTask(program, terminal, {
    name: "detect",
    description: 'find things in pictures, a line "NAME  X1 Y1 X2 Y2" in pixels for each',
    addOptions: (command) =>
      command
        .option("--classes <names>", "what to look for, with commas between (default: everything)", classNames)
        .option("--examples <file>", "JSON: [{image, annotations: [{type, …, mention}], units}, …] to go by"),
    plan: async ({ classes, examples: file, allowPrivateUrls }: DetectFlags, _objects, signal) => {
      const { examples, hash } = file === undefined ? {} : await readExamples(file, signal, { allowPrivateUrls })
      return {
        settings: { classes, examples: hash },
        ask: (isaac, picture, options) => isaac.detect(picture, { ...options, classes, examples }),
      }
    },
    printer: printLeaves,
  })
}

function classNames(text: string): string[] {
  const names = text.split(",").map((name) => name.trim())
  if (names.some((name) => name === "")) {
    throw new InvalidArgumentError("Names with commas between are needed, such as cat,dog.")
  }
  return names
}

/** Pictures are decoded once, for all answers. The engine says what is wrong with annotations. */
async function readExamples(
  file: string,
  signal: AbortSignal,
  options: { readonly allowPrivateUrls?: true },
): Promise<{ examples: AnnotatedImage[]; hash: string }> {
  const text = await readFile(file, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new IsaacError(
      cause.code === "ENOENT" ? "not_found" : "io",
      `${plainText(file)} cannot be read: ${cause.message}`,
      { cause },
    )
  })
  const list = parseList(text, file)
  const names: string[] = []
  for (const [i, example] of list.entries()) {
    const image: unknown = example?.image
    if (typeof image !== "string" || image === "" || image === "-") {
      throw new IsaacError("bad_input", `example ${i + 1} of ${plainText(file)} has no image: the path of a picture`)
    }
    names.push(pathFrom(file, image))
  }
  const pictures = await readPictures(names, signal, options)
  return {
    examples: list.map((example, i) => ({ ...example, image: pictures[i] })),
    hash: createHash("sha256").update(text).digest("hex"),
  }
}

function parseList(text: string, file: string): AnnotatedImage[] {
  let found: unknown
  try {
    found = JSON.parse(text)
  } catch (cause) {
    throw new IsaacError("bad_input", `${plainText(file)} is no JSON: ${plainText((cause as Error).message)}`, {
      cause,
    })
  }
  if (!Array.isArray(found) || found.length === 0) {
    throw new IsaacError("bad_input", `${plainText(file)} must be a list of [{image, annotations}, …]`)
  }
  return found as AnnotatedImage[]
}

/** Paths in the file are meant from where the file is. */
function pathFrom(file: string, image: string): string {
  return /^[a-z][a-z0-9+.-]+:/i.test(image) ? image : resolve(dirname(file), image)
}
