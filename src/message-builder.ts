/**
 * Prompts of one's own, piece by piece: `[system("Be brief."), image(photo), "Is this ", box(100, 200, 300, 400), " a cat?"]`.
 *
 * Texts, images and tags that stand next to each other are one turn of the user; `user(…)` and `assistant(…)` cut turns
 * where they are wanted. Coordinates are 0 … 1000 over the picture's width and height.
 */

import type { ImageInput } from "./engine-options"
import { IsaacError, shown } from "./errors"
import { type Annotation, annotationText, tagOf } from "./perception/annotations"
import type { BoxLeaf, Collection, Mentioned, PointLeaf, PolygonLeaf } from "./perception/pointing"
import type { Message, Part, Role } from "./processor/messages"

export interface ImageNode {
  readonly type: "image"
  readonly image: ImageInput
}

export interface TextNode {
  readonly type: "text"
  readonly text: string
}

/** A piece of a turn. */
export type ContentNode = string | TextNode | ImageNode | Annotation

/** A whole turn. */
export interface TurnNode {
  readonly type: "turn"
  readonly role: Role
  readonly content: readonly ContentNode[]
}

/** A piece of a prompt. */
export type PromptNode = ContentNode | TurnNode

/** Text of the user. A string says the same. */
export function text(text: string): TextNode {
  return { type: "text", text }
}

/** A picture, where it stands among the words. */
export function image(image: ImageInput): ImageNode {
  return { type: "image", image }
}

/** A turn of the system: an instruction. */
export function system(instruction: string): TurnNode {
  return { type: "turn", role: "system", content: [instruction] }
}

/** One turn of the user. */
export function user(...content: readonly ContentNode[]): TurnNode {
  return { type: "turn", role: "user", content }
}

/** One turn of the assistant: what it is to have answered. */
export function assistant(...content: readonly ContentNode[]): TurnNode {
  return { type: "turn", role: "assistant", content }
}

/** A point. Throws bad_input. */
export function point(x: number, y: number, about: Partial<Mentioned> = {}): PointLeaf {
  return tagOf({ ...about, type: "point", x, y }, "point") as PointLeaf
}

/** A box by two opposite corners. Throws bad_input. */
export function box(x1: number, y1: number, x2: number, y2: number, about: Partial<Mentioned> = {}): BoxLeaf {
  return tagOf({ ...about, type: "box", x1, y1, x2, y2 }, "box") as BoxLeaf
}

/** A polygon of three corners or more. Throws bad_input. */
export function polygon(
  points: readonly (readonly [x: number, y: number])[],
  about: Partial<Mentioned> = {},
): PolygonLeaf {
  return tagOf({ ...about, type: "polygon", points }, "polygon") as PolygonLeaf
}

/** Tags that share their mention and time. Throws bad_input. */
export function collection(items: readonly Annotation[], about: Partial<Mentioned> = {}): Collection {
  return tagOf({ ...about, type: "collection", items }, "collection") as Collection
}

/**
 * The messages that the pieces spell, and their images in the order of the text.
 *
 * Throws bad_input for pieces that are none.
 */
export function messagesOf(nodes: readonly PromptNode[]): { messages: Message[]; images: ImageInput[] } {
  if (!Array.isArray(nodes) || nodes.length === 0) {
    throw new IsaacError("bad_input", `a prompt is an array of at least one piece, not ${shown(nodes)}`)
  }
  const images: ImageInput[] = []
  const turns: { role: Role; parts: Part[] }[] = []
  let loose = false
  for (const node of nodes as readonly PromptNode[]) {
    if (typeof node === "object" && node?.type === "turn") {
      if (!Array.isArray(node.content)) {
        throw new IsaacError("bad_input", `a turn's content is ${shown(node.content)}; it must be an array of pieces`)
      }
      turns.push({ role: node.role, parts: node.content.map((piece: ContentNode) => part(piece, images)) })
      loose = false
    } else {
      if (!loose) turns.push({ role: "user", parts: [] })
      turns[turns.length - 1].parts.push(part(node, images))
      loose = true
    }
  }
  return { messages: turns.map(({ role, parts }) => ({ role, content: parts })), images }
}

function part(node: ContentNode, images: ImageInput[]): Part {
  if (typeof node === "string") return { type: "text", text: node }
  if (node?.type === "text") {
    if (typeof node.text !== "string") {
      throw new IsaacError("bad_input", `a text of the prompt is ${shown(node.text)}; it must be a string`)
    }
    return node
  }
  if (node?.type === "image") {
    images.push(node.image)
    return { type: "image", image: images.length - 1 }
  }
  return { type: "text", text: annotationText([node], "thousandths") }
}
