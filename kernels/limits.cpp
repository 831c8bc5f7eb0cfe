// What a thread can do at most: loops for benchmarks to compare the kernels with.

#include "abi.h"
#include "simd.h"

struct LimitArgs {
  Arg x;       // limit_read: floats [parts·count]
  Arg out;     // floats [threads, at least LANES]: a thread's is the operations of a step, but for limit_read
  Arg count;   // steps; limit_read: floats in a part, a multiple of 8·LANES
};

// Steps of twelve independent multiply-adds on registers: the arithmetic limit, 24·LANES operations a step.
ISAAC_KERNEL(limit_multiply, LimitArgs) {
  vf sums[12];
  // Different ones: twelve equal sums would be computed once.
  for (int s = 0; s < 12; s++) sums[s] = splat(static_cast<float>(s));
  const vf y = load(a->x.ptr<const float>()), z = load(a->x.ptr<const float>() + LANES);
  for (int part = first; part < end; part++) {
    for (int i = a->count.i(); i > 0; i--) {
      ISAAC_UNROLL
      for (int s = 0; s < 12; s++) sums[s] = fma(y, z, sums[s]);
    }
  }
  vf total = {};
  for (int s = 0; s < 12; s++) total += sums[s];
  // Never so, but the compiler does not know and keeps the loop.
  if (total[0] == 1.5f) store(a->out.ptr<float>(), total);
  a->out.ptr<float>()[thread] = 12 * 2 * LANES;
}

// The same with int8 dot products: 96·LANES operations a step.
ISAAC_KERNEL(limit_dot, LimitArgs) {
  vi sums[12];
  for (int s = 0; s < 12; s++) sums[s] = splat(s);
  const char* numbers = a->x.ptr<const char>();
  const DotInputs x = dot_inputs(numbers);
  for (int part = first; part < end; part++) {
    for (int i = a->count.i(); i > 0; i--) {
      // Others each time: a product that stays the same would be computed once.
      const DotWeights w = dot_weights(numbers + (i % 16) * 4 * LANES);
      ISAAC_UNROLL
      for (int s = 0; s < 12; s++) sums[s] = dot(sums[s], w, x);
    }
  }
  vi total = {};
  for (int s = 0; s < 12; s++) total += sums[s];
  if (total[0] == 12345) store_ints(a->out.ptr<int32_t>(), total);
  a->out.ptr<float>()[thread] = 12 * 2 * 4 * LANES;
}

// The same with pairs of bfloat16: 48·LANES operations a step, or none where no instruction multiplies them.
ISAAC_KERNEL(limit_pairs, LimitArgs) {
#if ISAAC_HAS_PAIR_DOT
  vf sums[12] = {};
  const vu y = load_words(a->x.ptr<const float>()), z = load_words(a->x.ptr<const float>() + LANES);
  for (int part = first; part < end; part++) {
    for (int i = a->count.i(); i > 0; i--) {
      ISAAC_UNROLL
      for (int s = 0; s < 12; s++) sums[s] = pair_dot(sums[s], y, z);
    }
  }
  vf total = {};
  for (int s = 0; s < 12; s++) total += sums[s];
  if (total[0] == 1.5f) store(a->out.ptr<float>(), total);
  a->out.ptr<float>()[thread] = 12 * 2 * 2 * LANES;
#else
  (void)first, (void)end;
  a->out.ptr<float>()[thread] = 0;
#endif
}

// Reads a part from its first byte to its last: the memory limit.
ISAAC_KERNEL(limit_read, LimitArgs) {
  vf sums[8] = {};
  size_t count = a->count.size();
  for (int part = first; part < end; part++) {
    const float* x = a->x.ptr<const float>() + part * count;
    for (size_t i = 0; i < count; i += 8 * LANES) {
      ISAAC_UNROLL
      for (int s = 0; s < 8; s++) sums[s] += load(x + i + s * LANES);
    }
  }
  vf total = {};
  for (int s = 0; s < 8; s++) total += sums[s];
  if (total[0] == 1.5f) store(a->out.ptr<float>(), total);
}
