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
// How far ahead of the products of a single tile the panel is asked for: beyond what the processor itself reads ahead.
constexpr int Q8_AHEAD = 6144;
// Of several tiles, the first ones ask for what comes after this run: so many bytes with a group, a line for each step and
// one more.
constexpr int Q8_ASKED = 64 * (1 + Q8_GROUP / Q8_STEP);
// Rows pass a panel in runs: so many groups of it, which stay in the first cache beside the run that is on its way there,
// with so many rows' sums.
constexpr int Q8_RUN = MANY_REGISTERS ? 8 : 1;
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
  return sum_lanes(sum);
}

// A row's part of a group: its scale and where its dot products start go to `scale` and `start`, its numbers behind `to`.
// COUNT is how many where it is known beforehand: then loops become straight lines.
template <int COUNT>
ISAAC_NOINLINE void quantise_part(const float* x, int numbers, float* scale, int32_t* start, char* to, size_t stride) {
  const int count = COUNT ? COUNT : numbers;
  uint32_t largest = largest_bits(x, count);
  if (largest >= TINY_BITS && largest < INFINITY_BITS) {
    float size = float_from_bits(largest);
    *scale = size / BYTE_LARGEST;
    *start = -Q8_OFFSET * quantise_run(x, count, BYTE_LARGEST / size, to, stride);
    return;
  }
  *scale = largest < TINY_BITS ? 0.0f : __builtin_nanf("");
  *start = 0;
  for (int step = 0; step < steps_of(count); step++) {
    for (int i = 0; i < DOT_INPUT_BYTES; i++) to[step * stride + i] = 0;
  }
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
        if (count == Q8_GROUP) quantise_part<Q8_GROUP>(x, count, scales + r, starts + r, to, stride);
        else quantise_part<0>(x, count, scales + r, starts + r, to, stride);
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

// How a tile reads a group: Q8_STEP_BYTES of a panel hold STEPS steps.
struct Q8Numbers {
  static constexpr int GROUP_BYTES = Q8_GROUP_BYTES;
  static constexpr int STEPS = 1;
  // Starts of dot products are for the offset of q8, so many times this one's.
  static constexpr int OFFSETS = 1;
  template <int STEP>
  static ISAAC_ALWAYS_INLINE DotWeights vector(const char* bytes) {
    return dot_weights(bytes);
  }
  // What several tiles read of a run, where it is worth while to rewrite it for them.
  using Shared = Q8Numbers;
  static ISAAC_ALWAYS_INLINE const char* share(const char* run, int, char*) { return run; }
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

// The same for step STEP of those in the bytes at w; `a` is where the first one's inputs are.
template <class Numbers, int STEP, int MR, int NV>
ISAAC_INLINE void add_step(vi (&dots)[MR][NV], const char* w, const char* a) {
  DotWeights numbers[NV];
  ISAAC_UNROLL
  for (int v = 0; v < NV; v++) numbers[v] = Numbers::template vector<STEP>(w + v * LANES * Q8_STEP);
  add_products(dots, numbers, a + STEP * MR * DOT_INPUT_BYTES);
}

// dots[r][v] = Σ over a group of x[r] · w of the v-th vector of columns. `x` is the rows' part of the group.
//
// A tile that is ALONE waits for memory: it asks for what comes Q8_AHEAD bytes later. Others ask for a cache line with
// each step, from `ahead` on.
template <class Numbers, bool ALONE, int MR, int NV>
ISAAC_INLINE void multiply_group(vi (&dots)[MR][NV], const char* x, const char* w, int steps, const char* ahead) {
  constexpr int STEPS = Numbers::STEPS;
  // A single row is read by as few loads as can be, each from line to line: the processor sees where they go.
  constexpr int UNROLL = MR == 1 || !MANY_REGISTERS ? 1 : 4 / STEPS;
  constexpr int INPUTS = STEPS * MR * DOT_INPUT_BYTES;
  constexpr int ASKED = ALONE ? Q8_STEP_BYTES : STEPS * 64;
  // A product waits for the one before it in the same sum: where sums are few, the second step has its own.
  constexpr bool TWICE = STEPS == 2 && MR * NV < 8;
  vi others[MR][NV] = {};
  vi(&seconds)[MR][NV] = TWICE ? others : dots;
  const int32_t* starts = reinterpret_cast<const int32_t*>(x) + MR;
  ISAAC_UNROLL
  for (int r = 0; r < MR; r++) {
    vi start = splat(starts[r] / Numbers::OFFSETS);
    ISAAC_UNROLL
    for (int v = 0; v < NV; v++) dots[r][v] = start;
  }
  const char* a = x + MR * 8;
  for (; steps >= UNROLL * STEPS; steps -= UNROLL * STEPS) {
    ISAAC_UNROLL
    for (int i = 0; i < UNROLL; i++) {
      const char* ask = ALONE ? w + i * Q8_STEP_BYTES + Q8_AHEAD : ahead + i * ASKED;
      // What one tile reads is not read again soon: it need not push other things out of the larger caches.
      ISAAC_UNROLL
      for (int line = 0; line < ASKED; line += 64) __builtin_prefetch(ask + line, 0, ALONE ? 0 : 3);
      add_step<Numbers, 0>(dots, w + i * Q8_STEP_BYTES, a + i * INPUTS);
      if constexpr (STEPS == 2) add_step<Numbers, 1>(seconds, w + i * Q8_STEP_BYTES, a + i * INPUTS);
    }
    ahead += UNROLL * ASKED;
    w += UNROLL * Q8_STEP_BYTES;
    a += UNROLL * INPUTS;
  }
  for (; steps > 0; steps -= STEPS) {
    add_step<Numbers, 0>(dots, w, a);
    if constexpr (STEPS == 2) {
      if (steps > 1) add_step<Numbers, 1>(seconds, w, a);
    }
    w += Q8_STEP_BYTES;
    a += INPUTS;
  }
  if constexpr (TWICE) {
    ISAAC_UNROLL
    for (int r = 0; r < MR; r++) {
      ISAAC_UNROLL
      for (int v = 0; v < NV; v++) dots[r][v] += others[r][v];
    }
  }
}

// The end of a group: sum(r, v) becomes sum(r, v) + dots · scale of the column · scale of the row.
template <int MR, int NV, class Sum>
ISAAC_INLINE void add_group(const vi (&dots)[MR][NV], const char* columns, const char* rows, Sum sum) {
  ISAAC_UNROLL
  for (int v = 0; v < NV; v++) {
    vf scale = load_bf16(reinterpret_cast<const uint16_t*>(columns) + v * LANES);
    ISAAC_UNROLL
    for (int r = 0; r < MR; r++) {
      vf row = splat(reinterpret_cast<const float*>(rows)[r]);
      sum(r, v, __builtin_convertvector(dots[r][v], vf), scale * row);
    }
  }
}

// out[r][column] += Σ of x[r] · w[column] over a run's inputs, for a tile of MR rows and all columns of a panel, NV vectors
// of them at a time. See multiply_group.
template <class Numbers, bool ALONE, int MR, int NV>
ISAAC_NOINLINE void multiply_run(const char* x, const char* run, int inputs, float* out, const char* ahead) {
  for (int column = 0; column < Q8_PANEL; column += NV * LANES, out += NV * LANES) {
    vi dots[MR][NV];
    if constexpr (!MANY_REGISTERS) {
      // A run is a group.
      __builtin_prefetch(ALONE ? run + Q8_AHEAD : ahead);
      multiply_group<Numbers, ALONE>(dots, x, run + Q8_SCALE_BYTES + column * Q8_STEP, steps_of(inputs), ahead + 64);
      add_group(dots, run + column * 2, x, [&](int r, int v, vf dot, vf scale) {
        float* sum = out + r * Q8_PANEL + v * LANES;
        store(sum, fma(dot, scale, load(sum)));
      });
      continue;
    }
    vf sums[MR][NV];
    ISAAC_UNROLL
    for (int r = 0; r < MR; r++) {
      ISAAC_UNROLL
      for (int v = 0; v < NV; v++) sums[r][v] = load(out + r * Q8_PANEL + v * LANES);
    }
    const char *rows = x, *group = run;
    for (int left = inputs; left > 0; left -= Q8_GROUP) {
      int steps = steps_of(left < Q8_GROUP ? left : Q8_GROUP);
      __builtin_prefetch(ALONE ? group + Q8_AHEAD : ahead);
      multiply_group<Numbers, ALONE>(dots, rows, group + Q8_SCALE_BYTES + column * Q8_STEP, steps, ahead + 64);
      add_group(dots, group + column * 2, rows,
                [&](int r, int v, vf dot, vf scale) { sums[r][v] = fma(dot, scale, sums[r][v]); });
      rows += MR * (8 + Q8_GROUP / Q8_STEP * DOT_INPUT_BYTES);
      group += Numbers::GROUP_BYTES;
      ahead += Q8_ASKED;
    }
    store_tile(sums, out, Q8_PANEL, false);
  }
}

// x · Wᵀ for panels first … end-1, panel_bytes each: a thread reads its share of the weight and nothing else of it.
template <class Numbers>
ISAAC_INLINE void linear_panels(const LinearQ8Args* a, int first, int end, size_t panel_bytes) {
  constexpr int RUN_INPUTS = Q8_RUN * Q8_GROUP;
  constexpr int RUN_BYTES = Q8_RUN * Numbers::GROUP_BYTES;
  // Tiles that ask for the next run, each for its share.
  constexpr int ASKING = (Numbers::GROUP_BYTES + Q8_ASKED - 1) / Q8_ASKED;
  int rows = a->rows.i(), in = a->in.i();
  DotTiling tiling(rows);
  const Finish finish = {a->out.ptr<float>(), a->bias.ptr<const float>(), a->residual.ptr<const float>(),
                         a->activation.i(), a->columns.i(), false};
  alignas(64) float sums[Q8_ROWS * Q8_PANEL];
  alignas(64) char room[Q8_GROUP_BYTES];
  for (int part = first; part < end; part++) {
    const char* panel = a->weight.ptr<const char>() + part * panel_bytes;
    for (int first_tile = 0, end_tile = 0; first_tile < tiling.tiles; first_tile = end_tile) {
      // As many tiles as their sums have room for.
      int first_row = tiling.start(first_tile);
      while (end_tile < tiling.tiles && tiling.start(end_tile) + tiling.rows(end_tile) - first_row <= Q8_ROWS) end_tile++;
      int tiles = end_tile - first_tile;
      for (int i = 0; i < (tiling.start(end_tile) - first_row) * Q8_PANEL; i += LANES) store(sums + i, vf{});
      const char* run = panel;
      for (int start = 0; start < in; start += RUN_INPUTS, run += RUN_BYTES) {
        int inputs = in - start < RUN_INPUTS ? in - start : RUN_INPUTS;
        const char* shared = tiles > 1 ? Numbers::share(run, steps_of(inputs), room) : nullptr;
        // Where the run begins in a tile: as many bytes of it for each row.
        size_t before = static_cast<size_t>(start / Q8_GROUP) * (8 + Q8_GROUP / Q8_STEP * DOT_INPUT_BYTES);
        for (int tile = 0; tile < tiles; tile++) {
          int row = tiling.start(first_tile + tile), count = tiling.rows(first_tile + tile);
          const char* x = a->x.ptr<const char>() + static_cast<size_t>(row) * row_bytes_of(in) + before * count;
          float* out = sums + (row - first_row) * Q8_PANEL;
          with_rows<DOT_ROWS>(count, [&](auto n) {
            constexpr int MR = decltype(n)::count;
            constexpr int NV = dot_vectors(MR);
            const char* ahead = tile < ASKING ? run + RUN_BYTES + tile * Q8_RUN * Q8_ASKED : run;
            if (tiles == 1) multiply_run<Numbers, true, MR, NV>(x, run, inputs, out, ahead);
            else multiply_run<typename Numbers::Shared, false, MR, NV>(x, shared, inputs, out, ahead);
          });
          if (start + inputs < in) continue;
          for (int r = 0; r < count; r++) finish.row(out + r * Q8_PANEL, row + r, part * Q8_PANEL, Q8_PANEL);
        }
      }
    }
  }
}

// A part is a panel.
ISAAC_KERNEL(linear_q8, LinearQ8Args) {
  linear_panels<Q8Numbers>(a, first, end, panel_bytes_of(a->in.i()));
}
