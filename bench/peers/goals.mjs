/** What we set out to reach on two cores with AVX-512 VNNI: the whole model, everything included. */

const native4 = "isaac-native-q4"
const native8 = "isaac-native-q8"
const wasm4 = "isaac-wasm-q4"
const wasm8 = "isaac-wasm-q8"

const least = (name, unit, least, value) => ({ name, unit, least, value })
const most = (name, unit, most, value) => ({ name, unit, most, value })
const of =
  (key, measure, scale = 1) =>
  (find) =>
    find(key)?.[measure] * scale
const ratio = (key, peer, measure) => (find) => find(key)?.[measure] / find(peer)?.[measure]
const ratioOfTime = (key, peer, measure) => (find) => find(peer)?.[measure] / find(key)?.[measure]

export const goals = [
  least("native: prefill, int8", "tok/s", 350, of(native8, "prefill_tok_s")),
  least("native: prefill, int4", "tok/s", 380, of(native4, "prefill_tok_s")),
  least("native: prefill, int4 ÷ llama.cpp Q4_0", "×", 2.5, ratio(native4, "llama-q4", "prefill_tok_s")),
  least("native: prefill, int8 ÷ llama.cpp Q4_0", "×", 2.5, ratio(native8, "llama-q4", "prefill_tok_s")),
  least("native: decode, int4", "tok/s", 50, of(native4, "decode_tok_s")),
  least("native: decode, int8", "tok/s", 32, of(native8, "decode_tok_s")),
  least("native: decode, int4 ÷ llama.cpp Q4_0", "×", 1.5, ratio(native4, "llama-q4", "decode_tok_s")),
  least("native: decode, int8 ÷ llama.cpp Q8_0", "×", 1.5, ratio(native8, "llama-q8", "decode_tok_s")),
  least("native: decode, batch of 8", "tok/s", 250, of(native4, "batch_decode_tok_s")),
  most("native: vision, 1200 patches", "s", 1.3, of(native8, "vision_ms", 1e-3)),
  least("native: vision, 1200 patches ÷ PyTorch bf16", "×", 3, ratioOfTime(native8, "torch", "vision_ms")),
  most("native: vision, 6144 patches", "s", 12.5, of(native8, "large_vision_ms", 1e-3)),
  least("native: vision, 6144 patches ÷ PyTorch bf16", "×", 4, ratioOfTime(native8, "torch", "large_vision_ms")),
  most("native: start from converted files", "s", 1, of(native4, "load_s")),
  most("native: peak memory, int4, 2048 tokens", "GB", 2.2, of(native4, "long_peak_rss_bytes", 1e-9)),
  least("WebAssembly: prefill, int4", "tok/s", 90, of(wasm4, "prefill_tok_s")),
  least("WebAssembly: prefill, int8", "tok/s", 90, of(wasm8, "prefill_tok_s")),
  least("WebAssembly: decode, int4", "tok/s", 25, of(wasm4, "decode_tok_s")),
  least("WebAssembly: decode, int8", "tok/s", 20, of(wasm8, "decode_tok_s")),
  least("WebAssembly: decode, batch of 8", "tok/s", 65, of(wasm4, "batch_decode_tok_s")),
  most("WebAssembly: vision, 1200 patches", "s", 6, of(wasm8, "vision_ms", 1e-3)),
  most("WebAssembly: vision, 6144 patches", "s", 75, of(wasm8, "large_vision_ms", 1e-3)),
  most("WebAssembly: start from converted files", "s", 5, of(wasm4, "load_s")),
  most("WebAssembly: peak memory, int4, 2048 tokens", "GB", 4.29, of(wasm4, "long_peak_rss_bytes", 1e-9)),
]
