// Vectors of floats as wide as the target has them, on GCC/Clang vector extensions: the arithmetic operators, <, ?: and
// conversions work lane by lane on any of them, so only what has no operator is written per instruction set here.
#pragma once

#include <stdint.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif
#if defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#endif

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
typedef int32_t vi_memory __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef uint32_t vu_memory __attribute__((vector_size(LANES * 4), aligned(2), may_alias));

ISAAC_INLINE vf load(const float* p) { return *reinterpret_cast<const vf_memory*>(p); }
ISAAC_INLINE vu load_words(const void* p) { return *static_cast<const vu_memory*>(p); }
ISAAC_INLINE void store(float* p, vf x) { *reinterpret_cast<vf_memory*>(p) = x; }
ISAAC_INLINE void store_ints(int32_t* p, vi x) { *reinterpret_cast<vi_memory*>(p) = x; }
// x − 0 is x for every x, so this is a plain broadcast.
ISAAC_INLINE vf splat(float x) { return x - vf{}; }
ISAAC_INLINE vi splat(int32_t x) { return x - vi{}; }
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

// Towards zero; x must be within the whole numbers' range.
ISAAC_INLINE vi truncate(vf x) {
#if defined(__wasm_relaxed_simd__)
  return __builtin_wasm_relaxed_trunc_s_i32x4_f32x4(x);
#else
  return __builtin_convertvector(x, vi);
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

template <class T, int N>
struct VectorOf {
  typedef T type __attribute__((vector_size(N * sizeof(T))));
};

// f of all lanes: of the lower and the upper half, lane by lane, then of that one's halves, and so on.
template <class T, int N, class F>
ISAAC_INLINE T fold_lanes(typename VectorOf<T, N>::type x, F f) {
  if constexpr (N == 4) {
    return f(f(x[0], x[2]), f(x[1], x[3]));
  } else {
    struct Halves {
      typename VectorOf<T, N / 2>::type lower, upper;
    };
    Halves halves = __builtin_bit_cast(Halves, x);
    return fold_lanes<T, N / 2>(f(halves.lower, halves.upper), f);
  }
}

ISAAC_INLINE float sum_lanes(vf x) {
  return fold_lanes<float, LANES>(x, [](auto a, auto b) { return a + b; });
}
ISAAC_INLINE int32_t sum_lanes(vi x) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_epi32(reinterpret_cast<__m512i>(x));  // without a way through memory
#else
  return fold_lanes<int32_t, LANES>(x, [](auto a, auto b) { return a + b; });
#endif
}
ISAAC_INLINE int32_t max_lanes(vi x) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_epi32(reinterpret_cast<__m512i>(x));
#else
  return fold_lanes<int32_t, LANES>(x, [](auto a, auto b) { return a > b ? a : b; });
#endif
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

// LANES numbers in their order.
ISAAC_INLINE vf load_bf16(const uint16_t* p) {
  typedef uint16_t vh_memory __attribute__((vector_size(LANES * 2), aligned(2), may_alias));
  return as_float(__builtin_convertvector(*reinterpret_cast<const vh_memory*>(p), vu) << 16);
}

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

// ── int8 dot products ───────────────────────────────────────────────────────────────────────────────────────────────
//
// dot(sum, weights, inputs): to each of LANES sums the products of four weights and four inputs are added. Weights are
// 0 … 127, LANES·4 bytes; inputs are −127 … 127, the same four for all sums. Exact on every target: no instruction
// used here saturates on such numbers.

ISAAC_INLINE vi load_ints(const void* p) {
  typedef int32_t bytes_memory __attribute__((vector_size(LANES * 4), aligned(1), may_alias));
  return *static_cast<const bytes_memory*>(p);
}
ISAAC_INLINE int32_t load_int(const void* p) {
  typedef int32_t int_memory __attribute__((aligned(1), may_alias));
  return *static_cast<const int_memory*>(p);
}

#if defined(__wasm_simd128__) && !defined(__wasm_relaxed_simd__)
// No instruction multiplies bytes: weights are taken apart into their even and odd bytes, and inputs are stored as 16-bit
// numbers in that order.
constexpr int DOT_INPUT_BYTES = 8;
typedef int16_t vs __attribute__((vector_size(LANES * 4)));
struct DotWeights {
  vs even, odd;
};
struct DotInputs {
  vs even, odd;
};
ISAAC_INLINE DotWeights dot_weights(const void* p) {
  vi bytes = load_ints(p);
  typedef uint16_t vus __attribute__((vector_size(LANES * 4)));
  return {reinterpret_cast<vs>(bytes & 0x00ff00ff), reinterpret_cast<vs>(reinterpret_cast<vus>(bytes) >> 8)};
}
ISAAC_INLINE DotInputs dot_inputs(const void* p) {
  const char* bytes = static_cast<const char*>(p);
  return {reinterpret_cast<vs>(splat(load_int(bytes))), reinterpret_cast<vs>(splat(load_int(bytes + 4)))};
}
ISAAC_INLINE vi dot(vi sum, DotWeights w, DotInputs x) {
  return sum + __builtin_wasm_dot_s_i32x4_i16x8(w.even, x.even) + __builtin_wasm_dot_s_i32x4_i16x8(w.odd, x.odd);
}
// LANES numbers, four by four, `stride` bytes apart.
ISAAC_INLINE void store_dot_inputs(char* p, size_t, vi x) {
  vs halves = reinterpret_cast<vs>(x);
  typedef int16_t vh __attribute__((vector_size(8)));
  typedef int16_t vh_memory __attribute__((vector_size(8), aligned(1), may_alias));
  vh even_odd = __builtin_shufflevector(halves, halves, 0, 4, 2, 6);
  *reinterpret_cast<vh_memory*>(p) = even_odd;
}
#else
constexpr int DOT_INPUT_BYTES = 4;
typedef vi DotWeights;
typedef vi DotInputs;
ISAAC_INLINE DotWeights dot_weights(const void* p) { return load_ints(p); }
ISAAC_INLINE DotInputs dot_inputs(const void* p) { return splat(load_int(p)); }
ISAAC_INLINE vi dot(vi sum, DotWeights w, DotInputs x) {
#if defined(__wasm_relaxed_simd__)
  typedef signed char vb __attribute__((vector_size(16)));
  // The second factor is the one of 7 bits.
  return __builtin_wasm_relaxed_dot_i8x16_i7x16_add_s_i32x4(reinterpret_cast<vb>(x), reinterpret_cast<vb>(w), sum);
#elif defined(__AVX512VNNI__)
  return reinterpret_cast<vi>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sum), reinterpret_cast<__m512i>(w),
                                                  reinterpret_cast<__m512i>(x)));
#elif defined(__AVX512BW__)
  __m512i pairs = _mm512_maddubs_epi16(reinterpret_cast<__m512i>(w), reinterpret_cast<__m512i>(x));
  return sum + reinterpret_cast<vi>(_mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
#elif defined(__AVXVNNI__)
  return reinterpret_cast<vi>(_mm256_dpbusd_avx_epi32(reinterpret_cast<__m256i>(sum), reinterpret_cast<__m256i>(w),
                                                      reinterpret_cast<__m256i>(x)));
#elif defined(__AVX2__) && !defined(__AVX512F__)
  __m256i pairs = _mm256_maddubs_epi16(reinterpret_cast<__m256i>(w), reinterpret_cast<__m256i>(x));
  return sum + reinterpret_cast<vi>(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
#elif defined(__ARM_FEATURE_DOTPROD)
  return reinterpret_cast<vi>(
      vdotq_s32(reinterpret_cast<int32x4_t>(sum), reinterpret_cast<int8x16_t>(w), reinterpret_cast<int8x16_t>(x)));
#else
  // Byte by byte, each shifted to the top and back with its sign.
  for (int i = 0; i < 32; i += 8) sum += ((w << (24 - i)) >> 24) * ((x << (24 - i)) >> 24);
  return sum;
#endif
}
// LANES numbers, four by four, `stride` bytes apart.
ISAAC_INLINE void store_dot_inputs(char* p, size_t stride, vi x) {
  typedef signed char vb __attribute__((vector_size(LANES)));
  vb bytes = __builtin_convertvector(x, vb);
  for (int i = 0; i < LANES / 4; i++) __builtin_memcpy(p + i * stride, reinterpret_cast<char*>(&bytes) + 4 * i, 4);
}
#endif

// ── Pairs of bfloat16 ───────────────────────────────────────────────────────────────────────────────────────────────

// A word is a pair, the first number in its low half.
#if defined(__AVX512BF16__)
#define ISAAC_HAS_PAIR_DOT 1

ISAAC_INLINE vu splat(uint32_t x) { return x - vu{}; }
ISAAC_INLINE void store_words(void* p, vu x) { *static_cast<vu_memory*>(p) = x; }
ISAAC_INLINE uint32_t pair_of(float low, float high) {
  return to_bf16(low) | static_cast<uint32_t>(to_bf16(high)) << 16;
}
// LANES pairs of neighbours.
ISAAC_INLINE vu load_pairs(const float* p) {
  return reinterpret_cast<vu>(_mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(load(p + LANES)), reinterpret_cast<__m512>(load(p))));
}
// Lane by lane.
ISAAC_INLINE vu pairs_of(vf low, vf high) {
  // Sixteen of `low`, then sixteen of `high`: interleave them.
  __m512i halves = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(high), reinterpret_cast<__m512>(low)));
  typedef uint16_t vh __attribute__((vector_size(64)));
  constexpr vh order = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                        8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return reinterpret_cast<vu>(_mm512_permutexvar_epi16(reinterpret_cast<__m512i>(order), halves));
}
// To each lane of sums the products of two pairs are added.
ISAAC_INLINE vf pair_dot(vf sum, vu x, vu y) {
  return reinterpret_cast<vf>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(sum), reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(y)));
}
ISAAC_INLINE vu as_words(vf x) { return reinterpret_cast<vu>(x); }
// The first n ≤ LANES numbers.
ISAAC_INLINE void store_some(float* p, vf x, int n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), reinterpret_cast<__m512>(x));
}
// Row i of x becomes column i: in four steps, each of which swaps the off-diagonal quarters of squares twice as large.
ISAAC_INLINE void transpose(vu x[LANES]) {
  ISAAC_UNROLL
  for (int size = 1; size < LANES; size *= 2) {
    vu above, below;
    for (uint32_t lane = 0; lane < LANES; lane++) {
      bool right = lane & size;
      above[lane] = right ? LANES + lane - size : lane;
      below[lane] = right ? LANES + lane : lane + size;
    }
    ISAAC_UNROLL
    for (int i = 0; i < LANES; i++) {
      if (i & size) continue;
      __m512i a = reinterpret_cast<__m512i>(x[i]), b = reinterpret_cast<__m512i>(x[i + size]);
      x[i] = reinterpret_cast<vu>(_mm512_permutex2var_epi32(a, reinterpret_cast<__m512i>(above), b));
      x[i + size] = reinterpret_cast<vu>(_mm512_permutex2var_epi32(a, reinterpret_cast<__m512i>(below), b));
    }
  }
}
// 2^x for x ≤ 0, at most 1e-4 of it off: a fifth of what rounding to bfloat16 may change. 0 below −150.
ISAAC_INLINE vf exp2_rough(vf x) {
  // 2^x = 2^⌊x⌋ · 2^r with 0 ≤ r < 1. 2^r by a polynomial that is exact at 0: the largest score counts as 1.
  __m512 exponent = reinterpret_cast<__m512>(x);
  vf r = reinterpret_cast<vf>(_mm512_reduce_ps(exponent, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC));
  vf p = splat(0.0770672f);
  p = fma(p, r, splat(0.2276448f));
  p = fma(p, r, splat(0.6951168f));
  p = fma(p, r, splat(1.0f));
  return reinterpret_cast<vf>(_mm512_scalef_ps(reinterpret_cast<__m512>(p), exponent));
}
#else
#define ISAAC_HAS_PAIR_DOT 0
#endif
