// q4: as q8 (see q8.cpp), with weights of 4 bits, two to a byte. The arithmetic is defined in
// src/ops/reference/quantisation.ts, the layout of a weight in src/ops/q4-layout.ts. Activations are those of q8.

#include "abi.h"
#include "simd.h"
#include "tile.h"

constexpr int Q4_LEAST = -8;
constexpr int Q4_MOST = 7;
constexpr int Q4_OFFSET = 8;
constexpr int Q4_STEP = 2 * Q8_STEP;  // numbers along K whose bytes lie together
constexpr int Q4_STEP_BYTES = Q8_STEP_BYTES;
constexpr int Q4_GROUP_BYTES = Q8_SCALE_BYTES + Q8_PANEL * Q8_GROUP / 2;

ISAAC_INLINE int q4_steps_of(int numbers) { return (numbers + Q4_STEP - 1) / Q4_STEP; }
ISAAC_INLINE size_t q4_panel_bytes_of(int in) {
  return static_cast<size_t>(groups_of(in)) * Q8_SCALE_BYTES + static_cast<size_t>(q4_steps_of(in)) * Q4_STEP_BYTES;
}

// ── Packing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

// A part is a panel.
ISAAC_KERNEL(pack_q4, PackQ8Args) {
  pack_panels<Q4_STEP>(
      a, first, end, q4_panel_bytes_of(a->in.i()),
      [](const float* numbers, uint32_t largest) {
        int farthest = 0;
        while ((bits_of_float(numbers[farthest]) & 0x7fffffffu) != largest) farthest++;
        return numbers[farthest] / Q4_LEAST;
      },
      [](vf x) {
        vi rounded = round_to(x, -Q4_LEAST);
        return rounded < Q4_MOST ? rounded : splat(Q4_MOST);
      },
      [](const int32_t* w) {
        uint32_t word = 0;
        for (int i = 0; i < Q8_STEP; i++) {
          word |= static_cast<uint32_t>(w[i] + Q4_OFFSET) << (8 * i);
          word |= static_cast<uint32_t>(w[Q8_STEP + i] + Q4_OFFSET) << (8 * i + 4);
        }
        return word;
      });
}

// A part is a panel. Every byte is two numbers; scales may be damaged.
ISAAC_KERNEL(check_q4, CheckQ8Args) {
  int in = a->in.i();
  for (int part = first; part < end; part++) {
    const char* group = a->weight.ptr<const char>() + part * q4_panel_bytes_of(in);
    uint32_t infinite = 0;
    for (int start = 0; start < in; start += Q8_GROUP, group += Q4_GROUP_BYTES) {
      const uint16_t* scales = reinterpret_cast<const uint16_t*>(group);
      for (int i = 0; i < Q8_PANEL; i++) infinite |= (scales[i] & 0x7f80u) == 0x7f80u;
    }
    a->flags.ptr<int32_t>()[part] = infinite ? 2 : 0;
  }
}

// A part is an id.
ISAAC_KERNEL(embed_q4, EmbedQ8Args) {
  int in = a->in.i();
  for (int part = first; part < end; part++) {
    int id = a->ids.ptr<const int32_t>()[part];
    int column = id % Q8_PANEL;
    const char* panel = a->weight.ptr<const char>() + (id / Q8_PANEL) * q4_panel_bytes_of(in);
    float* out = a->out.ptr<float>() + static_cast<size_t>(part) * in;
    for (int start = 0; start < in; start += Q8_GROUP, panel += Q4_GROUP_BYTES) {
      float scale = from_bf16(reinterpret_cast<const uint16_t*>(panel)[column]);
      const char* numbers = panel + Q8_SCALE_BYTES + column * Q8_STEP;
      int count = in - start < Q8_GROUP ? in - start : Q8_GROUP;
      for (int i = 0; i < count; i++) {
        int byte = numbers[i / Q4_STEP * Q4_STEP_BYTES + i % Q8_STEP];
        out[start + i] = scale * (((i & Q8_STEP ? byte >> 4 : byte) & 15) - Q4_OFFSET);
      }
    }
  }
}

// ── x · Wᵀ ──────────────────────────────────────────────────────────────────────────────────────────────────────────

// std::conditional, whose header the build for WebAssembly does not have.
template <bool FIRST, class A, class B>
struct ChoiceOf {
  using type = A;
};
template <class A, class B>
struct ChoiceOf<false, A, B> {
  using type = B;
};

// A group of q4 becomes one of q8: the same scales, numbers with q8's offset.
ISAAC_NOINLINE void widen_group(const char* group, int steps, char* out) {
  for (int i = 0; i < Q8_SCALE_BYTES; i += LANES * 4) {
    store_ints(reinterpret_cast<int32_t*>(out + i), load_ints(group + i));
  }
  const char* w = group + Q8_SCALE_BYTES;
  char* to = out + Q8_SCALE_BYTES;
  constexpr int32_t OFFSETS = (Q8_OFFSET - Q4_OFFSET) * 0x01010101;
  for (int step = 0; step < steps; step += 2, w += Q4_STEP_BYTES, to += 2 * Q8_STEP_BYTES) {
    ISAAC_UNROLL
    for (int i = 0; i < Q4_STEP_BYTES; i += LANES * 4) {
      vi bytes = load_ints(w + i);
      store_ints(reinterpret_cast<int32_t*>(to + i), (bytes & 0x0f0f0f0f) + OFFSETS);
      store_ints(reinterpret_cast<int32_t*>(to + Q8_STEP_BYTES + i), ((bytes >> 4) & 0x0f0f0f0f) + OFFSETS);
    }
  }
}

// See Q8Numbers: two steps are the halves of the same bytes. Wide tiles take them apart in registers as they go, at no
// cost; narrow ones, as many as there are for the same rows, read a group that is widened once for all.
struct Q4Numbers {
  static constexpr int GROUP_BYTES = Q4_GROUP_BYTES;
  static constexpr int STEPS = 2;
  static constexpr int OFFSETS = Q8_OFFSET / Q4_OFFSET;
  template <int STEP>
  static ISAAC_ALWAYS_INLINE DotWeights vector(const char* bytes) {
    vi numbers = (load_ints(bytes) >> (4 * STEP)) & 0x0f0f0f0f;
    return dot_weights(&numbers);
  }
  using Shared = typename ChoiceOf<MANY_REGISTERS, Q4Numbers, Q8Numbers>::type;
  static ISAAC_ALWAYS_INLINE const char* share(const char* run, int steps, char* room) {
    if constexpr (MANY_REGISTERS) return run;
    widen_group(run, steps, room);
    return room;
  }
};

// A part is a panel.
ISAAC_KERNEL(linear_q4, LinearQ8Args) {
  linear_panels<Q4Numbers>(a, first, end, q4_panel_bytes_of(a->in.i()));
}
