import { packedModelTests } from "./model-packed"

// The vision tower and the projector are kept as q8.
packedModelTests("q4", {
  exact: 1,
  turn: {
    vision_layer_0: 4e-4,
    vision_layer_1: 7e-4,
    vision_post_layernorm: 7e-4,
    vision_projector: 1.3e-3,
    decoder_layer_0: 0.1,
    decoder_layer_1: 0.12,
    decoder_layer_2: 0.12,
    final_norm: 0.13,
    logits: 0.14,
  },
  answers: { same: 4, alike: 11, moved: 30 },
})
