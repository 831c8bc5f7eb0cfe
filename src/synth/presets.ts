/** Shapes of checkpoints that exist, as their config.json has them. The stop ids are those of isaac-tiny's tokenizer. */

type Json = Readonly<Record<string, unknown>>

/** Isaac 0.1: 2.57 billion parameters. */
const ISAAC_0_1 = {
  architectures: ["IsaacForConditionalGeneration"],
  model_type: "isaac",
  attention_bias: false,
  bos_token_id: 742,
  eos_token_id: 744,
  head_dim: 128,
  hidden_act: "silu",
  hidden_size: 2048,
  intermediate_size: 6144,
  max_position_embeddings: 40960,
  max_sequence_length: 16384,
  num_attention_heads: 16,
  num_hidden_layers: 28,
  num_key_value_heads: 8,
  pixel_shuffle_scale: 2,
  rms_norm_eps: 1e-6,
  rope_theta: 1e6,
  tie_word_embeddings: false,
  video_patch_size: 16,
  vision_config: {
    hidden_act: "gelu_pytorch_tanh",
    hidden_size: 1152,
    intermediate_size: 4304,
    layer_norm_eps: 1e-6,
    model_type: "pixel_shuffle_siglip2",
    num_attention_heads: 16,
    num_channels: 3,
    num_hidden_layers: 27,
    num_patches: 256,
    patch_size: 16,
    pixel_shuffle_scale_factor: 2,
  },
  vision_max_num_patches: 6144,
  vision_min_num_patches: 256,
  vision_token: "<image>",
  vocab_size: 151936,
}

/** The same model at a tenth of the parameters: half as wide, fewer layers, a quarter of the vocabulary. */
const ISAAC_0_1_TENTH = {
  ...ISAAC_0_1,
  hidden_size: 1024,
  head_dim: 64,
  intermediate_size: 3072,
  num_hidden_layers: 8,
  vision_config: {
    ...ISAAC_0_1.vision_config,
    hidden_size: 576,
    intermediate_size: 2152,
    num_hidden_layers: 14,
  },
  vocab_size: 37984,
}

/** The model that ships with the package. */
const ISAAC_TINY = {
  ...ISAAC_0_1,
  head_dim: 32,
  hidden_size: 192,
  intermediate_size: 512,
  max_position_embeddings: 2048,
  max_sequence_length: 2048,
  num_attention_heads: 6,
  num_hidden_layers: 4,
  num_key_value_heads: 2,
  rope_theta: 1e4,
  vision_config: {
    ...ISAAC_0_1.vision_config,
    hidden_size: 160,
    intermediate_size: 640,
    num_attention_heads: 5,
    num_hidden_layers: 5,
  },
  vision_max_num_patches: 256,
  vision_min_num_patches: 64,
  vocab_size: 768,
}

export const PRESETS: Readonly<Record<string, Json>> = {
  "isaac-0.1": ISAAC_0_1,
  "isaac-0.1-tenth": ISAAC_0_1_TENTH,
  "isaac-tiny": ISAAC_TINY,
}

/** A preset with at most `layers` layers in the decoder and in the vision tower. */
export function presetConfig(preset: keyof typeof PRESETS, layers = Number.POSITIVE_INFINITY): Json {
  const config = PRESETS[preset] as typeof ISAAC_0_1
  const { num_hidden_layers, vision_config } = config
  return {
    ...config,
    num_hidden_layers: Math.min(layers, num_hidden_layers),
    vision_config: { ...vision_config, num_hidden_layers: Math.min(layers, vision_config.num_hidden_layers) },
  }
}
