import { packedModelTests } from "./model-packed"

// The vision tower and the projector are kept as q8.
packedModelTests("q4", {
  exact: 0.9,
  turn: {
    vision_layer_0: 4e-4,
    vision_layer_1: 7e-4,
    vision_post_layernorm: 7e-4,
    vision_projector: 1.3e-3,
    decoder_layer_0: 5e-2,
    decoder_layer_1: 7.5e-2,
    decoder_layer_2: 7.5e-2,
    final_norm: 8e-2,
    logits: 9e-2,
  },
  answers: { same: 4, alike: 11, moved: 25 },
})
