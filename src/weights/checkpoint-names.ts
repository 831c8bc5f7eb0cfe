/**
 * The only file that knows how checkpoints name their tensors.
 *
 * The rest of the code speaks the names of the Isaac 0.1 checkpoint ("canonical"):
 *
 *     model.embed_tokens.weight                    model.norm.weight                     lm_head.weight
 *     model.layers.N.{self_attn,mlp}.*             model.layers.N.{input,post_attention}_layernorm.weight
 *     model.vision_embedding.0.embeddings.*        model.vision_embedding.0.encoder.layers.N.*
 *     model.vision_embedding.0.post_layernorm.*    model.vision_embedding.{1,3}.weight (the projector)
 *
 * Four schemes are in use; they differ in prefixes only, and a checkpoint may mix them:
 *
 *     0.1        as above
 *     0.2        text under model.text_model.*
 *     library    text under model.language_model.*
 *     library    vision under model.visual.*, projector model.multimodal_projector.linear_{1,2},
 *                position table as a bare parameter [side, side, hidden]
 *
 * and lm_head sits at lm_head.*, model.lm_head.* or model.text_model.lm_head.* in any of them.
 */

/** Prefix → canonical prefix, tried in order until none applies. */
const REWRITES: readonly (readonly [pattern: RegExp, canonical: string])[] = [
  [/^model\.(?:text_model|language_model)\./, "model."],
  [/^model\.lm_head\./, "lm_head."],
  [/^model\.visual\./, "model.vision_embedding.0."],
  [/^model\.multimodal_projector\.linear_1\./, "model.vision_embedding.1."],
  [/^model\.multimodal_projector\.linear_2\./, "model.vision_embedding.3."],
]

/** Rotary frequencies are computed from the config; some checkpoints store them all the same. */
const IGNORED = /(?:^|\.)rotary_emb\./

/** The position table, which may be a parameter of its own instead of an embedding's weight. */
const POSITION_TABLE = "model.vision_embedding.0.embeddings.position_embedding"

/** The canonical name of a stored tensor; undefined for one that holds no weight of the model. */
export function canonicalName(stored: string): string | undefined {
  if (IGNORED.test(stored)) return undefined
  let name = stored
  for (const [pattern, canonical] of REWRITES) name = name.replace(pattern, canonical)
  return name === POSITION_TABLE ? `${POSITION_TABLE}.weight` : name
}

/** The canonical shape: a position table [side, side, hidden] is [side·side, hidden], row-major, the same bytes. */
export function canonicalShape(name: string, shape: readonly number[]): readonly number[] {
  const square = name === `${POSITION_TABLE}.weight` && shape.length === 3 && shape[0] === shape[1]
  return square ? [shape[0] * shape[1], shape[2]] : shape
}

/** What a checkpoint lacks and what it has too much, both sorted. */
export interface NameDifference {
  readonly missing: readonly string[]
  readonly leftOver: readonly string[]
}

/** Compare the canonical names a model needs, and those it can use, with those that are there. */
export function compareNames(
  needed: Iterable<string>,
  optional: Iterable<string>,
  present: Iterable<string>,
): NameDifference {
  const must = new Set(needed)
  const may = new Set(optional)
  const have = new Set(present)
  return {
    missing: [...must].filter((name) => !have.has(name)).sort(),
    leftOver: [...have].filter((name) => !must.has(name) && !may.has(name)).sort(),
  }
}
