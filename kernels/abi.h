// The border between TypeScript and the kernels.
//
// A kernel is a pure function over raw memory: it neither allocates nor keeps anything between calls. It does the parts
// first … end-1 of a job; parts are independent, so any thread may do any of them. `thread` picks its scratch memory.
#pragma once

#include <stddef.h>
#include <stdint.h>

// What TypeScript calls. A WebAssembly module exports it by name; a native build has every instruction set in one binary,
// each in a namespace of its own, and looks names up in a table (node/isa.cpp).
#ifdef __wasm__
#define ISAAC_EXPORT(name) extern "C" __attribute__((export_name(#name), used))
#else
#define ISAAC_EXPORT(name) static
#endif

// One argument. TypeScript writes every number, pointers included, as a double: 2^53 is enough for both, and a struct
// of them has one layout on 32 and 64 bits.
struct Arg {
  double value;

  template <class T>
  T* ptr() const {
    return reinterpret_cast<T*>(static_cast<uintptr_t>(value));
  }
  int i() const { return static_cast<int>(value); }
  size_t size() const { return static_cast<size_t>(value); }
  float f() const { return static_cast<float>(value); }
};

#define ISAAC_KERNEL(name, Args) \
  ISAAC_EXPORT(name) void name(const Args* a, int first, int end, [[maybe_unused]] int thread)
// A size that TypeScript must know, of nothing or of one whole number: ISAAC_SIZE(panel_columns) int panel_columns() { … }
#define ISAAC_SIZE(name) ISAAC_EXPORT(name)

// How numbers are stored; the values are those of src/ops/cpu/kernels.ts.
enum Stored { STORED_F32 = 0, STORED_BF16 = 1, STORED_INT8 = 2 };
enum Source { SOURCE_F32 = 0, SOURCE_F16 = 1, SOURCE_BF16 = 2 };
enum Activation { ACTIVATION_NONE = 0, ACTIVATION_SILU = 1, ACTIVATION_GELU = 2 };
