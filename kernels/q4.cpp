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
// How far ahead of a single row's products the panel is asked for.
constexpr int Q4_AHEAD = 3072;

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

// Of LANES·4 bytes the low or the high halves, as weights for `dot`.
ISAAC_INLINE DotWeights q4_low(vi bytes) {
  vi numbers = bytes & 0x0f0f0f0f;
  return dot_weights(&numbers);
}
ISAAC_INLINE DotWeights q4_high(vi bytes) { return q4_low(bytes >> 4); }

// As multiply_group, from a group of q4: numbers are taken apart in registers, once for all rows of the tile.
template <int MR, int NV>
ISAAC_NOINLINE void multiply_group_q4(const char* x, const char* group, int steps, float* sums) {
  const float* scales = reinterpret_cast<const float*>(x);
  const int32_t* starts = reinterpret_cast<const int32_t*>(x) + MR;
  for (int column = 0; column < Q8_PANEL; column += NV * LANES) {
    vi dots[MR][NV];
    ISAAC_UNROLL
    for (int r = 0; r < MR; r++) {
      // Where products with an offset of Q8_OFFSET start.
      vi start = splat(starts[r] / (Q8_OFFSET / Q4_OFFSET));
      ISAAC_UNROLL
      for (int v = 0; v < NV; v++) dots[r][v] = start;
    }
    const char* a = x + MR * 8;
    const char* w = group + Q8_SCALE_BYTES + column * Q8_STEP;
    int step = 0;
    if constexpr (MR == 1) {
      // Each vector is loaded once, for both halves.
      for (; step + 2 <= steps; step += 2) {
        for (int line = 0; line < NV * LANES * Q8_STEP; line += 64) __builtin_prefetch(w + line + Q4_AHEAD);
        DotInputs low = dot_inputs(a), high = dot_inputs(a + DOT_INPUT_BYTES);
        ISAAC_UNROLL
        for (int v = 0; v < NV; v++) {
          vi bytes = load_ints(w + v * LANES * Q8_STEP);
          dots[0][v] = dot(dots[0][v], q4_low(bytes), low);
          dots[0][v] = dot(dots[0][v], q4_high(bytes), high);
        }
        a += 2 * DOT_INPUT_BYTES;
        w += Q4_STEP_BYTES;
      }
    }
    for (; step < steps; step += 2) {
      DotWeights numbers[NV];
      ISAAC_UNROLL
      for (int v = 0; v < NV; v++) numbers[v] = q4_low(load_ints(w + v * LANES * Q8_STEP));
      add_products(dots, numbers, a);
      a += MR * DOT_INPUT_BYTES;
      if (step + 1 == steps) break;
      ISAAC_UNROLL
      for (int v = 0; v < NV; v++) numbers[v] = q4_high(load_ints(w + v * LANES * Q8_STEP));
      add_products(dots, numbers, a);
      a += MR * DOT_INPUT_BYTES;
      w += Q4_STEP_BYTES;
    }
    add_group(dots, reinterpret_cast<const uint16_t*>(group) + column, scales, sums + column);
  }
}

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

// A part is a panel. Rows of one tile take numbers apart as they go; more rows share a group that is widened before.
ISAAC_KERNEL(linear_q4, LinearQ8Args) {
  alignas(64) char wide[Q8_GROUP_BYTES];
  bool is_single = false;
  linear_panels(
      a, first, end, q4_panel_bytes_of(a->in.i()), Q4_GROUP_BYTES,
      [&](const char* group, int steps, int tiles) -> const char* {
        is_single = tiles == 1;
        if (is_single) return group;
        widen_group(group, steps, wide);
        return wide;
      },
      [&](auto n, const char* x, const char* group, int steps, float* sums) {
        constexpr int MR = decltype(n)::count;
        if (is_single) multiply_group_q4<MR, dot_vectors(MR)>(x, group, steps, sums);
        else multiply_group<MR, dot_vectors(MR)>(x, group, steps, sums);
      });
}
