// Vectors of floats as wide as the target has them, on GCC/Clang vector extensions: the arithmetic operators, <, ?: and
// conversions work lane by lane on any of them, so only what has no operator is written per instruction set here.
#pragma once

#include <stdint.h>

#if defined(__AVX512F__)
#define ISAAC_LANES 16
#elif defined(__AVX2__)
#define ISAAC_LANES 8
#else
#define ISAAC_LANES 4  // WebAssembly SIMD128, NEON, SSE2
#endif

#if defined(__wasm_relaxed_simd__) || defined(__AVX2__) || defined(__AVX512F__) || defined(__aarch64__)
#define ISAAC_HAS_FMA 1
#else
#define ISAAC_HAS_FMA 0
#endif

#define ISAAC_ALWAYS_INLINE inline __attribute__((always_inline))
#define ISAAC_INLINE static ISAAC_ALWAYS_INLINE

// Inner loops are functions of their own: an engine's register allocator that sees a whole kernel spills the sums.
#define ISAAC_NOINLINE static __attribute__((noinline))

#if defined(__clang__)
#define ISAAC_UNROLL _Pragma("clang loop unroll(full)")
#else
#define ISAAC_UNROLL _Pragma("GCC unroll 16")
#endif

constexpr int LANES = ISAAC_LANES;

typedef float vf __attribute__((vector_size(LANES * 4)));
typedef int32_t vi __attribute__((vector_size(LANES * 4)));
typedef uint32_t vu __attribute__((vector_size(LANES * 4)));
// The same in memory at any address.
typedef float vf_memory __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef uint32_t vu_memory __attribute__((vector_size(LANES * 4), aligned(2), may_alias));

ISAAC_INLINE vf load(const float* p) { return *reinterpret_cast<const vf_memory*>(p); }
ISAAC_INLINE vu load_words(const void* p) { return *static_cast<const vu_memory*>(p); }
ISAAC_INLINE void store(float* p, vf x) { *reinterpret_cast<vf_memory*>(p) = x; }
// x − 0 is x for every x, so this is a plain broadcast.
ISAAC_INLINE vf splat(float x) { return x - vf{}; }
ISAAC_INLINE vi as_int(vf x) { return reinterpret_cast<vi>(x); }
ISAAC_INLINE vf as_float(vi x) { return reinterpret_cast<vf>(x); }
ISAAC_INLINE vf as_float(vu x) { return reinterpret_cast<vf>(x); }

// a·b + c, in one rounding where the target can.
ISAAC_INLINE vf fma(vf a, vf b, vf c) {
#if defined(__wasm_relaxed_simd__)
  return __builtin_wasm_relaxed_madd_f32x4(a, b, c);
#else
  return a * b + c;  // contracted by -ffp-contract=fast on targets that have the instruction
#endif
}

// The larger; `a` if it is NaN.
ISAAC_INLINE vf max(vf a, vf b) {
#if defined(__wasm_simd128__)
  return __builtin_wasm_pmax_f32x4(a, b);
#else
  return a < b ? b : a;
#endif
}

// The smaller; `a` if it is NaN.
ISAAC_INLINE vf min(vf a, vf b) {
#if defined(__wasm_simd128__)
  return __builtin_wasm_pmin_f32x4(a, b);
#else
  return b < a ? b : a;
#endif
}

ISAAC_INLINE float sum_lanes(vf x) {
  float lanes[LANES];
  store(lanes, x);
  for (int width = LANES / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; i++) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

ISAAC_INLINE float max_lanes(vf x) {
  float lanes[LANES];
  store(lanes, x);
  float largest = lanes[0];
  for (int i = 1; i < LANES; i++) largest = lanes[i] > largest ? lanes[i] : largest;
  return largest;
}

// The first n < LANES numbers at p, zeros behind them.
ISAAC_INLINE vf load_first(const float* p, int n) {
  float lanes[LANES] = {};
  for (int i = 0; i < n; i++) lanes[i] = p[i];
  return load(lanes);
}

ISAAC_INLINE void store_first(float* p, vf x, int n) {
  float lanes[LANES];
  store(lanes, x);
  for (int i = 0; i < n; i++) p[i] = lanes[i];
}

// ── bfloat16 and float16 ────────────────────────────────────────────────────────────────────────────────────────────

// A word holds two bfloat16 numbers, the first in its low half. Widening is a shift or a mask.
ISAAC_INLINE vf bf16_low(vu words) { return as_float(words << 16); }
ISAAC_INLINE vf bf16_high(vu words) { return as_float(words & 0xffff0000u); }

ISAAC_INLINE float float_from_bits(uint32_t bits) { return __builtin_bit_cast(float, bits); }
ISAAC_INLINE uint32_t bits_of_float(float x) { return __builtin_bit_cast(uint32_t, x); }
ISAAC_INLINE float from_bf16(uint16_t x) { return float_from_bits(static_cast<uint32_t>(x) << 16); }

// To the nearest, ties to even; a NaN stays one.
ISAAC_INLINE uint16_t to_bf16(float x) {
  uint32_t bits = bits_of_float(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16);
}

ISAAC_INLINE float from_f16(uint16_t x) {
  uint32_t sign = static_cast<uint32_t>(x & 0x8000u) << 16;
  uint32_t magnitude = x & 0x7fffu;
  // Infinities and NaNs keep their payload.
  if (magnitude >= 0x7c00u) return float_from_bits(sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13));
  // Shift the fields into place, then correct the exponent's bias by a product, which is right for subnormals as well.
  float value = float_from_bits(magnitude << 13) * 0x1p112f;
  return float_from_bits(bits_of_float(value) | sign);
}
