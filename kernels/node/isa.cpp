// All kernels for one instruction set, ISAAC_ISA, in a namespace of its own: functions that are not inlined and templates
// have the same names for every set, and the linker would keep one of them for all.
//
// Compiled once for each set. What the sources include from outside is included here first, so that it does not end up in
// the namespace.

#include <stddef.h>
#include <stdint.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif
#if defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "isa.h"

namespace ISAAC_ISA {

#include "../all.cpp"

namespace {

template <class Args, void (*KERNEL)(const Args*, int, int, int)>
void call(const void* args, int first, int end, int thread) {
  KERNEL(static_cast<const Args*>(args), first, end, thread);
}
template <int (*SIZE)()>
int size_of(int) {
  return SIZE();
}
template <int (*SIZE)(int)>
int size_of(int n) {
  return SIZE(n);
}

constexpr KernelEntry KERNEL_TABLE[] = {
#define KERNEL(name, Args) {#name, call<Args, name>},
#define SIZE(name)
#include "names.h"
#undef KERNEL
#undef SIZE
};
constexpr SizeEntry SIZE_TABLE[] = {
#define KERNEL(name, Args)
#define SIZE(name) {#name, size_of<name>},
#include "names.h"
#undef KERNEL
#undef SIZE
};

}  // namespace

extern const KernelSet kernel_set = {ISAAC_ISA_NAME, KERNEL_TABLE, sizeof KERNEL_TABLE / sizeof KERNEL_TABLE[0], SIZE_TABLE,
                                     sizeof SIZE_TABLE / sizeof SIZE_TABLE[0]};

}  // namespace ISAAC_ISA
