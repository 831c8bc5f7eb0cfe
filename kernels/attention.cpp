// Attention over blocks of keys and values.
//
// A block holds KV_BLOCK tokens. For each key/value head: keys [head_dim][KV_BLOCK], then values [KV_BLOCK][head_dim],
// in f32 or bf16. The key/value cache consists of such blocks; packed images are written into temporary ones first, so
// that one kernel serves both.
//
// Softmax is computed block by block (a running maximum and sum per query, the result rescaled when the maximum grows),
// in one of two ways that need no sum across lanes and no padding of the head size:
//   attend       many queries: a lane is a query. Scores and results are kept transposed, keys and values broadcast.
//   attend_few   one query of each head that shares a key/value head: a lane is a key, then a number of the head.

#include "abi.h"
#include "functions.h"
#include "simd.h"
#include "tile.h"

constexpr int KV_BLOCK = 64;
// Panels of queries that one part takes through a block while it is in the cache.
constexpr int QUERY_PANELS = 4;
constexpr int QUERY_ROWS = QUERY_PANELS * PANEL;
constexpr float LOWEST = -3.402823466e38f;

ISAAC_SIZE(kv_block_tokens) int kv_block_tokens() { return KV_BLOCK; }
ISAAC_SIZE(query_rows) int query_rows() { return QUERY_ROWS; }

// Vectors in a tile of attend_few with MR rows: few rows need more of them to have enough sums under way.
template <int MR>
constexpr int few_vectors() {
  int vectors = MR <= 2 ? 4 : 2;
  return vectors * LANES > KV_BLOCK ? KV_BLOCK / LANES : vectors;
}
constexpr int FEW_COLUMNS = few_vectors<1>() * LANES;

// Floats that the state of a panel of queries takes, see QueryPanel.
constexpr int panel_state(int head_dim) { return (2 * head_dim + 3) * PANEL; }

// Floats of scratch memory that a thread needs for either kernel.
ISAAC_SIZE(attention_scratch) int attention_scratch(int head_dim) {
  int widened = 2 * head_dim * KV_BLOCK + FEW_COLUMNS;
  int many = QUERY_PANELS * panel_state(head_dim) + KV_BLOCK * PANEL;
  int few = TILE_ROWS * (2 * head_dim + FEW_COLUMNS + 2 * KV_BLOCK);
  return widened + (many > few ? many : few);
}

// ── Writing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

// `count` rows of k and v from `row` on go to a block, from token `offset` on.
struct BlockWrite {
  Arg row, count, offset, block;
};

struct KvWriteArgs {
  Arg k, v;    // [tokens, kv_heads·head_dim]
  Arg writes;  // BlockWrite [n]
  Arg kv_heads, head_dim;
  Arg stored;  // Stored
};

ISAAC_INLINE void put(float& target, float x) { target = x; }
ISAAC_INLINE void put(uint16_t& target, float x) { target = to_bf16(x); }

template <class T>
ISAAC_INLINE void kv_write_parts(const KvWriteArgs* a, int first, int end) {
  int kv_heads = a->kv_heads.i(), dim = a->head_dim.i();
  size_t stride = static_cast<size_t>(kv_heads) * dim;
  for (int part = first; part < end; part++) {
    const BlockWrite& write = a->writes.ptr<const BlockWrite>()[part / kv_heads];
    int head = part % kv_heads, count = write.count.i(), offset = write.offset.i();
    size_t from = static_cast<size_t>(write.row.i()) * stride + static_cast<size_t>(head) * dim;
    const float *k = a->k.ptr<const float>() + from, *v = a->v.ptr<const float>() + from;
    T* keys = write.block.ptr<T>() + static_cast<size_t>(head) * 2 * dim * KV_BLOCK;
    T* values = keys + dim * KV_BLOCK + offset * dim;
    keys += offset;
    for (int token = 0; token < count; token++) {
      for (int d = 0; d < dim; d++) {
        put(keys[d * KV_BLOCK + token], k[d]);
        put(values[token * dim + d], v[d]);
      }
      k += stride;
      v += stride;
    }
  }
}

// A part is a write for one head.
ISAAC_KERNEL(kv_write, KvWriteArgs) {
  if (a->stored.i() == STORED_F32) kv_write_parts<float>(a, first, end);
  else kv_write_parts<uint16_t>(a, first, end);
}

// ── Attending ───────────────────────────────────────────────────────────────────────────────────────────────────────

// Neighbouring queries of one sequence.
struct Queries {
  int32_t row;       // of q and out
  int32_t count;     // 1 … QUERY_ROWS
  int32_t position;  // of the first one in its sequence
  int32_t context;   // keys that the last one sees
  int32_t blocks;    // where the sequence's list of blocks starts
};

struct AttendArgs {
  Arg q, out;   // [tokens, heads·head_dim]
  Arg queries;  // Queries [query_count]
  Arg query_count;
  Arg blocks;  // double [n], pointers
  Arg heads, kv_heads, head_dim;
  Arg stored;  // Stored
  Arg causal;  // 0: every query sees all of the context
  Arg scale;
  Arg scratch, scratch_size;  // floats, for each thread
};

// Keys and values of one head in one block as floats, widened into scratch if need be.
struct HeadBlock {
  const float *keys, *values;

  HeadBlock(const AttendArgs* a, int block, int kv_head, float* widened) {
    int dim = a->head_dim.i();
    uintptr_t base = static_cast<uintptr_t>(a->blocks.ptr<const double>()[block]);
    size_t start = static_cast<size_t>(kv_head) * 2 * dim * KV_BLOCK;
    if (a->stored.i() == STORED_F32) {
      keys = reinterpret_cast<const float*>(base) + start;
    } else {
      const uint16_t* from = reinterpret_cast<const uint16_t*>(base) + start;
      for (int i = 0; i < 2 * dim * KV_BLOCK; i++) widened[i] = from_bf16(from[i]);
      keys = widened;
    }
    values = keys + dim * KV_BLOCK;
  }
};

// A panel of queries and their state, transposed.
struct QueryPanel {
  float *q, *out;       // [head_dim][PANEL]
  float *largest, *sum;  // [PANEL]: of the softmax so far
  float* rescale;        // [PANEL]
};

// One vector of a panel's columns: scores become exp(score · scale − largest), the largest and the sum so far are brought
// up to date. With `masked`, lane i sees the first visible + i keys. Returns whether any maximum grew; `rescale` then is
// what results so far must be multiplied by.
ISAAC_NOINLINE bool softmax_lanes(float* column, int keys, vf scale, bool masked, int visible, float* largest_at,
                                  float* sum_at, float* rescale) {
  if (masked) {
    for (int key = 0; key < keys; key++) store(column + key * PANEL, load(column + key * PANEL) * scale);
    scale = splat(1.0f);
    for (int lane = 0; lane < LANES; lane++) {
      int from = visible + lane > 0 ? visible + lane : 0;
      for (int key = from; key < keys; key++) column[key * PANEL + lane] = -__builtin_huge_valf();
    }
  }
  vf before = load(largest_at);
  vf peaks[2] = {before, before};
  int key = 0;
  for (; key + 2 <= keys; key += 2) {
    peaks[0] = max(peaks[0], load(column + key * PANEL) * scale);
    peaks[1] = max(peaks[1], load(column + (key + 1) * PANEL) * scale);
  }
  if (key < keys) peaks[0] = max(peaks[0], load(column + key * PANEL) * scale);
  vf largest = max(peaks[0], peaks[1]);
  vf factor = exp_(before - largest);
  vf sum = load(sum_at) * factor;
  for (key = 0; key < keys; key++) {
    vf p = exp_(fma(load(column + key * PANEL), scale, -largest));
    store(column + key * PANEL, p);
    sum += p;
  }
  store(largest_at, largest);
  store(sum_at, sum);
  store(rescale, factor);
  bool grown = false;
  for (int lane = 0; lane < LANES; lane++) grown |= !(factor[lane] == 1.0f);
  return grown;
}

// Take a panel of queries through the first `keys` keys of a block. With `masked`, lane i sees the first visible + i.
ISAAC_INLINE void attend_block(const QueryPanel& panel, const HeadBlock& block, int keys, int dim, float scale,
                               bool masked, int visible, float* scores) {
  constexpr int NV = TILE_VECTORS;
  // 1. Scores [keys][PANEL] = K·q.
  Tiling key_tiles(keys);
  for (int tile = 0; tile < key_tiles.tiles; tile++) {
    int start = key_tiles.start(tile);
    with_rows(key_tiles.rows(tile), [&](auto n) {
      multiply_tile<decltype(n)::count, NV>(block.keys + start, KV_BLOCK, panel.q, PANEL, dim, scores + start * PANEL,
                                            PANEL, false);
    });
  }
  // 2. Softmax over the keys, which lie in different rows: lane by lane.
  bool grown = false;
  for (int v = 0; v < NV; v++) {
    grown |= softmax_lanes(scores + v * LANES, keys, splat(scale), masked, visible + v * LANES,
                           panel.largest + v * LANES, panel.sum + v * LANES, panel.rescale + v * LANES);
  }
  // 3. Results [head_dim][PANEL] = results · rescale + Vᵀ·P.
  if (grown) {
    for (int d = 0; d < dim; d++) {
      for (int v = 0; v < NV; v++) {
        float* out = panel.out + d * PANEL + v * LANES;
        store(out, load(out) * load(panel.rescale + v * LANES));
      }
    }
  }
  Tiling dim_tiles(dim);
  for (int tile = 0; tile < dim_tiles.tiles; tile++) {
    int start = dim_tiles.start(tile);
    with_rows(dim_tiles.rows(tile), [&](auto n) {
      multiply_tile<decltype(n)::count, NV>(block.values + start, dim, scores, PANEL, keys, panel.out + start * PANEL,
                                            PANEL, true);
    });
  }
}

// A part is a head of a group of queries, heads slowest: threads share a head's keys and values in the cache.
ISAAC_KERNEL(attend, AttendArgs) {
  int heads = a->heads.i(), dim = a->head_dim.i(), groups = a->query_count.i();
  int share = heads / a->kv_heads.i();
  bool causal = a->causal.i() != 0;
  size_t stride = static_cast<size_t>(heads) * dim;
  // Scratch: widened keys and values, scores, panels.
  float* widened = a->scratch.ptr<float>() + a->scratch_size.size() * thread;
  float* scores = widened + 2 * dim * KV_BLOCK + FEW_COLUMNS;
  float* state = scores + KV_BLOCK * PANEL;

  for (int part = first; part < end; part++) {
    int head = part / groups;
    const Queries& queries = a->queries.ptr<const Queries>()[part % groups];
    size_t base = static_cast<size_t>(queries.row) * stride + static_cast<size_t>(head) * dim;
    const float* q = a->q.ptr<const float>() + base;
    float* out = a->out.ptr<float>() + base;
    int panels = (queries.count + PANEL - 1) / PANEL;

    QueryPanel panel[QUERY_PANELS];
    for (int p = 0; p < panels; p++) {
      float* at = state + p * panel_state(dim);
      float* softmax = at + 2 * dim * PANEL;
      panel[p] = {at, at + dim * PANEL, softmax, softmax + PANEL, softmax + 2 * PANEL};
      for (int lane = 0; lane < PANEL; lane++) {
        int query = p * PANEL + lane;
        const float* row = q + static_cast<size_t>(query) * stride;
        for (int d = 0; d < dim; d++) panel[p].q[d * PANEL + lane] = query < queries.count ? row[d] : 0.0f;
        panel[p].largest[lane] = LOWEST;
        panel[p].sum[lane] = 0.0f;
      }
      for (int i = 0; i < dim * PANEL; i++) panel[p].out[i] = 0.0f;
    }

    for (int start = 0, block = queries.blocks; start < queries.context; start += KV_BLOCK, block++) {
      HeadBlock kv(a, block, head / share, widened);
      for (int p = 0; p < panels; p++) {
        // The first query of the panel sees so many keys of this block, its last one PANEL - 1 more.
        int visible = causal ? queries.position + p * PANEL + 1 - start : queries.context - start;
        int last = causal ? visible + PANEL - 1 : visible;
        int left = queries.context - start;
        int keys = last < left ? last : left;
        if (keys > KV_BLOCK) keys = KV_BLOCK;
        if (keys <= 0) continue;
        bool masked = visible < keys;
        attend_block(panel[p], kv, keys, dim, a->scale.f(), masked, visible, scores);
      }
    }

    for (int p = 0; p < panels; p++) {
      for (int lane = 0; lane < PANEL && p * PANEL + lane < queries.count; lane++) {
        float* row = out + static_cast<size_t>(p * PANEL + lane) * stride;
        float inverse = 1.0f / panel[p].sum[lane];
        for (int d = 0; d < dim; d++) row[d] = panel[p].out[d * PANEL + lane] * inverse;
      }
    }
  }
}

// The heads h0 … h0+MR-1 of one query, which share a key/value head.
template <int MR>
ISAAC_INLINE void attend_heads(const AttendArgs* a, const Queries& query, int kv_head, int h0, float* scratch) {
  constexpr int NV = few_vectors<MR>();
  constexpr int COLUMNS = NV * LANES;
  int dim = a->head_dim.i();
  int padded = (dim + COLUMNS - 1) / COLUMNS * COLUMNS;
  size_t base = static_cast<size_t>(query.row) * a->heads.i() * dim + static_cast<size_t>(h0) * dim;
  const float* q = a->q.ptr<const float>() + base;
  float scale = a->scale.f();

  float* widened = scratch;
  float* scores = widened + 2 * dim * KV_BLOCK + FEW_COLUMNS;  // [MR][KV_BLOCK]
  float* weights = scores + MR * KV_BLOCK;                     // [KV_BLOCK][MR]
  float* packed = weights + KV_BLOCK * MR;                     // q [head_dim][MR]
  float* result = packed + dim * MR;                           // [MR][padded]
  float largest[MR], sum[MR];
  for (int r = 0; r < MR; r++) {
    for (int d = 0; d < dim; d++) packed[d * MR + r] = q[r * dim + d];
    for (int d = 0; d < padded; d++) result[r * padded + d] = 0.0f;
    largest[r] = LOWEST;
    sum[r] = 0.0f;
  }

  for (int start = 0, block = query.blocks; start < query.context; start += KV_BLOCK, block++) {
    HeadBlock kv(a, block, kv_head, widened);
    int left = query.context - start;
    int keys = left < KV_BLOCK ? left : KV_BLOCK;
    // 1. Scores [MR][keys]: a lane is a key. What lies behind the last key is computed and dropped.
    for (int key = 0; key < keys; key += COLUMNS) {
      multiply_tile<MR, NV>(packed, MR, kv.keys + key, KV_BLOCK, dim, scores + key, KV_BLOCK, false);
    }
    // 2. Softmax.
    for (int r = 0; r < MR; r++) {
      float* s = scores + r * KV_BLOCK;
      int end = (keys + LANES - 1) / LANES * LANES;
      for (int key = keys; key < end; key++) s[key] = s[0];
      vf peak = splat(largest[r]);
      for (int key = 0; key < end; key += LANES) {
        vf scaled = load(s + key) * scale;
        store(s + key, scaled);
        peak = max(peak, scaled);
      }
      for (int key = keys; key < end; key++) s[key] = -__builtin_huge_valf();
      float before = largest[r];
      largest[r] = max_lanes(peak);
      vf shift = splat(largest[r]), total = {};
      for (int key = 0; key < end; key += LANES) {
        vf p = exp_(load(s + key) - shift);
        store(s + key, p);
        total += p;
      }
      vf factor = exp_(splat(before) - shift);
      sum[r] = sum[r] * factor[0] + sum_lanes(total);
      for (int d = 0; d < padded; d += LANES) {
        float* to = result + r * padded + d;
        store(to, load(to) * factor);
      }
      for (int key = 0; key < keys; key++) weights[key * MR + r] = s[key];
    }
    // 3. Results [MR][head_dim]: a lane is a number of the head. Lanes behind the last one read what follows a row of
    //    values (blocks end with room for that) and are dropped.
    for (int d = 0; d < dim; d += COLUMNS) {
      multiply_tile<MR, NV>(weights, MR, kv.values + d, dim, keys, result + d, padded, true);
    }
  }

  float* out = a->out.ptr<float>() + base;
  for (int r = 0; r < MR; r++) {
    for (int d = 0; d < dim; d++) out[r * dim + d] = result[r * padded + d] / sum[r];
  }
}

// Floats that must follow the last block, see step 3 above.
ISAAC_SIZE(kv_block_slack) int kv_block_slack() { return FEW_COLUMNS; }

// A part is one query and one key/value head with the heads that share it.
ISAAC_KERNEL(attend_few, AttendArgs) {
  int kv_heads = a->kv_heads.i(), share = a->heads.i() / kv_heads;
  float* scratch = a->scratch.ptr<float>() + a->scratch_size.size() * thread;
  Tiling tiling(share);
  for (int part = first; part < end; part++) {
    const Queries& query = a->queries.ptr<const Queries>()[part / kv_heads];
    int kv_head = part % kv_heads;
    for (int tile = 0; tile < tiling.tiles; tile++) {
      int head = kv_head * share + tiling.start(tile);
      with_rows(tiling.rows(tile),
                [&](auto n) { attend_heads<decltype(n)::count>(a, query, kv_head, head, scratch); });
    }
  }
}
