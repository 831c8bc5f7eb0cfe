import { packedModelTests } from "./model-packed"

packedModelTests("q8", {
  exact: 0.15,
  turn: {
    vision_layer_0: 4e-4,
    vision_layer_1: 7e-4,
    vision_post_layernorm: 7e-4,
    vision_projector: 1.3e-3,
    decoder_layer_0: 2.6e-3,
    decoder_layer_1: 4e-3,
    decoder_layer_2: 4e-3,
    final_norm: 4.5e-3,
    logits: 5e-3,
  },
  answers: { same: 8, alike: 12, moved: 15 },
})
