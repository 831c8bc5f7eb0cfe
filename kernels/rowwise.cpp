// Norms, rotary embedding, elementwise functions and rows moved about: memory is the limit of all of them.

#include "abi.h"
#include "functions.h"
#include "simd.h"

// Σ f(x) over n numbers in four vectors of partial sums.
template <class F>
ISAAC_INLINE float sum_of(const float* x, int n, F f) {
  vf sums[4] = {};
  int i = 0;
  for (; i + 4 * LANES <= n; i += 4 * LANES) {
    ISAAC_UNROLL
    for (int s = 0; s < 4; s++) sums[s] += f(load(x + i + s * LANES));
  }
  for (; i + LANES <= n; i += LANES) sums[0] += f(load(x + i));
  float sum = sum_lanes((sums[0] + sums[1]) + (sums[2] + sums[3]));
  for (; i < n; i++) {
    vf one = f(splat(x[i]));
    sum += one[0];
  }
  return sum;
}

// out[i] = f(i-th numbers): whole vectors, then the rest. f gets a loader that reads the same lanes of any array.
template <class F>
ISAAC_INLINE void map_to(float* out, int n, F f) {
  int i = 0;
  for (; i + LANES <= n; i += LANES) store(out + i, f([i](const float* p) { return load(p + i); }));
  if (i < n) store_first(out + i, f([i, n](const float* p) { return load_first(p + i, n - i); }), n - i);
}

struct LayerNormArgs {
  Arg x, weight, bias, out;
  Arg width, eps;
};

// A part is a row. Mean first, then the variance around it: one pass with squares would cancel.
ISAAC_KERNEL(layer_norm, LayerNormArgs) {
  int width = a->width.i();
  const float *weight = a->weight.ptr<const float>(), *bias = a->bias.ptr<const float>();
  for (int row = first; row < end; row++) {
    const float* x = a->x.ptr<const float>() + static_cast<size_t>(row) * width;
    float* out = a->out.ptr<float>() + static_cast<size_t>(row) * width;
    vf mean = splat(sum_of(x, width, [](vf v) { return v; }) / width);
    float variance = sum_of(x, width, [mean](vf v) { return (v - mean) * (v - mean); }) / width;
    vf factor = splat(1.0f / __builtin_sqrtf(variance + a->eps.f()));
    map_to(out, width, [=](auto at) { return fma((at(x) - mean) * factor, at(weight), at(bias)); });
  }
}

struct RmsNormArgs {
  Arg x, weight, out;
  Arg width, eps;
};

// A part is a run of `width` numbers.
ISAAC_KERNEL(rms_norm, RmsNormArgs) {
  int width = a->width.i();
  const float* weight = a->weight.ptr<const float>();
  for (int row = first; row < end; row++) {
    const float* x = a->x.ptr<const float>() + static_cast<size_t>(row) * width;
    float* out = a->out.ptr<float>() + static_cast<size_t>(row) * width;
    float mean_square = sum_of(x, width, [](vf v) { return v * v; }) / width;
    vf factor = splat(1.0f / __builtin_sqrtf(mean_square + a->eps.f()));
    map_to(out, width, [=](auto at) { return at(x) * factor * at(weight); });
  }
}

struct RopeArgs {
  Arg x;         // [tokens, heads·head_dim], changed in place
  Arg cos, sin;  // [tokens, head_dim]
  Arg heads, head_dim;
};

// A part is a token. Rotate-half: the pair of number i is i + head_dim/2.
ISAAC_KERNEL(rope, RopeArgs) {
  int heads = a->heads.i(), dim = a->head_dim.i(), half = dim / 2;
  for (int token = first; token < end; token++) {
    const float* cos = a->cos.ptr<const float>() + static_cast<size_t>(token) * dim;
    const float* sin = a->sin.ptr<const float>() + static_cast<size_t>(token) * dim;
    for (int head = 0; head < heads; head++) {
      float* low = a->x.ptr<float>() + (static_cast<size_t>(token) * heads + head) * dim;
      float* high = low + half;
      int i = 0;
      for (; i + LANES <= half; i += LANES) {
        vf x = load(low + i), y = load(high + i);
        store(low + i, x * load(cos + i) - y * load(sin + i));
        store(high + i, y * load(cos + half + i) + x * load(sin + half + i));
      }
      for (; i < half; i++) {
        float x = low[i], y = high[i];
        low[i] = x * cos[i] - y * sin[i];
        high[i] = y * cos[half + i] + x * sin[half + i];
      }
    }
  }
}

// ── Elementwise: a part is a run of ELEMENTS numbers ────────────────────────────────────────────────────────────────

constexpr int ELEMENTS = 4096;
ISAAC_SIZE(part_elements) int part_elements() { return ELEMENTS; }

struct MapArgs {
  Arg x, y, out;  // y is 0 for functions of one tensor
  Arg size;
};

template <class F>
ISAAC_INLINE void map_parts(const MapArgs* a, int first, int end, F f) {
  size_t size = a->size.size();
  size_t from = static_cast<size_t>(first) * ELEMENTS, to = static_cast<size_t>(end) * ELEMENTS;
  if (to > size) to = size;
  if (from >= to) return;
  const float *x = a->x.ptr<const float>() + from, *y = a->y.ptr<const float>() + from;
  map_to(a->out.ptr<float>() + from, static_cast<int>(to - from), [=](auto at) { return f(at, x, y); });
}

ISAAC_KERNEL(silu_map, MapArgs) {
  map_parts(a, first, end, [](auto at, const float* x, const float*) { return silu(at(x)); });
}

ISAAC_KERNEL(gelu_map, MapArgs) {
  map_parts(a, first, end, [](auto at, const float* x, const float*) { return gelu_tanh(at(x)); });
}

ISAAC_KERNEL(add_map, MapArgs) {
  map_parts(a, first, end, [](auto at, const float* x, const float* y) { return at(x) + at(y); });
}

// silu(x) · y
ISAAC_KERNEL(swiglu_map, MapArgs) {
  map_parts(a, first, end, [](auto at, const float* x, const float* y) { return silu(at(x)) * at(y); });
}

// No operation needs it by itself: for the test of its accuracy.
ISAAC_KERNEL(exp_map, MapArgs) {
  map_parts(a, first, end, [](auto at, const float* x, const float*) { return exp_(at(x)); });
}

ISAAC_KERNEL(copy_map, MapArgs) {
  map_parts(a, first, end, [](auto at, const float* x, const float*) { return at(x); });
}

struct GatherRowsArgs {
  Arg x, index, out;
  Arg row_size;
};

// A part is a row of the result.
ISAAC_KERNEL(gather_rows, GatherRowsArgs) {
  int row_size = a->row_size.i();
  for (int row = first; row < end; row++) {
    size_t from = a->index.ptr<const int32_t>()[row];
    const float* x = a->x.ptr<const float>() + from * row_size;
    map_to(a->out.ptr<float>() + static_cast<size_t>(row) * row_size, row_size, [=](auto at) { return at(x); });
  }
}
