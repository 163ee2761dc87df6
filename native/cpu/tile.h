// The innermost loops: one tile of C held in registers while k columns of A and k rows of B stream
// by. Tiles come in every size up to kTileRows × kTileColumns.
#pragma once
#include <cstddef>

#include "cpu/transpose.h"

namespace cholax::CHOLAX_TARGET {

// What a product does to C.
enum class Update { kAdd, kSubtract, kAssign, kAssignNegative };

// How element (p, j) of B is found: at b[j + p ld] (B stored transposed), or b[p + j ld]; kPacked:
// like the first, A and B both copied into tiles, whose strides are known.
enum class Access { kByColumn, kByRow, kPacked };

template <class T, int MV, int NR>
using Accumulators = typename Simd<T>::V[NR][MV];

// sum[j] = Σ_p A(:, p) B(p, j)
template <class T, int MV, int NR, bool kMasked, Access kAccess>
[[gnu::always_inline]] inline void accumulate(int k, const T* a, Stride lda, const T* b, Stride ldb,
                                              typename Simd<T>::Mask mask,
                                              Accumulators<T, MV, NR>& sum) {
  using S = Simd<T>;
#pragma GCC unroll 8
  for (int j = 0; j < NR; ++j)
#pragma GCC unroll 3
    for (int v = 0; v < MV; ++v) sum[j][v] = S::zero();
  constexpr bool packed = kAccess == Access::kPacked;
  if (packed) {
    lda = kTileRows<T>;
    ldb = kTileColumns;
  }
  for (int p = 0; p < k; ++p) {
    typename S::V column[MV];
    if (packed)  // A comes from the second-level cache
#pragma GCC unroll 3
      for (int v = 0; v < MV; ++v) __builtin_prefetch(a + 8 * lda + v * S::width);
#pragma GCC unroll 3
    for (int v = 0; v < MV; ++v)
      column[v] =
          kMasked && v == MV - 1 ? S::load(a + v * S::width, mask) : S::load(a + v * S::width);
#pragma GCC unroll 8
    for (int j = 0; j < NR; ++j) {
      const auto entry = S::broadcast(kAccess == Access::kByRow ? b[j * ldb] : b[j]);
#pragma GCC unroll 3
      for (int v = 0; v < MV; ++v) sum[j][v] = S::multiply_add(column[v], entry, sum[j][v]);
    }
    a += lda;
    b += kAccess == Access::kByRow ? 1 : ldb;
  }
}

// C (rows × NR) op= A (rows × k) B (k × NR); `lanes` rows in the last vector.
template <class T, int MV, int NR, bool kMasked, Access kAccess>
void product_tile(int k, const T* a, Stride lda, const T* b, Stride ldb, T* c, Stride ldc,
                  Update update, int lanes) {
  using S = Simd<T>;
  const auto mask = S::first(lanes);
  Accumulators<T, MV, NR> sum;
#pragma GCC unroll 8
  for (int j = 0; j < NR; ++j)
#pragma GCC unroll 3
    for (int v = 0; v < MV; ++v) __builtin_prefetch(c + j * ldc + v * S::width, 1);
  accumulate<T, MV, NR, kMasked, kAccess>(k, a, lda, b, ldb, mask, sum);
  const bool keep = update == Update::kAdd || update == Update::kSubtract;
  const bool minus = update == Update::kSubtract || update == Update::kAssignNegative;
  const auto sign = S::broadcast(minus ? T(-1) : T(1));
#pragma GCC unroll 8
  for (int j = 0; j < NR; ++j)
#pragma GCC unroll 3
    for (int v = 0; v < MV; ++v) {
      T* to = c + j * ldc + v * S::width;
      const bool partial = kMasked && v == MV - 1;
      auto old = S::zero();
      if (keep) old = partial ? S::load(to, mask) : S::load(to);
      const auto value = S::multiply_add(sum[j][v], sign, old);
      if (partial)
        S::store(to, value, mask);
      else
        S::store(to, value);
    }
}

// Which triangular system a solve_tile ends with: X Lᵀ = B (columns from the first on) or X L = B
// (from the last on).
enum class Sweep { kForward, kBackward };

// C (rows × NR) := (F − X B) D⁻ᵀ or (F − X B) D⁻¹: X (rows × k) are the columns solved before, D is
// NR × NR lower triangular at `d`, `reciprocal` the inverses of its diagonal. F may be C.
template <class T, int MV, int NR, bool kMasked, Sweep kSweep>
void solve_tile(int k, const T* x, Stride ldx, const T* b, const T* d, Stride ldl,
                const T* reciprocal, const T* f, Stride ldf, T* c, Stride ldc, int lanes) {
  using S = Simd<T>;
  const auto mask = S::first(lanes);
  constexpr bool forward = kSweep == Sweep::kForward;
  Accumulators<T, MV, NR> sum;
  accumulate<T, MV, NR, kMasked, forward ? Access::kByColumn : Access::kByRow>(k, x, ldx, b, ldl,
                                                                               mask, sum);
  const auto one = S::broadcast(T(1));
#pragma GCC unroll 8
  for (int j = 0; j < NR; ++j)
#pragma GCC unroll 3
    for (int v = 0; v < MV; ++v) {
      const T* from = f + j * ldf + v * S::width;
      const auto old = kMasked && v == MV - 1 ? S::load(from, mask) : S::load(from);
      sum[j][v] = S::subtract_multiply(sum[j][v], one, old);
    }
#pragma GCC unroll 8
  for (int t = 0; t < NR; ++t) {
    const int j = forward ? t : NR - 1 - t;
    const auto scale = S::broadcast(reciprocal[j]);
#pragma GCC unroll 3
    for (int v = 0; v < MV; ++v) sum[j][v] = S::multiply_add(sum[j][v], scale, S::zero());
#pragma GCC unroll 8
    for (int u = t + 1; u < NR; ++u) {
      const int i = forward ? u : NR - 1 - u;
      const auto entry = S::broadcast(forward ? d[i + j * ldl] : d[j + i * ldl]);
#pragma GCC unroll 3
      for (int v = 0; v < MV; ++v) sum[i][v] = S::subtract_multiply(sum[j][v], entry, sum[i][v]);
    }
  }
#pragma GCC unroll 8
  for (int j = 0; j < NR; ++j)
#pragma GCC unroll 3
    for (int v = 0; v < MV; ++v) {
      T* to = c + j * ldc + v * S::width;
      if (kMasked && v == MV - 1)
        S::store(to, sum[j][v], mask);
      else
        S::store(to, sum[j][v]);
    }
}

// out[i] := sum of the lanes of v[i]: registers are added pairwise while their lanes are
// transposed.
template <class T, int kCount>
[[gnu::always_inline]] inline void lane_sums(const typename Simd<T>::V* v, T* out) {
  using S = Simd<T>;
#pragma GCC unroll 16
  for (int i = 0; i < kCount; i += S::width) {
    typename S::V row[S::width];
#pragma GCC unroll 16
    for (int t = 0; t < S::width; ++t) row[t] = i + t < kCount ? v[i + t] : S::zero();
    add_transposed<T>(row);
    S::store(out + i, row[0]);
  }
}

// C (M × N, small) op= Aᵀ B over k rows; the sums run along the vectors.
template <class T, int M, int N>
void dot_tile(int k, const T* a, Stride lda, const T* b, Stride ldb, T* c, Stride ldc,
              Update update) {
  using S = Simd<T>;
  typename S::V sum[N][M];
#pragma GCC unroll 4
  for (int j = 0; j < N; ++j)
#pragma GCC unroll 4
    for (int i = 0; i < M; ++i) sum[j][i] = S::zero();
  for (int p = 0; p < k; p += S::width) {
    const bool partial = p + S::width > k;
    const auto mask = S::first(partial ? k - p : S::width);
    typename S::V left[M];
#pragma GCC unroll 4
    for (int i = 0; i < M; ++i)
      left[i] = partial ? S::load(a + p + i * lda, mask) : S::load(a + p + i * lda);
#pragma GCC unroll 4
    for (int j = 0; j < N; ++j) {
      const auto right = partial ? S::load(b + p + j * ldb, mask) : S::load(b + p + j * ldb);
#pragma GCC unroll 4
      for (int i = 0; i < M; ++i) sum[j][i] = S::multiply_add(left[i], right, sum[j][i]);
    }
  }
  T sums[(M * N + S::width - 1) / S::width * S::width];
  lane_sums<T, M * N>(&sum[0][0], sums);
  const bool keep = update == Update::kAdd || update == Update::kSubtract;
  const T sign = update == Update::kSubtract || update == Update::kAssignNegative ? T(-1) : T(1);
#pragma GCC unroll 4
  for (int j = 0; j < N; ++j)
#pragma GCC unroll 4
    for (int i = 0; i < M; ++i) {
      T* to = c + i + j * ldc;
      *to = (keep ? *to : T(0)) + sign * sums[i + j * M];
    }
}

// --- tiles by size
// --------------------------------------------------------------------------------

template <class T>
using ProductTile = void(int, const T*, Stride, const T*, Stride, T*, Stride, Update, int);
template <class T>
using SolveTile = void(int, const T*, Stride, const T*, const T*, Stride, const T*, const T*,
                       Stride, T*, Stride, int);
template <class T>
using DotTile = void(int, const T*, Stride, const T*, Stride, T*, Stride, Update);

// Masks cost nothing with AVX-512 and something elsewhere, so full tiles have their own copy there.
inline constexpr bool kFreeMasks = CHOLAX_TARGET_LEVEL == 512;

template <class T, Access kAccess>
struct ProductTiles {
  template <int MV, int NR>
  static constexpr ProductTile<T>* pick(bool partial) {
    if constexpr (kFreeMasks) return product_tile<T, MV, NR, true, kAccess>;
    return partial ? product_tile<T, MV, NR, true, kAccess>
                   : product_tile<T, MV, NR, false, kAccess>;
  }
};

template <class T, Sweep kSweep>
struct SolveTiles {
  template <int MV, int NR>
  static constexpr SolveTile<T>* pick(bool partial) {
    if constexpr (kFreeMasks) return solve_tile<T, MV, NR, true, kSweep>;
    return partial ? solve_tile<T, MV, NR, true, kSweep> : solve_tile<T, MV, NR, false, kSweep>;
  }
};

// Table of function pointers by (partial, vectors, columns).
template <class Tiles, class Function>
struct TileTable {
  Function* entry[2][kTileVectors][kTileColumns];

  constexpr TileTable() : entry{} { fill_vectors<1>(); }

  Function* operator()(bool partial, int vectors, int columns) const {
    return entry[partial][vectors - 1][columns - 1];
  }

 private:
  template <int MV>
  constexpr void fill_vectors() {
    fill_columns<MV, 1>();
    if constexpr (MV < kTileVectors) fill_vectors<MV + 1>();
  }
  template <int MV, int NR>
  constexpr void fill_columns() {
    for (bool partial : {false, true})
      entry[partial][MV - 1][NR - 1] = Tiles::template pick<MV, NR>(partial);
    if constexpr (NR < kTileColumns) fill_columns<MV, NR + 1>();
  }
};

template <class T, Access kAccess>
inline constexpr TileTable<ProductTiles<T, kAccess>, ProductTile<T>> product_tiles{};
template <class T, Sweep kSweep>
inline constexpr TileTable<SolveTiles<T, kSweep>, SolveTile<T>> solve_tiles{};

template <class T>
inline constexpr DotTile<T>* dot_tiles[4][4] = {
    {dot_tile<T, 1, 1>, dot_tile<T, 1, 2>, dot_tile<T, 1, 3>, dot_tile<T, 1, 4>},
    {dot_tile<T, 2, 1>, dot_tile<T, 2, 2>, dot_tile<T, 2, 3>, dot_tile<T, 2, 4>},
    {dot_tile<T, 3, 1>, dot_tile<T, 3, 2>, dot_tile<T, 3, 3>, dot_tile<T, 3, 4>},
    {dot_tile<T, 4, 1>, dot_tile<T, 4, 2>, dot_tile<T, 4, 3>, dot_tile<T, 4, 4>}};

// Rows of a tile as vectors, with the number of lanes used in the last one.
template <class T>
struct TileRows {
  explicit TileRows(int rows)
      : vectors((rows + Simd<T>::width - 1) / Simd<T>::width),
        partial(rows % Simd<T>::width != 0),
        lanes(rows - (vectors - 1) * Simd<T>::width) {}
  int vectors;
  bool partial;
  int lanes;
};

}  // namespace cholax::CHOLAX_TARGET
