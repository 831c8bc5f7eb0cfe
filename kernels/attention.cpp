// Attention over blocks of keys and values.
//
// A block holds KV_BLOCK tokens. For each key/value head: keys [head_dim][KV_BLOCK], then values [KV_BLOCK][head_dim],
// in f32, bf16 or int8. As int8, each key and each value of a token is whole numbers with one scale (see quantise.h), and
// behind the head's values are the scales, f32: of keys [KV_BLOCK], of values [KV_BLOCK]. The key/value cache consists of
// such blocks; packed images are written into temporary ones first, so that one kernel serves both.
//
// Softmax is computed block by block (a running maximum and sum per query, the result rescaled when the maximum grows),
// in one of two ways that need no sum across lanes and no padding of the head size:
//   attend       many queries: a lane is a query. Scores and results are kept transposed, keys and values broadcast.
//   attend_few   one query of each head that shares a key/value head: a lane is a key, then a number of the head.

#include "abi.h"
#include "functions.h"
#include "quantise.h"
#include "simd.h"
#include "tile.h"

constexpr int KV_BLOCK = 64;
// Panels of queries that one part takes through a block while it is in the cache.
constexpr int QUERY_PANELS = 4;
constexpr int QUERY_ROWS = QUERY_PANELS * PANEL;
constexpr float LOWEST = -3.402823466e38f;

ISAAC_SIZE(kv_block_tokens) int kv_block_tokens() { return KV_BLOCK; }
ISAAC_SIZE(query_rows) int query_rows() { return QUERY_ROWS; }

// Most rows of a tile of attend_few, and vectors in one with MR rows: keys and values are read in order where a tile is
// as wide as a block, and few rows need several to have enough sums under way.
constexpr int FEW_ROWS = TILE_ROWS < 6 ? TILE_ROWS : 6;
template <int MR>
constexpr int few_vectors() {
  int vectors = MR <= 2 || TILE_ROWS > 6 ? 4 : 2;
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

// Bytes from a head of a block to the next.
template <class T>
ISAAC_INLINE size_t head_bytes(int dim) {
  size_t scales = sizeof(T) == 1 ? 2 * KV_BLOCK * sizeof(float) : 0;
  return static_cast<size_t>(2 * dim * KV_BLOCK) * sizeof(T) + scales;
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

// A key or value of n numbers, to every `step`th place. Returns its scale, which only int8 has.
ISAAC_INLINE float put(const float* x, int n, float* to, int step) {
  for (int i = 0; i < n; i++) to[i * step] = x[i];
  return 1.0f;
}
ISAAC_INLINE float put(const float* x, int n, uint16_t* to, int step) {
  for (int i = 0; i < n; i++) to[i * step] = to_bf16(x[i]);
  return 1.0f;
}
ISAAC_INLINE float put(const float* x, int n, int8_t* to, int step) { return quantise_to_bytes(x, n, to, step); }

template <class T>
ISAAC_INLINE void kv_write_parts(const KvWriteArgs* a, int first, int end) {
  int kv_heads = a->kv_heads.i(), dim = a->head_dim.i();
  size_t stride = static_cast<size_t>(kv_heads) * dim;
  for (int part = first; part < end; part++) {
    const BlockWrite& write = a->writes.ptr<const BlockWrite>()[part / kv_heads];
    int head = part % kv_heads, count = write.count.i(), offset = write.offset.i();
    size_t from = static_cast<size_t>(write.row.i()) * stride + static_cast<size_t>(head) * dim;
    const float *k = a->k.ptr<const float>() + from, *v = a->v.ptr<const float>() + from;
    T* keys = reinterpret_cast<T*>(write.block.ptr<char>() + head * head_bytes<T>(dim));
    T* values = keys + dim * KV_BLOCK;
    float* scales = reinterpret_cast<float*>(values + KV_BLOCK * dim);
    for (int token = offset; token < offset + count; token++) {
      float key_scale = put(k, dim, keys + token, KV_BLOCK);
      float value_scale = put(v, dim, values + token * dim, 1);
      if constexpr (sizeof(T) == 1) {
        scales[token] = key_scale;
        scales[KV_BLOCK + token] = value_scale;
      }
      k += stride;
      v += stride;
    }
  }
}

// A part is a write for one head.
ISAAC_KERNEL(kv_write, KvWriteArgs) {
  switch (a->stored.i()) {
    case STORED_F32: return kv_write_parts<float>(a, first, end);
    case STORED_BF16: return kv_write_parts<uint16_t>(a, first, end);
    default: return kv_write_parts<int8_t>(a, first, end);
  }
}

// ── Attending ───────────────────────────────────────────────────────────────────────────────────────────────────────

// Neighbouring queries of one sequence.
struct Queries {
  int32_t row;       // of q and out
  int32_t count;     // 1 … QUERY_ROWS
  int32_t position;  // of the first one in its sequence
  int32_t context;   // keys that the last one sees
  int32_t blocks;    // where the sequence's list of blocks starts
  // attend_few: a range of a query's keys, in whole blocks, can be a query of its own. It has the list of blocks start
  // where the range does, `context` counts its keys, and the result goes to this partial result, see partial_size; −1:
  // these are all keys, and it goes to out.
  int32_t partial;
};

// Floats of a head of a partial result: the weighted values [head_dim], the weights' sum, the largest score. Partial
// results are [n][heads].
constexpr int partial_size(int head_dim) { return head_dim + 2; }

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
  Arg partials;               // see partial_size
};

// NV vectors of neighbouring numbers as floats.
template <int NV>
ISAAC_INLINE void load_stored(const float* p, vf* out) {
  ISAAC_UNROLL
  for (int v = 0; v < NV; v++) out[v] = load(p + v * LANES);
}
template <int NV>
ISAAC_INLINE void load_stored(const uint16_t* p, vf* out) {
  ISAAC_UNROLL
  for (int v = 0; v < NV; v++) {
    // GCC takes several instructions for the conversion that these are one of.
#if defined(__AVX512F__)
    __m512i words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + v * LANES)));
    out[v] = as_float(reinterpret_cast<vi>(_mm512_slli_epi32(words, 16)));
#elif defined(__AVX2__)
    __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + v * LANES)));
    out[v] = as_float(reinterpret_cast<vi>(_mm256_slli_epi32(words, 16)));
#else
    out[v] = load_bf16(p + v * LANES);
#endif
  }
}
template <int NV>
ISAAC_INLINE void load_stored(const int8_t* p, vf* out) {
#if ISAAC_LANES == 4
  // Eight bytes at a time: the narrowest that these instruction sets widen.
  static_assert(NV % 2 == 0);
  typedef int8_t bytes_memory __attribute__((vector_size(8), aligned(1), may_alias));
  typedef int16_t halves __attribute__((vector_size(16)));
  typedef int16_t half_of_them __attribute__((vector_size(8)));
  ISAAC_UNROLL
  for (int v = 0; v < NV; v += 2) {
    halves wide = __builtin_convertvector(*reinterpret_cast<const bytes_memory*>(p + v * LANES), halves);
    half_of_them low = __builtin_shufflevector(wide, wide, 0, 1, 2, 3);
    half_of_them high = __builtin_shufflevector(wide, wide, 4, 5, 6, 7);
    out[v] = __builtin_convertvector(__builtin_convertvector(low, vi), vf);
    out[v + 1] = __builtin_convertvector(__builtin_convertvector(high, vi), vf);
  }
#else
  ISAAC_UNROLL
  for (int v = 0; v < NV; v++) {
    // GCC converts to four times the width number by number.
#if defined(__AVX512F__)
    __m512i whole = _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + v * LANES)));
#else
    __m256i whole = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + v * LANES)));
#endif
    out[v] = __builtin_convertvector(reinterpret_cast<vi>(whole), vf);
  }
#endif
}

// Keys and values of one head in one block as they are stored.
template <class T>
struct StoredHead {
  const T *keys, *values;
  const float *key_scales, *value_scales;  // int8 only

  StoredHead(const AttendArgs* a, int block, int kv_head) {
    int dim = a->head_dim.i();
    uintptr_t base = static_cast<uintptr_t>(a->blocks.ptr<const double>()[block]);
    keys = reinterpret_cast<const T*>(base + kv_head * head_bytes<T>(dim));
    values = keys + dim * KV_BLOCK;
    key_scales = reinterpret_cast<const float*>(values + KV_BLOCK * dim);
    value_scales = key_scales + KV_BLOCK;
  }
};

ISAAC_NOINLINE void widen_bf16(const uint16_t* from, int count, float* to) {
  for (int i = 0; i < count; i += 2 * LANES) {
    vf wide[2];
    load_stored<2>(from + i, wide);
    store(to + i, wide[0]);
    store(to + i + LANES, wide[1]);
  }
}

// Keys [dim][KV_BLOCK] and values [KV_BLOCK][dim] with their scales. What is written behind the end of a row is either
// the next row's, which comes later, or behind all of them.
ISAAC_NOINLINE void widen_int8(const StoredHead<int8_t>& head, int dim, float* keys, float* values) {
  vf wide[2];
  for (int column = 0; column < KV_BLOCK; column += 2 * LANES) {
    vf scale[2] = {load(head.key_scales + column), load(head.key_scales + column + LANES)};
    for (int d = 0; d < dim; d++) {
      load_stored<2>(head.keys + d * KV_BLOCK + column, wide);
      store(keys + d * KV_BLOCK + column, wide[0] * scale[0]);
      store(keys + d * KV_BLOCK + column + LANES, wide[1] * scale[1]);
    }
  }
  for (int token = 0; token < KV_BLOCK; token++) {
    vf scale = splat(head.value_scales[token]);
    for (int d = 0; d < dim; d += 2 * LANES) {
      load_stored<2>(head.values + token * dim + d, wide);
      store(values + token * dim + d, wide[0] * scale);
      store(values + token * dim + d + LANES, wide[1] * scale);
    }
  }
}

// Keys and values of one head in one block as floats, widened into scratch if need be.
struct HeadBlock {
  const float *keys, *values;

  HeadBlock(const AttendArgs* a, int block, int kv_head, float* widened) {
    int dim = a->head_dim.i();
    keys = widened;
    switch (a->stored.i()) {
      case STORED_F32:
        keys = StoredHead<float>(a, block, kv_head).keys;
        break;
      case STORED_BF16:
        widen_bf16(StoredHead<uint16_t>(a, block, kv_head).keys, 2 * dim * KV_BLOCK, widened);
        break;
      default:
        widen_int8(StoredHead<int8_t>(a, block, kv_head), dim, widened, widened + dim * KV_BLOCK);
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

// How far ahead of a query's products its keys and values are asked for: they come from memory, at every step anew.
constexpr int STORED_AHEAD = 6144;

// multiply_tile, see tile.h, with b as it is stored.
template <int MR, int NV, class T>
ISAAC_NOINLINE void multiply_stored(const float* a, int a_step, const T* b, int b_step, int k, float* out, int out_step,
                                    bool accumulate) {
  vf sums[MR][NV] = {};
  for (; k > 0; k--) {
    const char* ask = reinterpret_cast<const char*>(b) + STORED_AHEAD;
    ISAAC_UNROLL
    for (int line = 0; line < NV * LANES * static_cast<int>(sizeof(T)); line += 64) __builtin_prefetch(ask + line);
    vf w[NV];
    load_stored<NV>(b, w);
    ISAAC_UNROLL
    for (int r = 0; r < MR; r++) {
      vf x = splat(a[r]);
      ISAAC_UNROLL
      for (int v = 0; v < NV; v++) sums[r][v] = fma(x, w[v], sums[r][v]);
    }
    a += a_step;
    b += b_step;
  }
  store_tile(sums, out, out_step, accumulate);
}

// The heads h0 … h0+MR-1 of one query, which share a key/value head, over the keys of its range. Scales are taken in
// where there are few numbers: those of keys by the scores, those of values by the weights.
template <int MR, class T>
ISAAC_INLINE void attend_heads(const AttendArgs* a, const Queries& query, int kv_head, int h0, float* scratch) {
  constexpr int NV = few_vectors<MR>();
  constexpr int COLUMNS = NV * LANES;
  constexpr bool SCALED = sizeof(T) == 1;
  int dim = a->head_dim.i();
  int padded = (dim + COLUMNS - 1) / COLUMNS * COLUMNS;
  size_t base = static_cast<size_t>(query.row) * a->heads.i() * dim + static_cast<size_t>(h0) * dim;
  const float* q = a->q.ptr<const float>() + base;
  float scale = a->scale.f();

  float* scores = scratch;                  // [MR][KV_BLOCK]
  float* weights = scores + MR * KV_BLOCK;  // [KV_BLOCK][MR]
  float* packed = weights + KV_BLOCK * MR;  // q [head_dim][MR]
  float* result = packed + dim * MR;        // [MR][padded]
  float largest[MR], sum[MR];
  for (int r = 0; r < MR; r++) {
    for (int d = 0; d < dim; d++) packed[d * MR + r] = q[r * dim + d];
    for (int d = 0; d < padded; d++) result[r * padded + d] = 0.0f;
    largest[r] = LOWEST;
    sum[r] = 0.0f;
  }

  for (int start = 0, block = query.blocks; start < query.context; start += KV_BLOCK, block++) {
    StoredHead<T> kv(a, block, kv_head);
    int left = query.context - start;
    int keys = left < KV_BLOCK ? left : KV_BLOCK;
    // 1. Scores [MR][keys]: a lane is a key. What lies behind the last key is computed and dropped.
    for (int key = 0; key < keys; key += COLUMNS) {
      multiply_stored<MR, NV>(packed, MR, kv.keys + key, KV_BLOCK, dim, scores + key, KV_BLOCK, false);
    }
    // 2. Softmax.
    for (int r = 0; r < MR; r++) {
      float* s = scores + r * KV_BLOCK;
      int end = (keys + LANES - 1) / LANES * LANES;
      if constexpr (SCALED) {
        for (int key = 0; key < end; key += LANES) store(s + key, load(s + key) * load(kv.key_scales + key));
      }
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
      for (int key = 0; key < keys; key++) weights[key * MR + r] = SCALED ? s[key] * kv.value_scales[key] : s[key];
    }
    // 3. Results [MR][head_dim]: a lane is a number of the head. Lanes behind the last one read what follows a row of
    //    values (blocks end with room for that) and are dropped.
    for (int d = 0; d < dim; d += COLUMNS) {
      multiply_stored<MR, NV>(weights, MR, kv.values + d, dim, keys, result + d, padded, true);
    }
  }

  for (int r = 0; r < MR; r++) {
    if (query.partial < 0) {
      float* out = a->out.ptr<float>() + base + r * dim;
      for (int d = 0; d < dim; d++) out[d] = result[r * padded + d] / sum[r];
    } else {
      size_t head = static_cast<size_t>(query.partial) * a->heads.i() + h0 + r;
      float* partial = a->partials.ptr<float>() + head * partial_size(dim);
      for (int d = 0; d < dim; d++) partial[d] = result[r * padded + d];
      partial[dim] = sum[r];
      partial[dim + 1] = largest[r];
    }
  }
}

// Floats that must follow the last block, see step 3 above.
ISAAC_SIZE(kv_block_slack) int kv_block_slack() { return FEW_COLUMNS; }

template <class T>
ISAAC_INLINE void attend_few_parts(const AttendArgs* a, int first, int end, float* scratch) {
  int kv_heads = a->kv_heads.i(), share = a->heads.i() / kv_heads;
  Tiling<FEW_ROWS> tiling(share);
  for (int part = first; part < end; part++) {
    const Queries& query = a->queries.ptr<const Queries>()[part / kv_heads];
    int kv_head = part % kv_heads;
    for (int tile = 0; tile < tiling.tiles; tile++) {
      int head = kv_head * share + tiling.start(tile);
      with_rows<FEW_ROWS>(tiling.rows(tile),
                          [&](auto n) { attend_heads<decltype(n)::count, T>(a, query, kv_head, head, scratch); });
    }
  }
}

// A part is one query, or a range of its keys, and one key/value head with the heads that share it.
ISAAC_KERNEL(attend_few, AttendArgs) {
  float* scratch = a->scratch.ptr<float>() + a->scratch_size.size() * thread;
  switch (a->stored.i()) {
    case STORED_F32: return attend_few_parts<float>(a, first, end, scratch);
    case STORED_BF16: return attend_few_parts<uint16_t>(a, first, end, scratch);
    default: return attend_few_parts<int8_t>(a, first, end, scratch);
  }
}

// A query whose keys were cut into ranges.
struct CutQuery {
  int32_t row;      // of out
  int32_t partial;  // of its first range
  int32_t ranges;
};

struct JoinRangesArgs {
  Arg partials, out;
  Arg queries;  // CutQuery [n]
  Arg heads, head_dim;
};

// A part is a head of a query: out = Σ result · e^(largest − peak) / Σ sum · e^(largest − peak) over its ranges.
ISAAC_KERNEL(join_ranges, JoinRangesArgs) {
  int heads = a->heads.i(), dim = a->head_dim.i(), size = partial_size(dim);
  size_t step = static_cast<size_t>(heads) * size;
  for (int part = first; part < end; part++) {
    const CutQuery& query = a->queries.ptr<const CutQuery>()[part / heads];
    int head = part % heads;
    const float* partials = a->partials.ptr<const float>() + query.partial * step + static_cast<size_t>(head) * size;
    float* out = a->out.ptr<float>() + (static_cast<size_t>(query.row) * heads + head) * dim;
    float peak = LOWEST;
    for (int range = 0; range < query.ranges; range++) {
      float largest = partials[range * step + dim + 1];
      peak = largest > peak ? largest : peak;
    }
    float sum = 0.0f;
    for (int d = 0; d < dim; d++) out[d] = 0.0f;
    for (int range = 0; range < query.ranges; range++) {
      const float* partial = partials + range * step;
      vf weight = exp_(splat(partial[dim + 1] - peak));
      sum += partial[dim] * weight[0];
      int d = 0;
      for (; d + LANES <= dim; d += LANES) store(out + d, fma(load(partial + d), weight, load(out + d)));
      for (; d < dim; d++) out[d] += partial[d] * weight[0];
    }
    float inverse = 1.0f / sum;
    for (int d = 0; d < dim; d++) out[d] *= inverse;
  }
}
