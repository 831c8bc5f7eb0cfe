// Weights: packing, table rows, and x · Wᵀ.
//
// A packed weight [out, in] is a list of panels of PANEL outputs, zeros behind the last one. K is `in` rounded up to a
// multiple of K_MULTIPLE, zeros behind it too.
//   f32:  [K][PANEL] floats
//   bf16: [K/2][PANEL][2]: a word holds two neighbours along K, which a shift and a mask widen
// A panel is read from its first byte to its last, by one row of activations (decoding, where memory is the limit) as
// well as by a tile of rows (prefill, where arithmetic is).

#include "abi.h"
#include "finish.h"
#include "simd.h"
#include "source.h"
#include "tile.h"

constexpr int K_MULTIPLE = 4;
// Products along K are summed in runs of so many, and the sums added up: keeps the rounding error of long rows small, and
// a panel's run in the first cache while all rows pass it.
constexpr int K_CHUNK = 512;
// Most rows in a job: their sums are on the stack.
constexpr int LINEAR_ROWS = 256;

// TypeScript sizes buffers by these.
ISAAC_SIZE(panel_columns) int panel_columns() { return PANEL; }
ISAAC_SIZE(tile_rows) int tile_rows() { return TILE_ROWS; }
ISAAC_SIZE(linear_rows) int linear_rows() { return LINEAR_ROWS; }
ISAAC_SIZE(k_multiple) int k_multiple() { return K_MULTIPLE; }

// ── Packing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

struct PackWeightArgs {
  Arg source;       // [rows, in], row-major
  Arg source_type;  // Source
  Arg target;       // panels
  Arg stored;       // Stored
  Arg rows, in, k;
};

// A part is a panel.
ISAAC_KERNEL(pack_weight, PackWeightArgs) {
  const void* source = a->source.ptr<const void>();
  int type = a->source_type.i(), rows = a->rows.i(), in = a->in.i(), k = a->k.i();
  constexpr int BLOCK = 64;  // along K: what is written stays in the first cache
  for (int panel = first; panel < end; panel++) {
    size_t start = static_cast<size_t>(panel) * k * PANEL;
    float* f32 = a->target.ptr<float>() + start;
    uint16_t* bf16 = a->target.ptr<uint16_t>() + start;
    for (int k0 = 0; k0 < k; k0 += BLOCK) {
      int k1 = k0 + BLOCK < k ? k0 + BLOCK : k;
      for (int column = 0; column < PANEL; column++) {
        int row = panel * PANEL + column;
        size_t from = static_cast<size_t>(row) * in;
        for (int i = k0; i < k1; i++) {
          float x = row < rows && i < in ? read_source(source, type, from + i) : 0.0f;
          if (a->stored.i() == STORED_F32) f32[static_cast<size_t>(i) * PANEL + column] = x;
          else bf16[(static_cast<size_t>(i / 2) * PANEL + column) * 2 + i % 2] = to_bf16(x);
        }
      }
    }
  }
}

struct EmbedArgs {
  Arg ids;     // int32 [parts]
  Arg weight;  // packed
  Arg stored;  // Stored
  Arg in, k;
  Arg out;  // [parts, in]
};

// A part is an id.
ISAAC_KERNEL(embed, EmbedArgs) {
  int in = a->in.i(), k = a->k.i();
  for (int part = first; part < end; part++) {
    int id = a->ids.ptr<const int32_t>()[part];
    int column = id % PANEL;
    size_t start = static_cast<size_t>(id / PANEL) * k * PANEL;
    float* out = a->out.ptr<float>() + static_cast<size_t>(part) * in;
    if (a->stored.i() == STORED_F32) {
      const float* panel = a->weight.ptr<const float>() + start;
      for (int i = 0; i < in; i++) out[i] = panel[static_cast<size_t>(i) * PANEL + column];
    } else {
      const uint16_t* panel = a->weight.ptr<const uint16_t>() + start;
      for (int i = 0; i < in; i++) out[i] = from_bf16(panel[(static_cast<size_t>(i / 2) * PANEL + column) * 2 + i % 2]);
    }
  }
}

struct PackRowsArgs {
  Arg x;       // [rows, in]
  Arg target;  // a tile after the other: [K][rows of the tile]
  Arg rows, in, k;
};

// A part is a tile of rows.
ISAAC_KERNEL(pack_rows, PackRowsArgs) {
  int in = a->in.i(), k = a->k.i();
  Tiling tiling(a->rows.i());
  for (int tile = first; tile < end; tile++) {
    int start = tiling.start(tile), rows = tiling.rows(tile);
    float* target = a->target.ptr<float>() + static_cast<size_t>(start) * k;
    for (int r = 0; r < rows; r++) {
      const float* x = a->x.ptr<const float>() + static_cast<size_t>(start + r) * in;
      for (int i = 0; i < in; i++) target[i * rows + r] = x[i];
      for (int i = in; i < k; i++) target[i * rows + r] = 0.0f;
    }
  }
}

// ── x · Wᵀ ──────────────────────────────────────────────────────────────────────────────────────────────────────────

struct LinearArgs {
  Arg x;         // rows packed by pack_rows; a single row as it is, if in = K
  Arg weight;    // packed
  Arg stored;    // Stored
  Arg out;       // [rows, columns]
  Arg bias;      // [columns] or 0
  Arg residual;  // [rows, columns] or 0
  Arg activation;
  Arg rows, columns, k;  // at most LINEAR_ROWS rows
  Arg k_start, k_end;  // this job's range of K. The first one stores its sums, the next add theirs, the last finishes.
};

// A run of a bf16 panel as floats.
ISAAC_NOINLINE void widen_panel(const uint16_t* panel, int k, float* out) {
  for (int i = 0; i < k; i += 2) {
    ISAAC_UNROLL
    for (int v = 0; v < TILE_VECTORS; v++) {
      vu words = load_words(panel + v * LANES * 2);
      store(out + v * LANES, bf16_low(words));
      store(out + PANEL + v * LANES, bf16_high(words));
    }
    panel += 2 * PANEL;
    out += 2 * PANEL;
  }
}

// out[column] = (accumulate: out[column] +) Σ over k of x[k] · panel[k][column]: a single row, straight from a bf16 panel.
ISAAC_NOINLINE void dot_bf16(const float* x, const uint16_t* panel, int k, float* out, bool accumulate) {
  vf sums[2][TILE_VECTORS] = {};
  for (; k > 0; k -= 2) {
    vf low = splat(x[0]), high = splat(x[1]);
    ISAAC_UNROLL
    for (int v = 0; v < TILE_VECTORS; v++) {
      vu words = load_words(panel + v * LANES * 2);
      sums[0][v] = fma(low, bf16_low(words), sums[0][v]);
      sums[1][v] = fma(high, bf16_high(words), sums[1][v]);
    }
    x += 2;
    panel += 2 * PANEL;
  }
  for (int v = 0; v < TILE_VECTORS; v++) {
    vf sum = sums[0][v] + sums[1][v];
    store(out + v * LANES, accumulate ? load(out + v * LANES) + sum : sum);
  }
}

// The same straight from an f32 panel. Two sums a column: each waits for the one before it.
ISAAC_NOINLINE void dot_f32(const float* x, const float* panel, int k, float* out, bool accumulate) {
  vf sums[2][TILE_VECTORS] = {};
  for (; k > 0; k -= 2) {
    vf first = splat(x[0]), second = splat(x[1]);
    ISAAC_UNROLL
    for (int v = 0; v < TILE_VECTORS; v++) {
      sums[0][v] = fma(first, load(panel + v * LANES), sums[0][v]);
      sums[1][v] = fma(second, load(panel + PANEL + v * LANES), sums[1][v]);
    }
    x += 2;
    panel += 2 * PANEL;
  }
  for (int v = 0; v < TILE_VECTORS; v++) {
    vf sum = sums[0][v] + sums[1][v];
    store(out + v * LANES, accumulate ? load(out + v * LANES) + sum : sum);
  }
}

// sums[r][column] = Σ over k_start … k_end-1 of x[k][r] · panel[k][column], for all rows; `panel` is that of k_start.
ISAAC_INLINE void dot_panel(const LinearArgs* a, const void* panel, float* sums) {
  bool f32 = a->stored.i() == STORED_F32;
  int rows = a->rows.i(), k = a->k.i(), k_start = a->k_start.i(), k_end = a->k_end.i();
  const float* packed = a->x.ptr<const float>();
  Tiling tiling(rows);
  float widened[K_CHUNK * PANEL];
  if (k_start == k_end) {
    for (int i = 0; i < rows * PANEL; i += LANES) store(sums + i, vf{});  // rows without numbers
  }
  for (int k0 = k_start; k0 < k_end; k0 += K_CHUNK) {
    int run = k_end - k0 < K_CHUNK ? k_end - k0 : K_CHUNK;
    bool accumulate = k0 > k_start;
    size_t at = static_cast<size_t>(k0 - k_start) * PANEL;
    const float* w = static_cast<const float*>(panel) + at;
    const uint16_t* narrow = static_cast<const uint16_t*>(panel) + at;
    if (rows == 1) {
      if (f32) dot_f32(packed + k0, w, run, sums, accumulate);
      else dot_bf16(packed + k0, narrow, run, sums, accumulate);
      continue;
    }
    if (!f32) {
      widen_panel(narrow, run, widened);
      w = widened;
    }
    for (int tile = 0; tile < tiling.tiles; tile++) {
      int start = tiling.start(tile), count = tiling.rows(tile);
      const float* x = packed + static_cast<size_t>(start) * k + static_cast<size_t>(k0) * count;
      with_rows(count, [&](auto n) {
        constexpr int MR = decltype(n)::count;
        multiply_tile<MR, TILE_VECTORS, MR>(x, MR, w, PANEL, run, sums + start * PANEL, PANEL, accumulate);
      });
    }
  }
}

// A part is a panel: a thread reads its share of the weight and nothing else of it.
ISAAC_KERNEL(linear, LinearArgs) {
  int rows = a->rows.i(), k = a->k.i(), k_start = a->k_start.i();
  bool last = a->k_end.i() == k;
  const Finish finish = {a->out.ptr<float>(),
                         last ? a->bias.ptr<const float>() : nullptr,
                         last ? a->residual.ptr<const float>() : nullptr,
                         last ? a->activation.i() : ACTIVATION_NONE,
                         a->columns.i(),
                         k_start > 0};
  size_t bytes = a->stored.i() == STORED_F32 ? 4 : 2;
  float sums[LINEAR_ROWS * PANEL];
  for (int part = first; part < end; part++) {
    dot_panel(a, a->weight.ptr<const char>() + (static_cast<size_t>(part) * k + k_start) * PANEL * bytes, sums);
    for (int row = 0; row < rows; row++) finish.row(sums + row * PANEL, row, part * PANEL, PANEL);
  }
}
