import { packedModelTests } from "./model-packed"

packedModelTests("q4", {
  exact: 1,
  turn: {
    vision_layer_0: 1.9e-2,
    vision_layer_1: 2.8e-2,
    vision_post_layernorm: 3e-2,
    vision_projector: 5e-2,
    decoder_layer_0: 0.1,
    decoder_layer_1: 0.12,
    decoder_layer_2: 0.12,
    final_norm: 0.13,
    logits: 0.14,
  },
  answers: { same: 4, alike: 11, moved: 30 },
})
