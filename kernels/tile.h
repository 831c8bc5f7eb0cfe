// The inner loop of everything that multiplies matrices: a tile of the result is kept in registers.
#pragma once

#include "abi.h"
#include "simd.h"

// Vectors in the width of a tile, and most rows. Register budget: ROWS·VECTORS sums, VECTORS of b and the broadcasts of a.
// 16 registers hold 6×2 where one broadcast is alive at a time. WebAssembly engines on x86-64 keep one register to
// themselves and the older ones load all broadcasts of a step first: with more than 4 rows they push sums to the stack,
// which halves the speed. 32 registers (AVX-512, NEON) hold 12×2.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int TILE_ROWS = 12;
#elif defined(__AVX2__)
constexpr int TILE_ROWS = 6;
#else
constexpr int TILE_ROWS = 4;
#endif
constexpr int TILE_VECTORS = 2;

// Most rows of a tile of int8 dot products, whose vectors are as many. With 32 registers 7×2 sums over groups stay beside
// 7×2 of the group at hand. With 16, those over groups wait in memory, and no broadcasts are loaded ahead; weights that are
// taken apart (plain SIMD128) fill two registers each.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr bool MANY_REGISTERS = true;
constexpr int DOT_ROWS = 7;
#else
constexpr bool MANY_REGISTERS = false;
#if defined(__wasm_simd128__) && !defined(__wasm_relaxed_simd__)
constexpr int DOT_ROWS = 4;
#else
constexpr int DOT_ROWS = 5;
#endif
#endif
// Columns of a tile, and of a panel of a packed weight.
constexpr int PANEL = TILE_VECTORS * LANES;

template <int N>
struct Rows {
  static constexpr int count = N;
};

template <int N, class F>
ISAAC_INLINE void with_rows_up_to(int rows, F f) {
  if (rows == N) return f(Rows<N>{});
  if constexpr (N > 1) with_rows_up_to<N - 1>(rows, f);
}

// Call f with the number of rows, 1 … MOST, as a constant.
template <int MOST = TILE_ROWS, class F>
ISAAC_INLINE void with_rows(int rows, F f) {
  with_rows_up_to<MOST>(rows, f);
}

// A range of `size` rows cut into the fewest tiles of at most MOST, all of them equal or one row apart: 5 rows are
// 3 + 2, not 4 + 1, because a tile of one row costs almost as much as a full one.
template <int MOST = TILE_ROWS>
struct Tiling {
  int tiles, base, extra;

  explicit Tiling(int size) : tiles((size + MOST - 1) / MOST), base(tiles ? size / tiles : 0) {
    extra = size - base * tiles;
  }
  int start(int tile) const { return tile * base + (tile < extra ? tile : extra); }
  int rows(int tile) const { return base + (tile < extra ? 1 : 0); }
};

// out[r·out_step + c] = (accumulate: out[…] +) sums
template <int MR, int NV>
ISAAC_INLINE void store_tile(const vf (&sums)[MR][NV], float* out, int out_step, bool accumulate) {
  ISAAC_UNROLL
  for (int r = 0; r < MR; r++) {
    ISAAC_UNROLL
    for (int v = 0; v < NV; v++) {
      float* to = out + r * out_step + v * LANES;
      store(to, accumulate ? load(to) + sums[r][v] : sums[r][v]);
    }
  }
}

// out[r·out_step + c] = (accumulate: out[…] +) Σ over k of a[k·a_step + r] · b[k·b_step + c], for MR rows and NV vectors of
// columns. A_STEP is a_step where it is known beforehand: then all of a step's loads have constant offsets.
template <int MR, int NV, int A_STEP = 0>
ISAAC_NOINLINE void multiply_tile(const float* a, int a_step, const float* b, int b_step, int k, float* out, int out_step,
                                  bool accumulate) {
  vf sums[MR][NV] = {};
  for (; k > 0; k--) {
    vf w[NV];
    ISAAC_UNROLL
    for (int v = 0; v < NV; v++) w[v] = load(b + v * LANES);
    ISAAC_UNROLL
    for (int r = 0; r < MR; r++) {
      vf x = splat(a[r]);
      ISAAC_UNROLL
      for (int v = 0; v < NV; v++) sums[r][v] = fma(x, w[v], sums[r][v]);
    }
    a += A_STEP ? A_STEP : a_step;
    b += b_step;
  }
  store_tile(sums, out, out_step, accumulate);
}
