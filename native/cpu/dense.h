// Triangular systems and the Cholesky factorisation of dense column-major blocks, and the small
// helpers around them. `ld*` are leading dimensions; L is lower triangular.
#pragma once
#include <algorithm>
#include <cmath>

#include "cpu/product.h"

namespace cholax::CHOLAX_TARGET::dense {

// Widest triangle that one sweep of tiles solves with; wider ones are split in two.
inline constexpr int kSweepColumns = 128;

// Rows per piece when a sweep is shared among threads.
template <class T>
inline constexpr int kSweepRows = 8 * kTileRows<T>;

// to (m × n) := from
template <class T>
void copy(int m, int n, const T* from, Stride ldf, T* to, Stride ldt) {
  for (int j = 0; j < n; ++j) std::copy_n(from + j * ldf, m, to + j * ldt);
}

namespace detail {

template <class T>
void reciprocals(int n, const T* l, Stride ld, T* out) {
  for (int j = 0; j < n; ++j) out[j] = T(1) / l[j + j * ld];
}

// B (m × n) := F L⁻ᵀ (forward) or F L⁻¹ (backward) for n ≤ kSweepColumns, tile by tile.
template <class T, Sweep kSweep>
void sweep_rows(int m, int n, const T* l, Stride ldl, const T* reciprocal, const T* f, Stride ldf,
                T* b, Stride ldb) {
  constexpr bool forward = kSweep == Sweep::kForward;
  for (int i = 0; i < m; i += kTileRows<T>) {
    const TileRows<T> shape(std::min(kTileRows<T>, m - i));
    T* row = b + i;
    for (int t = 0; t < n; t += kTileColumns) {
      const int nr = std::min(kTileColumns, n - t);
      const int j = forward ? t : n - t - nr;   // columns j .. j+nr now
      const int solved = forward ? 0 : j + nr;  // first of the t columns solved before
      solve_tiles<T, kSweep>(shape.partial, shape.vectors, nr)(
          t, row + solved * ldb, ldb, forward ? l + j : l + solved + j * ldl, l + j + j * ldl, ldl,
          reciprocal + j, f + i + j * ldf, ldf, row + j * ldb, ldb, shape.lanes);
    }
  }
}

template <class T, Sweep kSweep>
void sweep(const Crew& crew, int m, int n, const T* l, Stride ldl, const T* f, Stride ldf, T* b,
           Stride ldb) {
  T reciprocal[kSweepColumns];
  reciprocals(n, l, ldl, reciprocal);
  if (crew.team == nullptr || m <= kSweepRows<T>)
    return sweep_rows<T, kSweep>(m, n, l, ldl, reciprocal, f, ldf, b, ldb);
  crew.parallel_for((m + kSweepRows<T> - 1) / kSweepRows<T>, [&](int piece, int) {
    const int i = piece * kSweepRows<T>;
    sweep_rows<T, kSweep>(std::min(kSweepRows<T>, m - i), n, l, ldl, reciprocal, f + i, ldf, b + i,
                          ldb);
  });
}

// A multiple of the tile width near the middle.
inline int half(int n) { return (n / 2 + kTileColumns - 1) / kTileColumns * kTileColumns; }

}  // namespace detail

// B (m × n) := B L⁻ᵀ
template <class T>
void solve_right_transposed(const Crew& crew, int m, int n, const T* l, Stride ldl, T* b,
                            Stride ldb) {
  if (m == 0 || n == 0) return;
  if (n <= kSweepColumns)
    return detail::sweep<T, Sweep::kForward>(crew, m, n, l, ldl, b, ldb, b, ldb);
  const int h = detail::half(n);
  solve_right_transposed(crew, m, h, l, ldl, b, ldb);
  multiply_transposed(crew, m, n - h, h, b, ldb, l + h, ldl, b + h * ldb, ldb, Update::kSubtract);
  solve_right_transposed(crew, m, n - h, l + h + h * ldl, ldl, b + h * ldb, ldb);
}

// B (m × n) := B L⁻¹
template <class T>
void solve_right(const Crew& crew, int m, int n, const T* l, Stride ldl, T* b, Stride ldb) {
  if (m == 0 || n == 0) return;
  if (n <= kSweepColumns)
    return detail::sweep<T, Sweep::kBackward>(crew, m, n, l, ldl, b, ldb, b, ldb);
  const int h = detail::half(n);
  solve_right(crew, m, n - h, l + h + h * ldl, ldl, b + h * ldb, ldb);
  multiply(crew, m, h, n - h, b + h * ldb, ldb, l + h, ldl, b, ldb, Update::kSubtract);
  solve_right(crew, m, h, l, ldl, b, ldb);
}

// B (m × n) := F L⁻¹
template <class T>
void solve_right_from(const Crew& crew, int m, int n, const T* l, Stride ldl, const T* f,
                      Stride ldf, T* b, Stride ldb) {
  if (m == 0 || n == 0) return;
  if (n <= kSweepColumns)
    return detail::sweep<T, Sweep::kBackward>(crew, m, n, l, ldl, f, ldf, b, ldb);
  const int h = detail::half(n);
  solve_right_from(crew, m, n - h, l + h + h * ldl, ldl, f + h * ldf, ldf, b + h * ldb, ldb);
  copy(m, h, f, ldf, b, ldb);
  multiply(crew, m, h, n - h, b + h * ldb, ldb, l + h, ldl, b, ldb, Update::kSubtract);
  solve_right(crew, m, h, l, ldl, b, ldb);
}

namespace detail {

// Lower triangle of the block (n ≤ kTileColumns) := its Cholesky factor, diagonal inverses aside.
// Returns −1 or the first column whose pivot is not finite and positive; it is left in place. kSize
// is n where that is known to the compiler, otherwise 0.
template <class T, int kSize>
int factor_block(int size, T* a, Stride ld, T* reciprocal) {
  const int n = kSize > 0 ? kSize : size;
  T block[kTileColumns][kTileColumns];
  for (int j = 0; j < n; ++j)
    for (int i = 0; i < n; ++i) block[j][i] = a[i + j * ld];
  int bad = -1;
  for (int j = 0; j < n; ++j) {
    const T pivot = block[j][j];
    if (!(pivot > 0) || !std::isfinite(pivot)) {
      bad = j;
      break;
    }
    const T root = std::sqrt(pivot);
    reciprocal[j] = T(1) / root;
    for (int i = 0; i < kTileColumns; ++i) block[j][i] *= reciprocal[j];
    block[j][j] = root;
    for (int k = j + 1; k < n; ++k)
      for (int i = 0; i < kTileColumns; ++i) block[k][i] -= block[j][i] * block[j][k];
  }
  for (int j = 0; j < n; ++j)
    for (int i = kSize > 0 ? 0 : j; i < n; ++i) a[i + j * ld] = block[j][i];
  return bad;
}

// The first n ≤ kSweepColumns columns of an m-row panel: factor the triangle, solve the rows below.
template <class T>
int factor_columns(const Crew& crew, int m, int n, T* a, Stride ld) {
  T reciprocal[kSweepColumns];
  for (int j = 0; j < n; j += kTileColumns) {
    const int nr = std::min(kTileColumns, n - j);
    T* diagonal = a + j + j * ld;
    cholax::CHOLAX_TARGET::detail::product_direct<T, Access::kByColumn>(
        nr, nr, j, a + j, ld, a + j, ld, diagonal, ld, Update::kSubtract, Part::kAll);
    const int bad = nr == kTileColumns
                        ? factor_block<T, kTileColumns>(nr, diagonal, ld, reciprocal + j)
                        : factor_block<T, 0>(nr, diagonal, ld, reciprocal + j);
    if (bad >= 0) return j + bad;
    for (int i = j + nr; i < n; i += kTileRows<T>) {
      const TileRows<T> shape(std::min(kTileRows<T>, n - i));
      solve_tiles<T, Sweep::kForward>(shape.partial, shape.vectors, nr)(
          j, a + i, ld, a + j, diagonal, ld, reciprocal + j, a + i + j * ld, ld, a + i + j * ld, ld,
          shape.lanes);
    }
  }
  solve_right_transposed(crew, m - n, n, a, ld, a + n, ld);
  return -1;
}

}  // namespace detail

// Panel A (m × n, m ≥ n): its leading triangle := the Cholesky factor L, the rows below := B L⁻ᵀ.
// Entries above the diagonal may be overwritten. Returns −1, or the first column whose pivot is not
// finite and positive; it is left in place.
template <class T>
int factor_panel(const Crew& crew, int m, int n, T* a, Stride ld) {
  if (n <= kSweepColumns) return detail::factor_columns(crew, m, n, a, ld);
  const int h = n <= 4 * kSweepColumns ? detail::half(n) : kSweepColumns;
  const int first = factor_panel(crew, m, h, a, ld);
  if (first >= 0) return first;
  T* rest = a + h + h * ld;
  multiply_transposed(crew, m - h, n - h, h, a + h, ld, a + h, ld, rest, ld, Update::kSubtract,
                      Part::kLower);
  const int second = factor_panel(crew, m - h, n - h, rest, ld);
  return second >= 0 ? h + second : -1;
}

// Strict upper triangle of A (n × n) := 0
template <class T>
void clear_upper(int n, T* a, Stride ld) {
  for (int j = 1; j < n; ++j) std::fill_n(a + j * ld, j, T(0));
}

// Φ: A (n × n) := its lower triangle with halved diagonal, upper triangle zero
template <class T>
void half_lower(int n, T* a, Stride ld) {
  clear_upper(n, a, ld);
  for (int j = 0; j < n; ++j) a[j + j * ld] *= T(0.5);
}

}  // namespace cholax::CHOLAX_TARGET::dense
