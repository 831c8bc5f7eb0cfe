// Memory from the system: regions of zeros, and files.
//
// Behind each region lies a page that nobody may touch: two regions never join to one, and a kernel that runs over its
// last number is stopped.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct Region {
  char* start = nullptr;
  size_t bytes = 0;
  void* mapping = nullptr;
  size_t mapping_bytes = 0;
};

inline size_t round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

constexpr size_t HUGE_PAGE = 2u << 20;

#if defined(__SANITIZE_ADDRESS__)
// Under AddressSanitizer from its own heap, which watches what lies around a block.
inline Region allocate_region(size_t bytes) {
  Region region;
  void* start = nullptr;
  if (posix_memalign(&start, 64, bytes) != 0) return region;
  __builtin_memset(start, 0, bytes);
  region.start = static_cast<char*>(start);
  region.bytes = bytes;
  return region;
}
#else
inline Region allocate_region(size_t bytes) {
  Region region;
  size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  if (bytes > SIZE_MAX / 4) return region;
  size_t size = round_up(bytes, page);
  // Room to begin at a huge page's border.
  size_t alignment = size >= HUGE_PAGE ? HUGE_PAGE : page;
  size_t reserved = size + alignment + page;
  void* mapping = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return region;
  char* start = reinterpret_cast<char*>(round_up(reinterpret_cast<uintptr_t>(mapping), alignment));
  mprotect(start + size, page, PROT_NONE);
#if defined(MADV_HUGEPAGE)
  if (alignment == HUGE_PAGE) madvise(start, size, MADV_HUGEPAGE);
#endif
  region = {start, size, mapping, reserved};
  return region;
}
#endif

// A file's first `bytes`, changes to which stay in this process. Empty, with errno set, where that cannot be.
//
// It begins at a huge page's border: where the system keeps the file in huge pieces, it maps it by huge pages, so that
// touching it for the first time and reading it cost what they cost for memory.
inline Region map_file(const char* path, size_t bytes) {
  Region region;
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return region;
  struct stat about;
  size_t reserved = bytes + HUGE_PAGE;
  if (fstat(file, &about) == 0 && static_cast<uint64_t>(about.st_size) >= bytes && bytes > 0) {
    void* room = mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room != MAP_FAILED) {
      char* start = reinterpret_cast<char*>(round_up(reinterpret_cast<uintptr_t>(room), HUGE_PAGE));
      if (mmap(start, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file, 0) != MAP_FAILED) {
#if defined(MADV_HUGEPAGE)
        // What is not in memory yet is read in huge pieces.
        madvise(start, bytes, MADV_HUGEPAGE);
#endif
        region = {start, bytes, room, reserved};
      } else {
        int error = errno;
        munmap(room, reserved);
        errno = error;
      }
    }
  }
  close(file);
  return region;
}

inline void release_region(const Region& region) {
  if (region.mapping) munmap(region.mapping, region.mapping_bytes);
  else free(region.start);
}
