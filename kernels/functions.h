// exp and what is made of it, lane by lane.
#pragma once

#include "simd.h"

// e^x. At most 2 ulp off where both it and 1/e^x are normal numbers, −87.33 ≤ x ≤ 88.37; 0 below −87.7, ∞ above; NaN is
// NaN.
//
// x = n·ln 2 + r with |r| ≤ ln 2 / 2, e^x = 2^n · e^r. ln 2 is split in two, the first half short enough that n times it
// is exact. The polynomial is the minimax of (e^r − 1 − r) / r² weighted for the relative error of e^r (5e-2 ulp).
ISAAC_INLINE vf exp_(vf x) {
  // Beyond these, n is −127 and 128: 2^n comes out as 0 and ∞.
  x = min(max(x, splat(-88.0f)), splat(89.0f));
  // Adding 1.5·2^23 leaves the nearest integer in the low bits.
  const vf magic = splat(12582912.0f);
  vf shifted = fma(x, splat(1.44269504f), magic);
  vf n = shifted - magic;
  vf r = fma(n, splat(-0.693359375f), x);
  r = fma(n, splat(2.12194440e-4f), r);
  vf p = splat(0.0013814599f);
  p = fma(p, r, splat(0.008368717f));
  p = fma(p, r, splat(0.04166839f));
  p = fma(p, r, splat(0.16666521f));
  p = fma(p, r, splat(0.49999994f));
  vf e = fma(p * r, r, r) + splat(1.0f);
  vi exponent = (as_int(shifted) + 127) << 23;  // the magic number's own bits are shifted out
  return e * as_float(exponent);
}

// x / (1 + e^−x)
ISAAC_INLINE vf silu(vf x) { return x / (splat(1.0f) + exp_(-x)); }

// 0.5·x·(1 + tanh(u)) with u = √(2/π)·(x + 0.044715·x³), which is x / (1 + e^−2u).
ISAAC_INLINE vf gelu_tanh(vf x) {
  vf cubic = fma(x * x * x, splat(0.044715f), x);
  return x / (splat(1.0f) + exp_(cubic * splat(-1.5957691216f)));
}
