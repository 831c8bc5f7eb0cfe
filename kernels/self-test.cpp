// What a cold self-test calls: instructions whose results an engine has been seen to get wrong before its optimising
// compiler took over.

#include "abi.h"
#include "simd.h"

struct SelfTestArgs {
  Arg x, y;  // for self_test_fma: float [n·LANES]; for self_test_dot: int8 [n·16], y in 0 … 127
  Arg out;   // the sums: float [LANES] or int32 [4]
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

#if defined(__wasm_relaxed_simd__)
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef int32_t i32x4_memory __attribute__((vector_size(16), aligned(1), may_alias));
typedef signed char i8x16 __attribute__((vector_size(16)));
typedef signed char i8x16_memory __attribute__((vector_size(16), aligned(1), may_alias));

// Each of four sums gathers the products of four neighbouring int8, n times.
ISAAC_KERNEL(self_test_dot, SelfTestArgs) {
  for (int part = first; part < end; part++) {
    i32x4 sum = {};
    for (int i = 0; i < a->n.i(); i++) {
      i8x16 x = *reinterpret_cast<const i8x16_memory*>(a->x.ptr<const signed char>() + i * 16);
      i8x16 y = *reinterpret_cast<const i8x16_memory*>(a->y.ptr<const signed char>() + i * 16);
      sum = __builtin_wasm_relaxed_dot_i8x16_i7x16_add_s_i32x4(x, y, sum);
    }
    *reinterpret_cast<i32x4_memory*>(a->out.ptr<int32_t>()) = sum;
  }
}
#endif
