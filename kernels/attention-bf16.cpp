// Attention over packed images with bfloat16 factors: queries, keys, values and softmax weights are rounded to bfloat16,
// their products are summed in float32. Twice as fast as float32 where the processor multiplies pairs of bfloat16
// numbers; other targets have no such kernel, and the caller takes `attend`.
//
// A word is a pair of neighbours, the first in its low half. A block holds KV_BLOCK tokens; for each head keys
// [head_dim/2][KV_BLOCK] words (pairs along the head), then values [KV_BLOCK/2][head_dim] words (pairs of tokens), zeros
// behind the last token and an odd head's last number. Lanes are queries, and softmax goes block by block, as in `attend`.

#include "abi.h"
#include "functions.h"
#include "simd.h"
#include "tile.h"

struct PackPairsArgs {
  Arg k, v;    // [tokens, heads·head_dim]
  Arg writes;  // BlockWrite [n]; offsets are 0
  Arg heads, head_dim;
};

struct AttendPairsArgs {
  Arg q, out;   // [tokens, heads·head_dim]
  Arg queries;  // Queries [query_count]
  Arg query_count;
  Arg blocks;  // double [n], pointers
  Arg heads, head_dim;
  Arg scale;
  Arg scratch, scratch_size;  // floats, for each thread
};

#if ISAAC_HAS_PAIR_DOT

constexpr int pairs_of(int n) { return (n + 1) / 2; }
// Words of a head in a block.
constexpr int head_words(int head_dim) { return pairs_of(head_dim) * KV_BLOCK + KV_BLOCK / 2 * head_dim; }
// Words and floats of a panel of queries: q, results, largest, sum and factor.
constexpr int pair_panel_state(int head_dim) { return (pairs_of(head_dim) + head_dim + 3) * PANEL; }

ISAAC_SIZE(pair_block_bytes) int pair_block_bytes(int head_dim) { return 4 * head_words(head_dim); }
ISAAC_SIZE(pair_scratch) int pair_scratch(int head_dim) {
  return QUERY_PANELS * pair_panel_state(head_dim) + KV_BLOCK * PANEL + KV_BLOCK / 2 * PANEL;
}

// out[r·out_step + c] = (accumulate: out[…] +) Σ over n pairs of a[k·a_step + r] · b[k·b_step + c], as multiply_tile.
template <int MR, int NV>
ISAAC_NOINLINE void multiply_pairs(const uint32_t* a, int a_step, const uint32_t* b, int b_step, int n, float* out,
                                   int out_step, bool accumulate) {
  vf sums[MR][NV] = {};
  for (; n > 0; n--) {
    vu w[NV];
    ISAAC_UNROLL
    for (int v = 0; v < NV; v++) w[v] = load_words(b + v * LANES);
    ISAAC_UNROLL
    for (int r = 0; r < MR; r++) {
      vu x = splat(a[r]);
      ISAAC_UNROLL
      for (int v = 0; v < NV; v++) sums[r][v] = pair_dot(sums[r][v], x, w[v]);
    }
    a += a_step;
    b += b_step;
  }
  store_tile(sums, out, out_step, accumulate);
}

// Rows of numbers become columns of pairs: out[p·step + i] = the p-th pair of row i for i < LANES, rows of which there are
// `count`, zeros behind them.
ISAAC_NOINLINE void transpose_pairs(const float* rows, size_t stride, int count, int dim, uint32_t* out, int step) {
  int pair = 0;
  for (; 2 * (pair + LANES) <= dim; pair += LANES) {
    vu square[LANES];
    for (int i = 0; i < LANES; i++) square[i] = i < count ? load_pairs(rows + i * stride + 2 * pair) : vu{};
    transpose(square);
    for (int p = 0; p < LANES; p++) store_words(out + (pair + p) * step, square[p]);
  }
  for (; 2 * pair < dim; pair++) {
    for (int i = 0; i < LANES; i++) {
      const float* row = rows + i * stride + 2 * pair;
      out[pair * step + i] = i < count ? pair_of(row[0], 2 * pair + 1 < dim ? row[1] : 0.0f) : 0;
    }
  }
}

// A part is a write for one head.
ISAAC_KERNEL(pack_pairs, PackPairsArgs) {
  int heads = a->heads.i(), dim = a->head_dim.i(), pairs = pairs_of(dim);
  size_t stride = static_cast<size_t>(heads) * dim;
  for (int part = first; part < end; part++) {
    const BlockWrite& write = a->writes.ptr<const BlockWrite>()[part / heads];
    int head = part % heads, count = write.count.i();
    size_t from = static_cast<size_t>(write.row.i()) * stride + static_cast<size_t>(head) * dim;
    const float *k = a->k.ptr<const float>() + from, *v = a->v.ptr<const float>() + from;
    uint32_t* keys = write.block.ptr<uint32_t>() + static_cast<size_t>(head) * head_words(dim);
    uint32_t* values = keys + pairs * KV_BLOCK;
    for (int token = 0; token < KV_BLOCK; token += LANES) {
      transpose_pairs(k + token * stride, stride, count - token, dim, keys + token, KV_BLOCK);
    }
    for (int p = 0; p < KV_BLOCK / 2; p++) {
      const float *one = v + 2 * p * stride, *other = one + stride;
      bool has_one = 2 * p < count, has_other = 2 * p + 1 < count;
      int d = 0;
      for (; has_other && d + LANES <= dim; d += LANES) store_words(values + p * dim + d, pairs_of(load(one + d), load(other + d)));
      for (; d < dim; d++) values[p * dim + d] = has_one ? pair_of(one[d], has_other ? other[d] : 0.0f) : 0;
    }
  }
}

// One vector of a panel's columns: scores [keys] become softmax weights, pair after pair; see softmax_lanes.
ISAAC_NOINLINE bool softmax_pairs(const float* column, int keys, vf scale, uint32_t* weights, float* largest_at,
                                  float* sum_at, float* rescale) {
  vf before = load(largest_at);
  vf peaks[4] = {splat(LOWEST), splat(LOWEST), splat(LOWEST), splat(LOWEST)};
  int key = 0;
  for (; key + 4 <= keys; key += 4) {
    ISAAC_UNROLL
    for (int i = 0; i < 4; i++) peaks[i] = max(peaks[i], load(column + (key + i) * PANEL));
  }
  for (; key < keys; key++) peaks[0] = max(peaks[0], load(column + key * PANEL));
  vf largest = max(before, max(max(peaks[0], peaks[1]), max(peaks[2], peaks[3])) * scale);
  vf factor = exp2_rough(before - largest);
  vf sums[2] = {load(sum_at) * factor, vf{}};
  for (key = 0; key + 2 <= keys; key += 2) {
    vf one = exp2_rough(fma(load(column + key * PANEL), scale, -largest));
    vf other = exp2_rough(fma(load(column + (key + 1) * PANEL), scale, -largest));
    sums[0] += one;
    sums[1] += other;
    store_words(weights + key / 2 * PANEL, pairs_of(one, other));
  }
  if (key < keys) {
    vf one = exp2_rough(fma(load(column + key * PANEL), scale, -largest));
    sums[0] += one;
    store_words(weights + key / 2 * PANEL, pairs_of(one, vf{}));
  }
  store(largest_at, largest);
  store(sum_at, sums[0] + sums[1]);
  store(rescale, factor);
  bool grown = false;
  for (int lane = 0; lane < LANES; lane++) grown |= !(factor[lane] == 1.0f);
  return grown;
}

// A part is a head of a group of queries, heads slowest: threads share a head's keys and values in the cache.
ISAAC_KERNEL(attend_pairs, AttendPairsArgs) {
  constexpr int NV = TILE_VECTORS;
  int heads = a->heads.i(), dim = a->head_dim.i(), groups = a->query_count.i(), pairs = pairs_of(dim);
  size_t stride = static_cast<size_t>(heads) * dim;
  float* scores = a->scratch.ptr<float>() + a->scratch_size.size() * thread;               // [KV_BLOCK][PANEL]
  uint32_t* weights = reinterpret_cast<uint32_t*>(scores + KV_BLOCK * PANEL);              // [KV_BLOCK/2][PANEL]
  float* state = reinterpret_cast<float*>(weights + KV_BLOCK / 2 * PANEL);                 // panels
  // Powers of two instead of e.
  vf scale = splat(a->scale.f() * 1.44269504f);

  for (int part = first; part < end; part++) {
    int head = part / groups;
    const Queries& queries = a->queries.ptr<const Queries>()[part % groups];
    size_t base = static_cast<size_t>(queries.row) * stride + static_cast<size_t>(head) * dim;
    int panels = (queries.count + PANEL - 1) / PANEL;
    struct Panel {
      uint32_t* q;                       // [head_dim/2][PANEL]
      float *out;                        // [head_dim][PANEL]
      float *largest, *sum, *rescale;    // [PANEL]
    } panel[QUERY_PANELS];
    for (int p = 0; p < panels; p++) {
      float* at = state + p * pair_panel_state(dim);
      float* out = at + pairs * PANEL;
      float* softmax = out + dim * PANEL;
      panel[p] = {reinterpret_cast<uint32_t*>(at), out, softmax, softmax + PANEL, softmax + 2 * PANEL};
      for (int lane = 0; lane < PANEL; lane += LANES) {
        int query = p * PANEL + lane;
        transpose_pairs(a->q.ptr<const float>() + base + static_cast<size_t>(query) * stride, stride, queries.count - query, dim,
                        panel[p].q + lane, PANEL);
        store(panel[p].largest + lane, splat(LOWEST));
        store(panel[p].sum + lane, vf{});
      }
      for (int i = 0; i < dim * PANEL; i++) out[i] = 0.0f;
    }

    for (int start = 0, block = queries.blocks; start < queries.context; start += KV_BLOCK, block++) {
      uintptr_t address = static_cast<uintptr_t>(a->blocks.ptr<const double>()[block]);
      const uint32_t* keys = reinterpret_cast<const uint32_t*>(address) + static_cast<size_t>(head) * head_words(dim);
      const uint32_t* values = keys + pairs * KV_BLOCK;
      int count = queries.context - start < KV_BLOCK ? queries.context - start : KV_BLOCK;
      Tiling key_tiles(count), dim_tiles(dim);
      for (int p = 0; p < panels; p++) {
        // 1. Scores [keys][PANEL] = K·q.
        for (int tile = 0; tile < key_tiles.tiles; tile++) {
          int at = key_tiles.start(tile);
          with_rows(key_tiles.rows(tile), [&](auto n) {
            multiply_pairs<decltype(n)::count, NV>(keys + at, KV_BLOCK, panel[p].q, PANEL, pairs, scores + at * PANEL, PANEL, false);
          });
        }
        // 2. Softmax over the keys.
        bool grown = false;
        for (int v = 0; v < NV; v++) {
          int lane = v * LANES;
          grown |= softmax_pairs(scores + lane, count, scale, weights + lane, panel[p].largest + lane, panel[p].sum + lane,
                                 panel[p].rescale + lane);
        }
        // 3. Results [head_dim][PANEL] = results · rescale + Vᵀ·P.
        if (grown) {
          for (int d = 0; d < dim; d++) {
            for (int v = 0; v < NV; v++) {
              float* out = panel[p].out + d * PANEL + v * LANES;
              store(out, load(out) * load(panel[p].rescale + v * LANES));
            }
          }
        }
        for (int tile = 0; tile < dim_tiles.tiles; tile++) {
          int at = dim_tiles.start(tile);
          with_rows(dim_tiles.rows(tile), [&](auto n) {
            multiply_pairs<decltype(n)::count, NV>(values + at, dim, weights, PANEL, (count + 1) / 2, panel[p].out + at * PANEL,
                                                   PANEL, true);
          });
        }
      }
    }

    for (int p = 0; p < panels; p++) {
      for (int lane = 0; lane < PANEL; lane += LANES) {
        int query = p * PANEL + lane, count = queries.count - query;
        vf inverse = splat(1.0f) / load(panel[p].sum + lane);
        float* rows = a->out.ptr<float>() + base + static_cast<size_t>(query) * stride;
        for (int d = 0; d < dim; d += LANES) {
          vu square[LANES];
          int left = dim - d < LANES ? dim - d : LANES;
          for (int i = 0; i < LANES; i++) {
            square[i] = i < left ? as_words(load(panel[p].out + (d + i) * PANEL + lane) * inverse) : vu{};
          }
          transpose(square);
          for (int i = 0; i < LANES && i < count; i++) store_some(rows + i * stride + d, as_float(square[i]), left);
        }
      }
    }
  }
}

#else

ISAAC_SIZE(pair_block_bytes) int pair_block_bytes(int) { return 0; }
ISAAC_SIZE(pair_scratch) int pair_scratch(int) { return 0; }
ISAAC_KERNEL(pack_pairs, PackPairsArgs) { (void)a, (void)first, (void)end; }
ISAAC_KERNEL(attend_pairs, AttendPairsArgs) { (void)a, (void)first, (void)end; }

#endif
