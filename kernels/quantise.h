// Rounding floats to whole numbers with a scale, as src/ops/reference/quantisation.ts defines it for activations.
//
// A product must not be fused with a sum here: between the two there is always a clamp.
#pragma once

#include "simd.h"

// Whole numbers are −BYTE_LARGEST … BYTE_LARGEST.
constexpr int BYTE_LARGEST = 127;
// Bits of 2^-100 (below, everything is zero) and of infinity (from here on, nothing is a number).
constexpr uint32_t TINY_MAGNITUDE = 0x0d800000u;
constexpr uint32_t INFINITE_MAGNITUDE = 0x7f800000u;

// Bits of the largest magnitude of n numbers: as whole numbers they are ordered as the magnitudes are, NaN last.
ISAAC_INLINE uint32_t largest_magnitude(const float* x, int n) {
  vi largest = {};
  for (int i = 0; i < n; i += LANES) {
    vi bits = as_int(i + LANES <= n ? load(x + i) : load_first(x + i, n - i)) & 0x7fffffff;
    largest = bits > largest ? bits : largest;
  }
  uint32_t most = 0;
  for (int lane = 0; lane < LANES; lane++) {
    uint32_t bits = static_cast<uint32_t>(largest[lane]);
    most = bits > most ? bits : most;
  }
  return most;
}

// To the nearest whole number of at most ±127, halves away from zero. The largest float below a half is added, not a
// half: a half would lift the largest number below a half to one.
ISAAC_INLINE vi nearest_byte(vf v) {
  v = min(max(v, splat(static_cast<float>(-BYTE_LARGEST))), splat(static_cast<float>(BYTE_LARGEST)));
  vi half = (as_int(v) & static_cast<int32_t>(0x80000000u)) | as_int(splat(0x1.fffffep-2f));
  return truncate(v + as_float(half));
}

// n numbers to every `step`th byte of `to`; returns their scale.
ISAAC_INLINE float quantise_to_bytes(const float* x, int n, int8_t* to, int step) {
  uint32_t largest = largest_magnitude(x, n);
  if (largest < TINY_MAGNITUDE || largest >= INFINITE_MAGNITUDE) {
    for (int i = 0; i < n; i++) to[i * step] = 0;
    return largest < TINY_MAGNITUDE ? 0.0f : __builtin_nanf("");
  }
  float size = float_from_bits(largest);
  vf factor = splat(static_cast<float>(BYTE_LARGEST) / size);
  for (int i = 0; i < n; i += LANES) {
    int count = n - i < LANES ? n - i : LANES;
    vi whole = nearest_byte((count == LANES ? load(x + i) : load_first(x + i, count)) * factor);
    for (int lane = 0; lane < count; lane++) to[(i + lane) * step] = static_cast<int8_t>(whole[lane]);
  }
  return size / static_cast<float>(BYTE_LARGEST);
}
