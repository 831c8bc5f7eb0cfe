// Rounding floats to whole numbers with a scale, as src/ops/reference/quantisation.ts defines it.
//
// A product must not be fused with a sum here: between the two there is always a clamp.
#pragma once

#include "simd.h"

// Activations, keys and values are −BYTE_LARGEST … BYTE_LARGEST.
constexpr int BYTE_LARGEST = 127;
constexpr uint32_t TINY_BITS = 0x0d800000u;      // 2^-100: where all is below, all is zero
constexpr uint32_t INFINITY_BITS = 0x7f800000u;  // larger: NaN

// The bits of the largest magnitude of n numbers: as whole numbers they are ordered as the magnitudes are, NaN last.
ISAAC_INLINE uint32_t largest_bits(const float* x, int n) {
  vi largest = {};
  int i = 0;
  for (; i + LANES <= n; i += LANES) {
    vi bits = as_int(load(x + i)) & 0x7fffffff;
    largest = bits > largest ? bits : largest;
  }
  uint32_t most = static_cast<uint32_t>(max_lanes(largest));
  for (; i < n; i++) {
    uint32_t bits = bits_of_float(x[i]) & 0x7fffffffu;
    most = bits > most ? bits : most;
  }
  return most;
}

// To the nearest whole number of at most ±most, halves away from zero. The largest float below a half is added, not a
// half: a half would lift the largest number below a half to one.
ISAAC_INLINE vi round_to(vf v, float most) {
  v = min(max(v, splat(-most)), splat(most));
  vi half = (as_int(v) & static_cast<int32_t>(0x80000000u)) | as_int(splat(0x1.fffffep-2f));
  return truncate(v + as_float(half));
}

// n numbers to every `step`th byte of `to`; returns their scale.
ISAAC_INLINE float quantise_to_bytes(const float* x, int n, int8_t* to, int step) {
  uint32_t largest = largest_bits(x, n);
  if (largest < TINY_BITS || largest >= INFINITY_BITS) {
    for (int i = 0; i < n; i++) to[i * step] = 0;
    return largest < TINY_BITS ? 0.0f : __builtin_nanf("");
  }
  float size = float_from_bits(largest);
  vf factor = splat(static_cast<float>(BYTE_LARGEST) / size);
  for (int i = 0; i < n; i += LANES) {
    int count = n - i < LANES ? n - i : LANES;
    vi whole = round_to((count == LANES ? load(x + i) : load_first(x + i, count)) * factor, BYTE_LARGEST);
    for (int lane = 0; lane < count; lane++) to[(i + lane) * step] = static_cast<int8_t>(whole[lane]);
  }
  return size / static_cast<float>(BYTE_LARGEST);
}
