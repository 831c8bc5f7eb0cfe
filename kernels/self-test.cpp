// What a cold self-test calls: instructions whose results an engine has been seen to get wrong before its optimising
// compiler took over.

#include "abi.h"
#include "simd.h"

ISAAC_SIZE(vector_lanes) int vector_lanes() { return LANES; }

struct SelfTestArgs {
  Arg x, y;  // for self_test_fma: float [n·LANES]; for self_test_dot: int8 [n·LANES·4], y in 0 … 127
  Arg out;   // the sums: float [LANES] or int32 [LANES]
  Arg n;
};

// out += x·y, n times in a loop: the accumulator must survive it.
ISAAC_KERNEL(self_test_fma, SelfTestArgs) {
  for (int part = first; part < end; part++) {
    vf sum = {};
    for (int i = 0; i < a->n.i(); i++) {
      sum = fma(load(a->x.ptr<const float>() + i * LANES), load(a->y.ptr<const float>() + i * LANES), sum);
    }
    store(a->out.ptr<float>(), sum);
  }
}

#if defined(__wasm_relaxed_simd__) || !defined(__wasm__)
// Each of LANES sums gathers the products of four neighbouring int8, n times.
ISAAC_KERNEL(self_test_dot, SelfTestArgs) {
  for (int part = first; part < end; part++) {
    vi sum = {};
    for (int i = 0; i < a->n.i(); i++) {
      vi x = load_ints(a->x.ptr<const char>() + i * LANES * 4);
      vi y = load_ints(a->y.ptr<const char>() + i * LANES * 4);
      sum = dot(sum, y, x);
    }
    store_ints(a->out.ptr<int32_t>(), sum);
  }
}
#endif
