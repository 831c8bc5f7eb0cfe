/** Every parameter of the model: its canonical name, its shape as the config gives it, and what it is used as. */

import { IsaacError } from "../errors"
import { isPackedSource } from "../ops/backend"
import type { Checkpoint } from "../weights/checkpoint"
import type { IsaacConfig } from "./config"

export interface Parameter {
  /** Axes: the config's field (or what it is made of) and the size that follows. */
  readonly axes: readonly (readonly [field: string, size: number])[]
  /**
   * How it is kept: a `matrix` in the chosen storage type, an `exact` matrix in f32, a `vector` (norms, biases) as an
   * f32 tensor, a `table` on the host.
   */
  readonly kind: "matrix" | "exact" | "vector" | "table"
}

export const LM_HEAD = "lm_head.weight"
export const EMBEDDING = "model.embed_tokens.weight"
/** How the names of the vision tower and the projector begin. */
export const VISION = "model.vision_embedding."

/** Canonical names in the order of a forward pass, which is roughly their order in the files. */
export function parameterTable({ text, vision }: IsaacConfig): Map<string, Parameter> {
  const table = new Map<string, Parameter>()
  type Axis = Parameter["axes"][number]
  const add = (name: string, kind: Parameter["kind"], ...axes: Axis[]) => table.set(name, { axes, kind })
  const linear = (name: string, out: Axis, in_: Axis) => {
    add(`${name}.weight`, "matrix", out, in_)
    add(`${name}.bias`, "vector", out)
  }
  const layerNorm = (name: string, width: Axis) => {
    add(`${name}.weight`, "vector", width)
    add(`${name}.bias`, "vector", width)
  }

  // ── Vision tower ──
  const tower = "model.vision_embedding.0"
  const dv: Axis = ["vision_config.hidden_size", vision.hiddenSize]
  const iv: Axis = ["vision_config.intermediate_size", vision.intermediateSize]
  const patch: Axis = [`${vision.channels}·vision_patch_size²`, vision.channels * vision.patchSize ** 2]
  add(`${tower}.embeddings.patch_embedding.weight`, "exact", dv, patch)
  add(`${tower}.embeddings.patch_embedding.bias`, "vector", dv)
  add(
    `${tower}.embeddings.position_embedding.weight`,
    "table",
    ["vision_config.num_patches", vision.gridSide * vision.gridSide],
    dv,
  )
  for (let i = 0; i < vision.layers; i++) {
    const layer = `${tower}.encoder.layers.${i}`
    layerNorm(`${layer}.layer_norm1`, dv)
    for (const name of ["q_proj", "k_proj", "v_proj", "out_proj"]) linear(`${layer}.self_attn.${name}`, dv, dv)
    layerNorm(`${layer}.layer_norm2`, dv)
    linear(`${layer}.mlp.fc1`, iv, dv)
    linear(`${layer}.mlp.fc2`, dv, iv)
  }
  layerNorm(`${tower}.post_layernorm`, dv)

  // ── Projector ──
  const d: Axis = ["hidden_size", text.hiddenSize]
  const shuffled = vision.hiddenSize * vision.pixelShuffle ** 2
  const narrow: Axis = ["vision_config.hidden_size·pixel_shuffle_scale²", shuffled]
  const wide: Axis = ["4·vision_config.hidden_size·pixel_shuffle_scale²", 4 * shuffled]
  add("model.vision_embedding.1.weight", "matrix", wide, narrow)
  add("model.vision_embedding.3.weight", "matrix", d, wide)

  // ── Decoder ──
  const v: Axis = ["vocab_size", text.vocabSize]
  const i_: Axis = ["intermediate_size", text.intermediateSize]
  const q: Axis = ["num_attention_heads·head_dim", text.heads * text.headDim]
  const kv: Axis = ["num_key_value_heads·head_dim", text.kvHeads * text.headDim]
  const head: Axis = ["head_dim", text.headDim]
  add(EMBEDDING, "matrix", v, d)
  for (let i = 0; i < text.layers; i++) {
    const layer = `model.layers.${i}`
    add(`${layer}.input_layernorm.weight`, "vector", d)
    add(`${layer}.self_attn.q_proj.weight`, "matrix", q, d)
    add(`${layer}.self_attn.k_proj.weight`, "matrix", kv, d)
    add(`${layer}.self_attn.v_proj.weight`, "matrix", kv, d)
    add(`${layer}.self_attn.o_proj.weight`, "matrix", d, q)
    add(`${layer}.self_attn.q_norm.weight`, "vector", head)
    add(`${layer}.self_attn.k_norm.weight`, "vector", head)
    add(`${layer}.post_attention_layernorm.weight`, "vector", d)
    add(`${layer}.mlp.gate_proj.weight`, "matrix", i_, d)
    add(`${layer}.mlp.up_proj.weight`, "matrix", i_, d)
    add(`${layer}.mlp.down_proj.weight`, "matrix", d, i_)
  }
  add("model.norm.weight", "vector", d)
  add(LM_HEAD, "matrix", v, d)
  return table
}

/**
 * Hold a checkpoint to its config. Throws bad_checkpoint for missing or left-over tensors and for number formats that
 * hold no weights, bad_config for a shape that contradicts the config, naming both.
 */
export function checkParameters(checkpoint: Checkpoint, config: IsaacConfig): Map<string, Parameter> {
  const table = parameterTable(config)
  const mayLack = config.text.tied === false ? [] : [LM_HEAD]
  checkpoint.expectNames(
    [...table.keys()].filter((name) => !mayLack.includes(name)),
    mayLack,
  )
  for (const [name, { axes, kind }] of table) {
    const tensor = checkpoint.tensors.get(name)
    if (!tensor) continue
    const { shape, storedName, dtype } = tensor
    if (shape.length !== axes.length || axes.some(([, size], i) => size !== shape[i])) {
      const wanted = axes.map(([field, size]) => `${field} = ${size}`).join(", ")
      throw new IsaacError(
        "bad_config",
        `${checkpoint.name}: ${storedName} has the shape [${shape.join(", ")}], but config.json asks for [${wanted}]`,
      )
    }
    const fits = dtype === "F32" || dtype === "F16" || dtype === "BF16" || (isPackedSource(dtype) && kind === "matrix")
    if (!fits) {
      throw new IsaacError(
        "bad_checkpoint",
        `${checkpoint.name}: ${storedName} is stored as ${dtype}; weights are read from F32, F16 and BF16` +
          (kind === "matrix" ? ", and from q8 and q4 in checkpoints that were converted" : ""),
      )
    }
  }
  return table
}
