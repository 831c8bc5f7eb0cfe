// The WebAssembly module: the kernels, and the two functions that a compiler may call without being asked to.

#include "all.cpp"

extern "C" void* memset(void* target, int value, size_t n) {
  unsigned char* p = static_cast<unsigned char*>(target);
  while (n--) *p++ = static_cast<unsigned char>(value);
  return target;
}

extern "C" void* memcpy(void* target, const void* source, size_t n) {
  unsigned char* p = static_cast<unsigned char*>(target);
  const unsigned char* q = static_cast<const unsigned char*>(source);
  while (n--) *p++ = *q++;
  return target;
}
