/** The config of the published checkpoint (Isaac 0.1), as far as sizes go. */
export const PUBLISHED_CONFIG: Readonly<Record<string, unknown>> = {
  hidden_size: 2048,
  intermediate_size: 6144,
  num_hidden_layers: 28,
  num_attention_heads: 16,
  num_key_value_heads: 8,
  head_dim: 128,
  vocab_size: 151936,
  rope_theta: 1e6,
  max_sequence_length: 16384,
  vision_max_num_patches: 6144,
  pixel_shuffle_scale: 2,
  vision_config: {
    hidden_size: 1152,
    intermediate_size: 4304,
    num_hidden_layers: 27,
    num_attention_heads: 16,
    num_patches: 256,
    patch_size: 16,
  },
}
