import { describe, expect, it } from "vitest"
import { canonicalName, canonicalShape, compareNames } from "./checkpoint-names"

describe("checkpoint names", () => {
  it.each([
    // 0.1: the canonical names stay.
    ["model.embed_tokens.weight", "model.embed_tokens.weight"],
    ["model.layers.27.self_attn.q_proj.weight", "model.layers.27.self_attn.q_proj.weight"],
    [
      "model.vision_embedding.0.encoder.layers.3.mlp.fc1.bias",
      "model.vision_embedding.0.encoder.layers.3.mlp.fc1.bias",
    ],
    ["model.vision_embedding.3.weight", "model.vision_embedding.3.weight"],
    ["lm_head.weight", "lm_head.weight"],
    // 0.2
    ["model.text_model.embed_tokens.weight", "model.embed_tokens.weight"],
    ["model.text_model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight"],
    ["model.text_model.norm.weight", "model.norm.weight"],
    ["model.text_model.lm_head.weight", "lm_head.weight"],
    ["model.lm_head.weight", "lm_head.weight"],
    // Library
    ["model.language_model.layers.0.input_layernorm.weight", "model.layers.0.input_layernorm.weight"],
    [
      "model.visual.encoder.layers.1.layer_norm2.weight",
      "model.vision_embedding.0.encoder.layers.1.layer_norm2.weight",
    ],
    ["model.visual.post_layernorm.bias", "model.vision_embedding.0.post_layernorm.bias"],
    ["model.visual.embeddings.patch_embedding.weight", "model.vision_embedding.0.embeddings.patch_embedding.weight"],
    ["model.visual.embeddings.position_embedding", "model.vision_embedding.0.embeddings.position_embedding.weight"],
    ["model.multimodal_projector.linear_1.weight", "model.vision_embedding.1.weight"],
    ["model.multimodal_projector.linear_2.weight", "model.vision_embedding.3.weight"],
    // Unknown names stay, to be reported as left over.
    ["model.audio.weight", "model.audio.weight"],
  ])("%s is %s", (stored, canonical) => expect(canonicalName(stored)).toBe(canonical))

  it.each(["model.rotary_emb.inv_freq", "rotary_emb.inv_freq", "model.layers.0.self_attn.rotary_emb.inv_freq"])(
    "%s holds no weight",
    (stored) => expect(canonicalName(stored)).toBeUndefined(),
  )

  it("flattens a square position table only", () => {
    const table = "model.vision_embedding.0.embeddings.position_embedding.weight"
    expect(canonicalShape(table, [16, 16, 48])).toEqual([256, 48])
    expect(canonicalShape(table, [256, 48])).toEqual([256, 48])
    expect(canonicalShape(table, [8, 32, 48])).toEqual([8, 32, 48])
    expect(canonicalShape("model.norm.weight", [2, 3, 4])).toEqual([2, 3, 4])
  })

  it("names what is missing and what is left over", () => {
    expect(compareNames(["a", "b", "c"], ["d"], ["x", "d", "b"])).toEqual({ missing: ["a", "c"], leftOver: ["x"] })
  })
})
