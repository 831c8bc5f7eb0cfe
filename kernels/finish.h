// What comes after the products of a linear layer: bias, activation, residual.
#pragma once

#include "abi.h"
#include "functions.h"
#include "simd.h"

struct Finish {
  float* out;             // [rows, columns]
  const float* bias;      // [columns] or null
  const float* residual;  // [rows, columns] or null
  int activation;         // Activation
  int columns;
  bool accumulate;  // add to what is in `out`

  // Columns column … of a row: `sums` are `width` of them, of which those past the last column do not count.
  void row(const float* sums, size_t row, int column, int width) const {
    for (int i = 0; i < width; i += LANES) {
      int valid = columns - column - i;
      if (valid <= 0) return;
      size_t at = row * columns + column + i;
      if (valid >= LANES) vector(load(sums + i), at, column + i, load, store);
      else vector(load(sums + i), at, column + i, LoadFirst{valid}, StoreFirst{valid});
    }
  }

 private:
  struct LoadFirst {
    int n;
    vf operator()(const float* p) const { return load_first(p, n); }
  };
  struct StoreFirst {
    int n;
    void operator()(float* p, vf x) const { store_first(p, x, n); }
  };

  template <class Load, class Store>
  ISAAC_ALWAYS_INLINE void vector(vf y, size_t at, int column, Load load_at, Store store_at) const {
    if (accumulate) y += load_at(out + at);
    if (bias) y += load_at(bias + column);
    if (activation == ACTIVATION_SILU) y = silu(y);
    if (activation == ACTIVATION_GELU) y = gelu_tanh(y);
    if (residual) y += load_at(residual + at);
    store_at(out + at, y);
  }
};
