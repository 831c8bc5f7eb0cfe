// The inner loop of everything that multiplies matrices: a tile of the result is kept in registers.
#pragma once

#include "abi.h"
#include "simd.h"

// Vectors in the width of a tile, and most rows. Register budget: ROWS·VECTORS sums, VECTORS of b and one broadcast of a.
// 16 registers (WebAssembly on x86-64, AVX2) hold 6×2, 32 registers (AVX-512, NEON) hold 12×2.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int TILE_ROWS = 12;
#elif defined(__AVX2__)
constexpr int TILE_ROWS = 6;
#else
constexpr int TILE_ROWS = 5;
#endif
constexpr int TILE_VECTORS = 2;
// Columns of a tile, and of a panel of a packed weight.
constexpr int PANEL = TILE_VECTORS * LANES;

template <int N>
struct Rows {
  static constexpr int count = N;
};

// Call f with the number of rows as a constant.
template <class F>
ISAAC_INLINE void with_rows(int rows, F f) {
  switch (rows) {
    case 1: return f(Rows<1>{});
    case 2: return f(Rows<2>{});
    case 3: return f(Rows<3>{});
    case 4: return f(Rows<4>{});
    case 5: return f(Rows<5>{});
#if ISAAC_LANES >= 8 || defined(__aarch64__)
    case 6: return f(Rows<6>{});
#endif
#if defined(__AVX512F__) || defined(__aarch64__)
    case 7: return f(Rows<7>{});
    case 8: return f(Rows<8>{});
    case 9: return f(Rows<9>{});
    case 10: return f(Rows<10>{});
    case 11: return f(Rows<11>{});
    case 12: return f(Rows<12>{});
#endif
    default: return;
  }
}

// A range of `size` rows cut into the fewest tiles of at most TILE_ROWS, all of them equal or one row apart: 6 rows are
// 3 + 3, not 5 + 1, because a tile of one row costs almost as much as a full one.
struct Tiling {
  int tiles, base, extra;

  explicit Tiling(int size) : tiles((size + TILE_ROWS - 1) / TILE_ROWS), base(tiles ? size / tiles : 0) {
    extra = size - base * tiles;
  }
  int start(int tile) const { return tile * base + (tile < extra ? tile : extra); }
  int rows(int tile) const { return base + (tile < extra ? 1 : 0); }
};

// sums[r][v] += Σ over k of a[k·a_step + r] · b[k·b_step + v·LANES …]
template <int MR, int NV>
ISAAC_INLINE void multiply_add(vf (&sums)[MR][NV], const float* a, int a_step, const float* b, int b_step, int k) {
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
    a += a_step;
    b += b_step;
  }
}
