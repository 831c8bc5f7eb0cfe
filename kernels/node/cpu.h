// Which of the compiled instruction sets this processor, and the system on it, can run.
#pragma once

#include <stdint.h>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

// Named as the instruction sets in tools/build-native.mjs that need them.
struct CpuFeatures {
  bool avx2 = false;         // with FMA, F16C, BMI2
  bool avx2_vnni = false;    // int8 dot products on 256 bits
  bool avx512 = false;       // F, BW, DQ, VL
  bool avx512_vnni = false;  // int8 dot products
  bool avx512_bf16 = false;  // bfloat16 dot products
  bool neon = false;         // every 64-bit ARM processor
  bool neon_dotprod = false;  // int8 dot products
};

inline CpuFeatures cpu_features() {
  CpuFeatures found;
#if defined(__x86_64__)
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return found;
  bool osxsave = c & (1u << 27), avx = c & (1u << 28), fma = c & (1u << 12), f16c = c & (1u << 29);
  if (!osxsave || !avx) return found;
  // Which registers the system saves: it must know the wide ones.
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  bool saves_256 = (low & 0x6) == 0x6, saves_512 = (low & 0xe6) == 0xe6;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
  uint32_t leaves = a;
  found.avx2 = saves_256 && fma && f16c && (b & (1u << 5)) && (b & (1u << 8));
  found.avx512 = found.avx2 && saves_512 && (b & (1u << 16)) && (b & (1u << 17)) && (b & (1u << 30)) && (b & (1u << 31));
  found.avx512_vnni = found.avx512 && (c & (1u << 11));
  if (leaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) {
    found.avx2_vnni = found.avx2 && (a & (1u << 4));
    found.avx512_bf16 = found.avx512_vnni && (a & (1u << 5));
  }
#elif defined(__aarch64__)
  found.neon = true;
#if defined(__linux__)
  found.neon_dotprod = getauxval(AT_HWCAP) & (1u << 20);
#elif defined(__APPLE__)
  found.neon_dotprod = true;  // every 64-bit Mac has it
#endif
#endif
  return found;
}
