import { describe, expect, it } from "vitest"
import { readGoldenJson } from "../../test/golden"
import { parseConfig } from "./config"

type Json = Record<string, unknown>

/** A flat config as Isaac 0.1 has it. */
const flat = (): Json => ({
  hidden_size: 2048,
  intermediate_size: 6144,
  num_hidden_layers: 28,
  num_attention_heads: 16,
  num_key_value_heads: 8,
  head_dim: 128,
  vocab_size: 151936,
  rms_norm_eps: 1e-6,
  rope_theta: 1e6,
  max_sequence_length: 16384,
  eos_token_id: 151645,
  pixel_shuffle_scale: 2,
  vision_patch_size: 16,
  vision_max_num_patches: 6144,
  vision_min_num_patches: 256,
  vision_config: {
    hidden_size: 1152,
    intermediate_size: 4304,
    num_hidden_layers: 27,
    num_attention_heads: 16,
    num_patches: 256,
    patch_size: 16,
    layer_norm_eps: 1e-6,
    pixel_shuffle_scale_factor: 2,
  },
})

const TEXT = [
  "hidden_size",
  "intermediate_size",
  "num_hidden_layers",
  "num_attention_heads",
  "num_key_value_heads",
  "head_dim",
  "vocab_size",
  "rms_norm_eps",
  "rope_theta",
]

/** The same with the decoder's fields under text_config, as 0.2 has them. */
function nested(): Json {
  const config = flat()
  const text: Json = {}
  for (const key of TEXT) {
    text[key] = config[key]
    delete config[key]
  }
  return { ...config, text_config: text }
}

const vision = (changes: Json, config = flat()): Json => ({
  ...config,
  vision_config: { ...(config.vision_config as Json), ...changes },
})

function without(config: Json, ...keys: string[]): Json {
  const out = { ...config }
  for (const key of keys) delete out[key]
  return out
}

describe("config", () => {
  it("reads flat and nested files alike", () => {
    const config = parseConfig(flat())
    expect(config).toMatchObject({
      text: { hiddenSize: 2048, layers: 28, heads: 16, kvHeads: 8, headDim: 128, intermediateSize: 6144 },
      vision: { hiddenSize: 1152, layers: 27, heads: 16, headDim: 72, patchSize: 16, gridSide: 16, pixelShuffle: 2 },
      maxSequenceLength: 16384,
      stopIds: [151645],
      visionToken: "<image>",
      mropeInterleaved: false,
    })
    expect(config.text).toMatchObject({ vocabSize: 151936, rmsEps: 1e-6, ropeTheta: 1e6, tied: undefined })
    expect(config.vision).toMatchObject({
      minPatches: 256,
      maxPatches: 6144,
      intermediateSize: 4304,
      layerNormEps: 1e-6,
    })
    expect(parseConfig(nested())).toEqual(config)
  })

  it("reads the random checkpoint's", () => {
    const { text, vision, maxSequenceLength } = parseConfig(readGoldenJson("random-tiny/config.json"))
    expect(text).toMatchObject({ hiddenSize: 64, layers: 3, heads: 4, kvHeads: 2, headDim: 32, tied: false })
    expect(vision).toMatchObject({ hiddenSize: 48, headDim: 12, minPatches: 12, maxPatches: 48 })
    expect(maxSequenceLength).toBe(64)
  })

  it("is not bound to any size", () => {
    const { text, vision: tower } = parseConfig({
      ...vision({
        hidden_size: 24,
        num_attention_heads: 4,
        num_patches: 49,
        pixel_shuffle_scale_factor: 3,
        patch_size: 10,
      }),
      vision_patch_size: 10,
      pixel_shuffle_scale: 3,
      head_dim: 16,
      rope_theta: 500,
    })
    expect([text.headDim, text.ropeTheta]).toEqual([16, 500])
    expect([tower.patchSize, tower.pixelShuffle, tower.headDim, tower.gridSide]).toEqual([10, 3, 6, 7])
  })

  describe("rope theta", () => {
    const bare = () => without(flat(), "rope_theta")
    it.each(["rope_parameters", "_rope_parameters", "_rope_scaling", "rope_scaling"])("is found in %s", (key) => {
      expect(parseConfig({ ...bare(), [key]: { rope_theta: 500 } }).text.ropeTheta).toBe(500)
      expect(parseConfig({ ...bare(), text_config: { [key]: { rope_theta: 500 } } }).text.ropeTheta).toBe(500)
    })
    it("is never assumed", () => {
      expect(() => parseConfig(bare())).toThrow(/there is no rope_theta/)
      expect(() => parseConfig({ ...bare(), rope_scaling: { rope_type: "default" } })).toThrow(/there is no rope_theta/)
    })
    it("is refused when two places disagree", () => {
      expect(() => parseConfig({ ...flat(), rope_parameters: { rope_theta: 500 } })).toThrow(
        /config\.json: rope_theta is 1000000, but rope_parameters: rope_theta is 500/,
      )
    })
  })

  describe("patch size", () => {
    const bare = (size?: number) => without(vision({ patch_size: size }), "vision_patch_size")
    it("comes from vision_patch_size, vision_config.patch_size, video_patch_size, else 16", () => {
      expect(parseConfig({ ...bare(), vision_patch_size: 10, video_patch_size: 12 }).vision.patchSize).toBe(10)
      expect(parseConfig({ ...bare(14), video_patch_size: 12 }).vision.patchSize).toBe(14)
      expect(parseConfig({ ...bare(), video_patch_size: 12 }).vision.patchSize).toBe(12)
      expect(parseConfig(bare()).vision.patchSize).toBe(16)
    })
    it("is refused when config or processor disagree", () => {
      expect(() => parseConfig({ ...bare(14), vision_patch_size: 10 })).toThrow(
        /vision_patch_size is 10.*patch_size is 14/,
      )
      expect(() => parseConfig(flat(), undefined, { image_processor: { patch_size: 14 } })).toThrow(/is 16.*is 14/)
    })
  })

  describe("pixel shuffle", () => {
    it("is refused when its two fields disagree, naming both", () => {
      expect(() => parseConfig(vision({ pixel_shuffle_scale_factor: 3 }))).toThrow(
        /pixel_shuffle_scale is 2, but vision_config: pixel_shuffle_scale_factor is 3/,
      )
      expect(() => parseConfig(flat(), undefined, { image_processor: { pixel_shuffle_scale: 4 } })).toThrow(
        /is 2.*is 4/,
      )
    })
    it("is taken from the one that is there, else 1", () => {
      expect(parseConfig(without(flat(), "pixel_shuffle_scale")).vision.pixelShuffle).toBe(2)
      const neither = without(vision({ pixel_shuffle_scale_factor: undefined }), "pixel_shuffle_scale")
      expect(parseConfig(neither).vision.pixelShuffle).toBe(1)
    })
  })

  it("stops at the ids of both files", () => {
    expect(parseConfig(flat(), { eos_token_id: [151645, 151643] }).stopIds).toEqual([151645, 151643])
    expect(parseConfig({ ...flat(), eos_token_id: [1, 2] }, { eos_token_id: 3 }).stopIds).toEqual([1, 2, 3])
    expect(parseConfig({ ...flat(), eos_token_id: null, text_config: { eos_token_id: 4 } }).stopIds).toEqual([4])
    expect(() => parseConfig({ ...flat(), eos_token_id: "x" })).toThrow(/eos_token_id is "x"/)
  })

  it("finds the image limits in the config or the processor's", () => {
    const bare = () => without(flat(), "vision_max_num_patches", "vision_min_num_patches")
    const limits = (processor?: Json) => {
      const { minPatches, maxPatches } = parseConfig(bare(), undefined, processor).vision
      return [minPatches, maxPatches]
    }
    expect(limits({ config: { vision_max_num_patches: 99, vision_min_num_patches: 9 } })).toEqual([9, 99])
    expect(limits({ image_processor: { max_num_patches: 88, min_num_patches: 8 } })).toEqual([8, 88])
    expect(limits({ max_num_patches: 77 })).toEqual([null, 77])
    expect(limits()).toEqual([null, 256])
    expect(() => parseConfig(flat(), undefined, { image_processor: { max_num_patches: 88 } })).toThrow(/6144.*88/)
    expect(() => parseConfig({ ...flat(), vision_min_num_patches: 7000 })).toThrow(/is 7000, more than .* 6144/)
  })

  it("fills in a head size from the shapes, else hidden / heads", () => {
    const bare = without(flat(), "head_dim", "vocab_size")
    const tensors = new Map([
      ["model.layers.0.self_attn.q_norm.weight", { shape: [64] }],
      ["model.embed_tokens.weight", { shape: [777, 2048] }],
    ])
    expect(parseConfig(bare, undefined, undefined, tensors).text).toMatchObject({ headDim: 64, vocabSize: 777 })
    expect(parseConfig({ ...bare, vocab_size: 5 }).text.headDim).toBe(128)
  })

  it("reports interleaved MRoPE, and says whether embeddings are tied", () => {
    expect(parseConfig({ ...flat(), rope_scaling: { mrope_interleaved: true } }).mropeInterleaved).toBe(true)
    expect(parseConfig({ ...flat(), tie_word_embeddings: true }).text.tied).toBe(true)
    expect(parseConfig({ ...flat(), text_config: { tie_word_embeddings: false } }).text.tied).toBe(false)
  })

  it.each([
    ["no vision_config", without(flat(), "vision_config"), /no vision_config/],
    ["a vision_config that is no object", { ...flat(), vision_config: [1] }, /vision_config is \[1\]/],
    ["a missing size", without(flat(), "hidden_size"), /hidden_size is missing/],
    ["a missing vision size", vision({ hidden_size: undefined }), /vision_config\.hidden_size is missing/],
    ["a size that is text", { ...flat(), num_hidden_layers: "28" }, /num_hidden_layers is "28"/],
    ["a fractional size", { ...flat(), hidden_size: 2048.5 }, /hidden_size is 2048\.5/],
    ["an absurd size", { ...flat(), vocab_size: 1e12 }, /vocab_size is 1000000000000/],
    ["kv heads that do not divide the heads", { ...flat(), num_key_value_heads: 5 }, /16, not a multiple of .* 5/],
    ["a head size MRoPE cannot split", { ...flat(), head_dim: 12 }, /head_dim is 12/],
    ["vision heads that do not divide", vision({ num_attention_heads: 7 }), /1152, not a multiple .* 7/],
    ["a table that is no square", vision({ num_patches: 200 }), /num_patches is 200/],
    ["another activation", { ...flat(), hidden_act: "gelu" }, /hidden_act is "gelu"/],
    ["another vision activation", vision({ hidden_act: "relu" }), /vision_config\.hidden_act is "relu"/],
    ["gray images", vision({ num_channels: 1 }), /num_channels is 1/],
    ["attention biases", { ...flat(), attention_bias: true }, /attention_bias is true/],
    ["a sliding window", { ...flat(), use_sliding_window: true }, /use_sliding_window is true/],
    ["a negative epsilon", { ...flat(), rms_norm_eps: -1 }, /rms_norm_eps is -1/],
    ["an empty vision token", { ...flat(), vision_token: "" }, /vision_token is ""/],
    ["two hidden sizes", { ...flat(), text_config: { hidden_size: 1024 } }, /hidden_size is 1024, but .* 2048/],
    ["no sequence length", without(flat(), "max_sequence_length"), /max_sequence_length is missing/],
  ])("refuses %s", (_, config, message) => {
    let thrown: unknown
    try {
      parseConfig(config)
    } catch (error) {
      thrown = error
    }
    expect(thrown).toMatchObject({ code: "bad_config", message: expect.stringMatching(message) })
  })
})
