// A checkpoint's numbers as floats.
#pragma once

#include "abi.h"
#include "simd.h"

ISAAC_INLINE float read_source(const void* source, int type, size_t at) {
  if (type == SOURCE_F32) return static_cast<const float*>(source)[at];
  uint16_t bits = static_cast<const uint16_t*>(source)[at];
  return type == SOURCE_F16 ? from_f16(bits) : from_bf16(bits);
}

// Numbers at … at+n-1.
ISAAC_INLINE void read_source(const void* source, int type, size_t at, int n, float* out) {
  for (int i = 0; i < n; i++) out[i] = read_source(source, type, at + i);
}
