// q8: weights and activations as whole numbers with a scale for each group along K. The arithmetic is defined in
// src/ops/reference/quantisation.ts, the layout of a weight in src/ops/q8-layout.ts.

#include "abi.h"
#include "finish.h"
#include "quantise.h"
#include "simd.h"
#include "source.h"
#include "tile.h"

constexpr int Q8_GROUP = 64;
constexpr int Q8_PANEL = 32;
constexpr int Q8_LARGEST = 63;
constexpr int Q8_OFFSET = 64;
constexpr int Q8_STEP = 4;                          // numbers along K that a dot product takes at a time
constexpr int Q8_STEP_BYTES = Q8_PANEL * Q8_STEP;   // of a panel
constexpr int Q8_SCALE_BYTES = Q8_PANEL * 2;
constexpr int Q8_GROUP_BYTES = Q8_SCALE_BYTES + Q8_PANEL * Q8_GROUP;
// How far ahead of a single row's products the panel is asked for.
constexpr int Q8_AHEAD = 3072;
// Rows whose sums are kept while a panel's group passes them: these, their activations of a group and the group itself
// stay in the first cache.
constexpr int Q8_ROWS = 64;

using DotTiling = Tiling<DOT_ROWS>;
// Vectors of columns that a tile of so many rows takes at a time: a single row takes a whole panel.
constexpr int dot_vectors(int rows) {
  int most = rows == 1 ? 8 : rows == 2 ? 4 : 2;
  return most * LANES <= Q8_PANEL ? most : Q8_PANEL / LANES;
}

ISAAC_INLINE int steps_of(int numbers) { return (numbers + Q8_STEP - 1) / Q8_STEP; }
ISAAC_INLINE int groups_of(int in) { return (in + Q8_GROUP - 1) / Q8_GROUP; }
ISAAC_INLINE size_t panel_bytes_of(int in) {
  return static_cast<size_t>(groups_of(in)) * Q8_SCALE_BYTES + static_cast<size_t>(steps_of(in)) * Q8_STEP_BYTES;
}
// Bytes of a quantised row: for each group a scale and where its dot products start, then the numbers.
ISAAC_INLINE int row_bytes_of(int in) { return groups_of(in) * 8 + steps_of(in) * DOT_INPUT_BYTES; }

// TypeScript sizes buffers by these.
ISAAC_SIZE(q8_tile_rows) int q8_tile_rows() { return DOT_ROWS; }
ISAAC_SIZE(q8_row_bytes) int q8_row_bytes(int in) { return row_bytes_of(in); }

// ── Quantising ──────────────────────────────────────────────────────────────────────────────────────────────────────

struct PackQ8Args {
  Arg source;       // [rows, in], row-major
  Arg source_type;  // Source
  Arg target;       // panels
  Arg rows, in;
};

// Panels first … end-1, panel_bytes each, with words of STEP numbers. A column's scale is scale_of(its numbers in the group,
// bits of the largest magnitude), rounded to bf16; whole_of(numbers / scale) are whole numbers, word_of(STEP of them) the
// word.
template <int STEP, class Scale, class Whole, class Word>
ISAAC_INLINE void pack_panels(const PackQ8Args* a, int first, int end, size_t panel_bytes, Scale scale_of, Whole whole_of,
                              Word word_of) {
  int rows = a->rows.i(), in = a->in.i(), type = a->source_type.i();
  float numbers[Q8_GROUP] = {};
  int32_t whole[Q8_GROUP];
  for (int part = first; part < end; part++) {
    char* group = a->target.ptr<char>() + part * panel_bytes;
    for (int start = 0; start < in; start += Q8_GROUP) {
      int count = in - start < Q8_GROUP ? in - start : Q8_GROUP;
      int steps = (count + STEP - 1) / STEP;
      for (int column = 0; column < Q8_PANEL; column++) {
        int row = part * Q8_PANEL + column;
        uint32_t largest = 0;
        if (row < rows) {
          read_source(a->source.ptr<const void>(), type, static_cast<size_t>(row) * in + start, count, numbers);
          largest = largest_bits(numbers, count);
        }
        uint16_t bits = 0;
        for (int i = 0; i < Q8_GROUP; i++) whole[i] = 0;
        if (largest >= INFINITY_BITS) {
          bits = 0x7fc0;
        } else if (largest >= TINY_BITS) {
          bits = to_bf16(scale_of(numbers, largest));
          vf scale = splat(from_bf16(bits));
          for (int i = count; i < steps * STEP; i++) numbers[i] = 0.0f;
          // Past the last step there are leftovers, which are not packed.
          for (int i = 0; i < steps * STEP; i += LANES) store_ints(whole + i, whole_of(load(numbers + i) / scale));
        }
        reinterpret_cast<uint16_t*>(group)[column] = bits;
        char* to = group + Q8_SCALE_BYTES + column * Q8_STEP;
        for (int step = 0; step < steps; step++) {
          *reinterpret_cast<uint32_t*>(to + step * Q8_STEP_BYTES) = word_of(whole + step * STEP);
        }
      }
      group += Q8_SCALE_BYTES + steps * Q8_STEP_BYTES;
    }
  }
}

// A part is a panel.
ISAAC_KERNEL(pack_q8, PackQ8Args) {
  pack_panels<Q8_STEP>(
      a, first, end, panel_bytes_of(a->in.i()),
      [](const float*, uint32_t largest) { return float_from_bits(largest) / Q8_LARGEST; },
      [](vf x) { return round_to(x, Q8_LARGEST); },
      [](const int32_t* w) {
        uint32_t word = 0;
        for (int i = 0; i < Q8_STEP; i++) word |= static_cast<uint32_t>(w[i] + Q8_OFFSET) << (8 * i);
        return word;
      });
}

struct CheckQ8Args {
  Arg weight;  // panels
  Arg flags;   // int32 [parts]: 1 for a number of more than 7 bits, 2 for a scale that is no finite number
  Arg in;
};

// A part is a panel.
ISAAC_KERNEL(check_q8, CheckQ8Args) {
  int in = a->in.i();
  for (int part = first; part < end; part++) {
    const char* group = a->weight.ptr<const char>() + part * panel_bytes_of(in);
    uint32_t eighth = 0, infinite = 0;
    for (int start = 0; start < in; start += Q8_GROUP) {
      const uint16_t* scales = reinterpret_cast<const uint16_t*>(group);
      for (int i = 0; i < Q8_PANEL; i++) infinite |= (scales[i] & 0x7f80u) == 0x7f80u;
      int bytes = steps_of(in - start < Q8_GROUP ? in - start : Q8_GROUP) * Q8_STEP_BYTES;
      const uint32_t* words = reinterpret_cast<const uint32_t*>(group + Q8_SCALE_BYTES);
      for (int i = 0; i < bytes / 4; i++) eighth |= words[i] & 0x80808080u;
      group += Q8_SCALE_BYTES + bytes;
    }
    a->flags.ptr<int32_t>()[part] = (eighth ? 1 : 0) | (infinite ? 2 : 0);
  }
}

struct EmbedQ8Args {
  Arg ids;     // int32 [parts]
  Arg weight;  // panels
  Arg in;
  Arg out;  // [parts, in]
};

// A part is an id.
ISAAC_KERNEL(embed_q8, EmbedQ8Args) {
  int in = a->in.i();
  for (int part = first; part < end; part++) {
    int id = a->ids.ptr<const int32_t>()[part];
    int column = id % Q8_PANEL;
    const char* panel = a->weight.ptr<const char>() + (id / Q8_PANEL) * panel_bytes_of(in);
    float* out = a->out.ptr<float>() + static_cast<size_t>(part) * in;
    for (int start = 0; start < in; start += Q8_GROUP, panel += Q8_GROUP_BYTES) {
      float scale = from_bf16(reinterpret_cast<const uint16_t*>(panel)[column]);
      const char* numbers = panel + Q8_SCALE_BYTES + column * Q8_STEP;
      int count = in - start < Q8_GROUP ? in - start : Q8_GROUP;
      for (int i = 0; i < count; i++) {
        out[start + i] = scale * (numbers[i / Q8_STEP * Q8_STEP_BYTES + i % Q8_STEP] - Q8_OFFSET);
      }
    }
  }
}

struct QuantiseRowsArgs {
  Arg x;       // [rows, in]
  Arg target;  // row_bytes_of(in) for each row
  Arg rows, in;
};

// A row's part of a group, n numbers: writes them behind `to`, `stride` bytes from a step to the next, and returns their sum.
ISAAC_INLINE int32_t quantise_run(const float* x, int n, float factor, char* to, size_t stride) {
  vi sum = {};
  for (int i = 0; i < n; i += LANES) {
    vf numbers = i + LANES <= n ? load(x + i) : load_first(x + i, n - i);
    vi rounded = round_to(numbers * splat(factor), BYTE_LARGEST);
    sum += rounded;
    char* step = to + i / Q8_STEP * stride;
    if (i + LANES <= steps_of(n) * Q8_STEP) {
      store_dot_inputs(step, stride, rounded);
    } else {
      char vector[LANES / Q8_STEP * DOT_INPUT_BYTES];
      store_dot_inputs(vector, DOT_INPUT_BYTES, rounded);
      for (int s = 0; s < steps_of(n - i); s++) {
        __builtin_memcpy(step + s * stride, vector + s * DOT_INPUT_BYTES, DOT_INPUT_BYTES);
      }
    }
  }
  int32_t total = 0;
  for (int lane = 0; lane < LANES; lane++) total += sum[lane];
  return total;
}

// A part is a tile of rows. For each group: the rows' scales, where their dot products start, then step after step the
// numbers of all rows.
ISAAC_KERNEL(quantise_rows, QuantiseRowsArgs) {
  int in = a->in.i();
  DotTiling tiling(a->rows.i());
  for (int tile = first; tile < end; tile++) {
    int start_row = tiling.start(tile), rows = tiling.rows(tile);
    size_t stride = static_cast<size_t>(rows) * DOT_INPUT_BYTES;
    char* group = a->target.ptr<char>() + static_cast<size_t>(start_row) * row_bytes_of(in);
    for (int start = 0; start < in; start += Q8_GROUP) {
      int count = in - start < Q8_GROUP ? in - start : Q8_GROUP;
      float* scales = reinterpret_cast<float*>(group);
      int32_t* starts = reinterpret_cast<int32_t*>(group) + rows;
      for (int r = 0; r < rows; r++) {
        const float* x = a->x.ptr<const float>() + static_cast<size_t>(start_row + r) * in + start;
        char* to = group + rows * 8 + r * DOT_INPUT_BYTES;
        uint32_t largest = largest_bits(x, count);
        if (largest >= TINY_BITS && largest < INFINITY_BITS) {
          scales[r] = float_from_bits(largest) / BYTE_LARGEST;
          starts[r] = -Q8_OFFSET * quantise_run(x, count, BYTE_LARGEST / float_from_bits(largest), to, stride);
        } else {
          scales[r] = largest < TINY_BITS ? 0.0f : __builtin_nanf("");
          starts[r] = 0;
          for (int step = 0; step < steps_of(count); step++) {
            for (int i = 0; i < DOT_INPUT_BYTES; i++) to[step * stride + i] = 0;
          }
        }
      }
      group += rows * (8 + steps_of(count) * DOT_INPUT_BYTES);
    }
  }
}

// ── x · Wᵀ ──────────────────────────────────────────────────────────────────────────────────────────────────────────

struct LinearQ8Args {
  Arg x;         // rows quantised by quantise_rows
  Arg weight;    // panels
  Arg out;       // [rows, columns]
  Arg bias;      // [columns] or 0
  Arg residual;  // [rows, columns] or 0
  Arg activation;
  Arg rows, columns, in;
};

// dots[r][v] += a step's products of row r, whose inputs lie side by side at `a`, and of the v-th vector of columns.
template <int MR, int NV>
ISAAC_INLINE void add_products(vi (&dots)[MR][NV], const DotWeights (&numbers)[NV], const char* a) {
  ISAAC_UNROLL
  for (int r = 0; r < MR; r++) {
    DotInputs row = dot_inputs(a + r * DOT_INPUT_BYTES);
    ISAAC_UNROLL
    for (int v = 0; v < NV; v++) dots[r][v] = dot(dots[r][v], numbers[v], row);
  }
}

// The end of a group: sums[r][column] += dots · scale of the column · scale of the row.
template <int MR, int NV>
ISAAC_INLINE void add_group(const vi (&dots)[MR][NV], const uint16_t* columns, const float* rows, float* sums) {
  ISAAC_UNROLL
  for (int v = 0; v < NV; v++) {
    vf scale = load_bf16(columns + v * LANES);
    ISAAC_UNROLL
    for (int r = 0; r < MR; r++) {
      float* sum = sums + r * Q8_PANEL + v * LANES;
      store(sum, fma(__builtin_convertvector(dots[r][v], vf), scale * splat(rows[r]), load(sum)));
    }
  }
}

// sums[r][column] += Σ over a group of x[r] · w[column], for a tile of MR rows and all columns of a panel, NV vectors of
// them at a time.
template <int MR, int NV>
ISAAC_NOINLINE void multiply_group(const char* x, const char* group, int steps, float* sums) {
  const float* scales = reinterpret_cast<const float*>(x);
  const int32_t* starts = reinterpret_cast<const int32_t*>(x) + MR;
  for (int column = 0; column < Q8_PANEL; column += NV * LANES) {
    vi dots[MR][NV];
    ISAAC_UNROLL
    for (int r = 0; r < MR; r++) {
      ISAAC_UNROLL
      for (int v = 0; v < NV; v++) dots[r][v] = splat(starts[r]);
    }
    const char* a = x + MR * 8;
    const char* w = group + Q8_SCALE_BYTES + column * Q8_STEP;
    for (int step = steps; step > 0; step--) {
      if constexpr (MR == 1) {
        for (int line = 0; line < NV * LANES * Q8_STEP; line += 64) __builtin_prefetch(w + line + Q8_AHEAD);
      }
      DotWeights numbers[NV];
      ISAAC_UNROLL
      for (int v = 0; v < NV; v++) numbers[v] = dot_weights(w + v * LANES * Q8_STEP);
      add_products(dots, numbers, a);
      a += MR * DOT_INPUT_BYTES;
      w += Q8_STEP_BYTES;
    }
    add_group(dots, reinterpret_cast<const uint16_t*>(group) + column, scales, sums + column);
  }
}

// Ask for the next group of a weight while rows pass this one.
ISAAC_INLINE void prefetch_bytes(const char* from, int bytes) {
  for (int line = 0; line < bytes; line += 64) __builtin_prefetch(from + line);
}

// x · Wᵀ for panels first … end-1, panel_bytes each, of groups of group_bytes: a thread reads its share of the weight and
// nothing else of it. prepare(group, steps, tiles) returns what multiply(rows of a tile, x, group, steps, sums) gets of a
// group that so many tiles of rows are about to pass.
template <class Prepare, class Multiply>
ISAAC_INLINE void linear_panels(const LinearQ8Args* a, int first, int end, size_t panel_bytes, int group_bytes,
                                Prepare prepare, Multiply multiply) {
  int rows = a->rows.i(), in = a->in.i();
  DotTiling tiling(rows);
  const Finish finish = {a->out.ptr<float>(), a->bias.ptr<const float>(), a->residual.ptr<const float>(),
                         a->activation.i(), a->columns.i(), false};
  float sums[Q8_ROWS * Q8_PANEL];
  for (int part = first; part < end; part++) {
    const char* panel = a->weight.ptr<const char>() + part * panel_bytes;
    int tile = 0;
    while (tile < tiling.tiles) {
      // As many tiles as their sums have room for.
      int first_tile = tile, first_row = tiling.start(tile);
      while (tile < tiling.tiles && tiling.start(tile) + tiling.rows(tile) - first_row <= Q8_ROWS) tile++;
      int last_row = tiling.start(tile - 1) + tiling.rows(tile - 1);
      for (int i = 0; i < (last_row - first_row) * Q8_PANEL; i += LANES) store(sums + i, vf{});
      const char* group = panel;
      for (int start = 0; start < in; start += Q8_GROUP, group += group_bytes) {
        int steps = steps_of(in - start < Q8_GROUP ? in - start : Q8_GROUP);
        if (rows > 1) prefetch_bytes(group + group_bytes, group_bytes);
        const char* prepared = prepare(group, steps, tile - first_tile);
        // Where the group begins in a tile: as many bytes of it for each row.
        size_t before = static_cast<size_t>(start / Q8_GROUP) * (8 + Q8_GROUP / Q8_STEP * DOT_INPUT_BYTES);
        for (int t = first_tile; t < tile; t++) {
          int at = tiling.start(t), count = tiling.rows(t);
          const char* x = a->x.ptr<const char>() + static_cast<size_t>(at) * row_bytes_of(in) + before * count;
          float* to = sums + (at - first_row) * Q8_PANEL;
          with_rows<DOT_ROWS>(count, [&](auto n) { multiply(n, x, prepared, steps, to); });
        }
      }
      for (int row = first_row; row < last_row; row++) {
        finish.row(sums + (row - first_row) * Q8_PANEL, row, part * Q8_PANEL, Q8_PANEL);
      }
    }
  }
}

// A part is a panel.
ISAAC_KERNEL(linear_q8, LinearQ8Args) {
  linear_panels(
      a, first, end, panel_bytes_of(a->in.i()), Q8_GROUP_BYTES, [](const char* group, int, int) { return group; },
      [](auto n, const char* x, const char* group, int steps, float* sums) {
        constexpr int MR = decltype(n)::count;
        multiply_group<MR, dot_vectors(MR)>(x, group, steps, sums);
      });
}
