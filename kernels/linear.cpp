// Weights: packing, table rows, and x · Wᵀ.
//
// A packed weight [out, in] is a list of panels of PANEL outputs, zeros behind the last one. K is `in` rounded up to a
// multiple of K_MULTIPLE, zeros behind it too.
//   f32:  [K][PANEL] floats
//   bf16: [K/2][PANEL][2]: a word holds two neighbours along K, which a shift and a mask widen
// A panel is read from its first byte to its last, by one row of activations (decoding, where memory is the limit) as
// well as by a tile of rows (prefill, where arithmetic is).

#include "abi.h"
#include "functions.h"
#include "simd.h"
#include "tile.h"

constexpr int K_MULTIPLE = 4;
// Sums start anew after so many products and are added up outside: keeps the rounding error of long rows small.
constexpr int K_CHUNK = 512;

// TypeScript sizes buffers by these.
extern "C" ISAAC_EXPORT(panel_columns) int panel_columns() { return PANEL; }
extern "C" ISAAC_EXPORT(tile_rows) int tile_rows() { return TILE_ROWS; }
extern "C" ISAAC_EXPORT(k_multiple) int k_multiple() { return K_MULTIPLE; }

// ── Packing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

struct PackWeightArgs {
  Arg source;       // [rows, in], row-major
  Arg source_type;  // Source
  Arg target;       // panels
  Arg stored;       // Stored
  Arg rows, in, k;
};

ISAAC_INLINE float read_source(const void* source, int type, size_t at) {
  if (type == SOURCE_F32) return static_cast<const float*>(source)[at];
  uint16_t bits = static_cast<const uint16_t*>(source)[at];
  return type == SOURCE_F16 ? from_f16(bits) : from_bf16(bits);
}

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
  Arg rows, columns, k;
  Arg k_start, k_end;  // this job's range of K. The first one stores its sums, the next add theirs, the last finishes.
};

// One step along K of a panel, widened to floats.
struct F32Panel {
  typedef float Element;
  static constexpr int STEP = 1;
  static ISAAC_ALWAYS_INLINE void load_step(const float* p, vf (&w)[STEP][TILE_VECTORS]) {
    ISAAC_UNROLL
    for (int v = 0; v < TILE_VECTORS; v++) w[0][v] = load(p + v * LANES);
  }
};

struct Bf16Panel {
  typedef uint16_t Element;
  static constexpr int STEP = 2;
  static ISAAC_ALWAYS_INLINE void load_step(const uint16_t* p, vf (&w)[STEP][TILE_VECTORS]) {
    ISAAC_UNROLL
    for (int v = 0; v < TILE_VECTORS; v++) {
      vu words = load_words(p + v * LANES * 2);
      w[0][v] = bf16_low(words);
      w[1][v] = bf16_high(words);
    }
  }
};

// out[r][column] = Σ over k of x[k][r] · panel[k][column], for MR rows and PANEL columns.
template <class Panel, int MR>
ISAAC_INLINE void dot_tile(const float* x, const typename Panel::Element* panel, int k, float* out) {
  constexpr int NV = TILE_VECTORS;
  // A sum waits four cycles for the one before it: eight independent ones keep two multipliers busy.
  constexpr int CHAINS = MR * NV >= 8 ? 1 : MR * NV >= 4 ? 2 : 4;
  constexpr int UNROLL = CHAINS > Panel::STEP ? CHAINS : Panel::STEP;
  vf total[MR][NV] = {};
  for (int k0 = 0; k0 < k; k0 += K_CHUNK) {
    int left = k - k0 < K_CHUNK ? k - k0 : K_CHUNK;
    vf sums[CHAINS][MR][NV] = {};
    for (; left > 0; left -= UNROLL) {
      ISAAC_UNROLL
      for (int s = 0; s < UNROLL; s += Panel::STEP) {
        vf w[Panel::STEP][NV];
        Panel::load_step(panel, w);
        ISAAC_UNROLL
        for (int t = 0; t < Panel::STEP; t++) {
          ISAAC_UNROLL
          for (int r = 0; r < MR; r++) {
            vf broadcast = splat(x[t * MR + r]);
            ISAAC_UNROLL
            for (int v = 0; v < NV; v++) {
              vf& sum = sums[(s + t) % CHAINS][r][v];
              sum = fma(broadcast, w[t][v], sum);
            }
          }
        }
        x += Panel::STEP * MR;
        panel += Panel::STEP * PANEL;
      }
    }
    ISAAC_UNROLL
    for (int r = 0; r < MR; r++) {
      ISAAC_UNROLL
      for (int v = 0; v < NV; v++) {
        vf sum = sums[0][r][v];
        ISAAC_UNROLL
        for (int c = 1; c < CHAINS; c++) sum += sums[c][r][v];
        total[r][v] += sum;
      }
    }
  }
  ISAAC_UNROLL
  for (int r = 0; r < MR; r++) {
    ISAAC_UNROLL
    for (int v = 0; v < NV; v++) store(out + r * PANEL + v * LANES, total[r][v]);
  }
}

ISAAC_INLINE vf activate(vf x, int activation) {
  if (activation == ACTIVATION_SILU) return silu(x);
  if (activation == ACTIVATION_GELU) return gelu_tanh(x);
  return x;
}

// Parts are panels: a thread reads its share of the weight and nothing else of it.
template <class Panel>
ISAAC_INLINE void linear_panels(const LinearArgs* a, int first, int end) {
  int columns = a->columns.i(), k = a->k.i(), k_start = a->k_start.i(), k_end = a->k_end.i();
  bool accumulate = k_start > 0, last = k_end == k;
  int activation = a->activation.i();
  const float* bias = last ? a->bias.ptr<const float>() : nullptr;
  const float* residual = last ? a->residual.ptr<const float>() : nullptr;
  Tiling tiling(a->rows.i());
  float sums[TILE_ROWS * PANEL];
  for (int part = first; part < end; part++) {
    const auto* panel = a->weight.ptr<const typename Panel::Element>() + (static_cast<size_t>(part) * k + k_start) * PANEL;
    int column = part * PANEL;
    for (int tile = 0; tile < tiling.tiles; tile++) {
      int start = tiling.start(tile), rows = tiling.rows(tile);
      const float* x = a->x.ptr<const float>() + static_cast<size_t>(start) * k + static_cast<size_t>(k_start) * rows;
      with_rows(rows, [&](auto n) { dot_tile<Panel, decltype(n)::count>(x, panel, k_end - k_start, sums); });
      for (int r = 0; r < rows; r++) {
        size_t at = static_cast<size_t>(start + r) * columns + column;
        float* out = a->out.ptr<float>() + at;
        for (int v = 0; v < TILE_VECTORS; v++) {
          int c = v * LANES, valid = columns - column - c;
          if (valid <= 0) break;
          vf y = load(sums + r * PANEL + c);
          if (valid >= LANES) {
            if (accumulate) y += load(out + c);
            if (bias) y += load(bias + column + c);
            if (last) y = activate(y, activation);
            if (residual) y += load(residual + at + c);
            store(out + c, y);
          } else {
            if (accumulate) y += load_first(out + c, valid);
            if (bias) y += load_first(bias + column + c, valid);
            if (last) y = activate(y, activation);
            if (residual) y += load_first(residual + at + c, valid);
            store_first(out + c, y, valid);
          }
        }
      }
    }
  }
}

// A part is a panel.
ISAAC_KERNEL(linear, LinearArgs) {
  if (a->stored.i() == STORED_F32) linear_panels<F32Panel>(a, first, end);
  else linear_panels<Bf16Panel>(a, first, end);
}
