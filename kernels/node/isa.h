// One instruction set's kernels, as the addon sees them.
#pragma once

#include "../abi.h"

typedef void (*KernelFunction)(const void* args, int first, int end, int thread);
typedef int (*SizeFunction)(int);

struct KernelEntry {
  const char* name;
  KernelFunction function;
};

// A size of nothing ignores its argument.
struct SizeEntry {
  const char* name;
  SizeFunction function;
};

struct KernelSet {
  const char* name;
  const KernelEntry* kernels;
  int kernel_count;
  const SizeEntry* sizes;
  int size_count;
};
