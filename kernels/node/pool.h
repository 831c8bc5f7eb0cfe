// Threads that do the parts of a job together with the thread that calls.
//
// Idle threads look for the next job for some microseconds, then sleep. Runs of neighbouring parts are taken from a shared
// counter; the caller takes runs too, and returns when none is left and nobody is at work.
#pragma once

#include <stdint.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "isa.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

class Pool {
 public:
  // `threads` with the caller's. Starts as many as the system grants.
  explicit Pool(int threads) {
    for (int i = 1; i < threads; i++) {
      try {
        threads_.emplace_back([this, i] { live(i); });
      } catch (...) {
        break;  // fewer threads do
      }
    }
  }

  ~Pool() {
    stop_.store(true);
    epoch_.fetch_add(1);
    epoch_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return static_cast<int>(threads_.size()) + 1; }

  // Do parts first … end-1; `alone`: without the other threads, where waking them would take longer than the work.
  void run(KernelFunction kernel, const void* args, int first, int end, bool alone) {
    if (alone || threads_.empty() || end - first < 2) {
      kernel(args, first, end, 0);
      return;
    }
    kernel_ = kernel;
    args_ = args;
    end_ = end;
    next_.store(first, std::memory_order_release);
    epoch_.fetch_add(1);
    if (sleeping_.load() > 0) epoch_.notify_all();
    work(0);
    // Nobody may begin once this returns; who has begun is waited for.
    next_.store(CLOSED);
    for (int spin = 0; active_.load() != 0; spin++) {
      if (spin < SPINS) pause();
      else std::this_thread::yield();
    }
  }

 private:
  static constexpr int64_t CLOSED = INT64_MAX / 2;
  // Some 50 µs.
  static constexpr int SPINS = 1500;

  static void pause() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
  }

  void work(int thread) {
    // `active` comes before `next`: a thread that took a part is seen to be at work. The job's words are read after
    // `next`: a run below CLOSED can only be taken once they are all written.
    active_.fetch_add(1);
    for (;;) {
      int64_t from = next_.load();
      int64_t to = 0;
      do {
        if (from >= CLOSED || from >= end_) break;
        // Ever smaller runs: at the end, nobody waits long for another's last one.
        int64_t share = (end_ - from) / (2 * threads());
        to = from + (share < 1 ? 1 : share);
      } while (!next_.compare_exchange_weak(from, to));
      if (from >= CLOSED || from >= end_) break;
      kernel_(args_, static_cast<int>(from), static_cast<int>(to), thread);
    }
    active_.fetch_sub(1);
  }

  void live(int thread) {
    uint32_t seen = 0;
    for (;;) {
      for (int spin = 0; epoch_.load(std::memory_order_acquire) == seen; spin++) {
        if (spin < SPINS) {
          pause();
          continue;
        }
        sleeping_.fetch_add(1);
        epoch_.wait(seen);
        sleeping_.fetch_sub(1);
      }
      seen = epoch_.load();
      if (stop_.load()) return;
      work(thread);
    }
  }

  // Words that different threads write lie in different cache lines.
  alignas(128) std::atomic<uint32_t> epoch_{0};
  alignas(128) std::atomic<int64_t> next_{CLOSED};
  alignas(128) std::atomic<int> active_{0};
  alignas(128) std::atomic<int> sleeping_{0};
  std::atomic<bool> stop_{false};
  alignas(128) KernelFunction kernel_ = nullptr;
  const void* args_ = nullptr;
  int end_ = 0;
  std::vector<std::thread> threads_;
};
