// From logits to choices. A NaN ranks as −∞; ties go to the lower index.

#include "abi.h"
#include "functions.h"
#include "simd.h"

constexpr float INFINITE = __builtin_huge_valf();

struct RowsArgs {
  Arg x, out;
  Arg width;
};

// A part is a row; out gets the index as a float.
ISAAC_KERNEL(argmax, RowsArgs) {
  int width = a->width.i();
  for (int row = first; row < end; row++) {
    const float* x = a->x.ptr<const float>() + static_cast<size_t>(row) * width;
    vf best = splat(-INFINITE);
    vi best_at = {};
    vi at;
    for (int lane = 0; lane < LANES; lane++) at[lane] = lane;
    int i = 0;
    for (; i + LANES <= width; i += LANES) {
      // Without NaNs first: the relaxed build makes a maximum of what follows, and which number that keeps beside a NaN is
      // up to the engine.
      vf v = load(x + i);
      v = v == v ? v : splat(-INFINITE);
      vi larger = v > best;
      best = larger ? v : best;
      best_at = larger ? at : best_at;
      at += LANES;
    }
    float largest = -INFINITE;
    int index = 0;
    for (int lane = 0; lane < LANES; lane++) {
      if (best[lane] > largest || (best[lane] == largest && largest > -INFINITE && best_at[lane] < index)) {
        largest = best[lane];
        index = best_at[lane];
      }
    }
    for (; i < width; i++) {
      if (x[i] > largest) {
        largest = x[i];
        index = i;
      }
    }
    a->out.ptr<float>()[row] = static_cast<float>(index);
  }
}

struct TopKArgs {
  Arg x;
  Arg values, indices;  // [rows, k]
  Arg width, k;
};

// The k best so far are a heap with the worst of them at the root; indices stay exact in a float up to 2^24.
struct Heap {
  float *values, *indices;

  static float rank(float x) { return x == x ? x : -INFINITE; }
  bool worse(int i, int j) const {
    float a = rank(values[i]), b = rank(values[j]);
    return a != b ? a < b : indices[i] > indices[j];
  }
  void swap(int i, int j) {
    float value = values[i], index = indices[i];
    values[i] = values[j];
    indices[i] = indices[j];
    values[j] = value;
    indices[j] = index;
  }
  void sift_down(int i, int size) {
    for (;;) {
      int child = 2 * i + 1;
      if (child >= size) return;
      if (child + 1 < size && worse(child + 1, child)) child++;
      if (!worse(child, i)) return;
      swap(i, child);
      i = child;
    }
  }
};

// A part is a row.
ISAAC_KERNEL(top_k, TopKArgs) {
  int width = a->width.i(), k = a->k.i();
  for (int row = first; row < end; row++) {
    const float* x = a->x.ptr<const float>() + static_cast<size_t>(row) * width;
    size_t start = static_cast<size_t>(row) * k;
    Heap heap{a->values.ptr<float>() + start, a->indices.ptr<float>() + start};
    for (int i = 0; i < k; i++) {
      heap.values[i] = x[i];
      heap.indices[i] = static_cast<float>(i);
    }
    for (int i = k / 2 - 1; i >= 0; i--) heap.sift_down(i, k);
    for (int i = k; i < width; i++) {
      // An equal number further right never displaces one.
      if (!(Heap::rank(x[i]) > Heap::rank(heap.values[0]))) continue;
      heap.values[0] = x[i];
      heap.indices[0] = static_cast<float>(i);
      heap.sift_down(0, k);
    }
    for (int size = k - 1; size > 0; size--) {
      heap.swap(0, size);
      heap.sift_down(0, size);
    }
  }
}

// The natural logarithm of a positive, normal number: x = 2^n · m with √½ ≤ m < √2, ln m = 2·artanh((m−1)/(m+1)).
static double log_(double x) {
  uint64_t bits = __builtin_bit_cast(uint64_t, x);
  int n = static_cast<int>(bits >> 52) - 1023;
  double m = __builtin_bit_cast(double, (bits & 0xfffffffffffffull) | 0x3ff0000000000000ull);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    n++;
  }
  double s = (m - 1) / (m + 1), square = s * s, term = s, sum = 0;
  // |s| < 0.172: eleven terms reach the last bit.
  for (int i = 1; i <= 21; i += 2) {
    sum += term / i;
    term *= square;
  }
  return n * 0.6931471805599453 + 2 * sum;
}

// A part is a row: out = x − log Σ exp(x), around the largest number.
ISAAC_KERNEL(log_softmax, RowsArgs) {
  int width = a->width.i();
  for (int row = first; row < end; row++) {
    const float* x = a->x.ptr<const float>() + static_cast<size_t>(row) * width;
    float* out = a->out.ptr<float>() + static_cast<size_t>(row) * width;
    float largest = -INFINITE;
    bool nan = false;
    for (int i = 0; i < width; i++) {
      nan |= x[i] != x[i];
      largest = x[i] > largest ? x[i] : largest;
    }
    // What a row of −∞, or one with +∞ or NaN in it, has no logarithm of is NaN.
    if (nan || largest - largest != 0) {
      for (int i = 0; i < width; i++) out[i] = __builtin_nanf("");
      continue;
    }
    vf shift = splat(largest);
    double sum = 0;
    int i = 0;
    // Vector sums of at most 64 terms, then doubles: the error does not grow with the vocabulary.
    while (i + LANES <= width) {
      vf partial = {};
      for (int n = 0; n < 64 && i + LANES <= width; n++, i += LANES) {
        partial += exp_(load(x + i) - shift);
      }
      sum += sum_lanes(partial);
    }
    for (; i < width; i++) {
      vf e = exp_(splat(x[i] - largest));
      sum += e[0];
    }
    double log_sum = largest + log_(sum);
    for (int j = 0; j < width; j++) out[j] = static_cast<float>(x[j] - log_sum);
  }
}
