// Transposition of blocks in registers, and the copies built on it: mirroring a triangle and
// packing.
#pragma once
#include <algorithm>
#include <utility>

#include "cpu/simd.h"

namespace cholax::CHOLAX_TARGET {

namespace detail {

// Lane `lane` of the low (or high) result when blocks of `step` lanes of two registers change
// places; lanes of the second register count from `width` on.
constexpr int exchanged_lane(int lane, int step, int width, bool high) {
  const bool upper = (lane & step) != 0;
  if (high) return upper ? width + lane : lane + step;
  return upper ? width + lane - step : lane;
}

template <class V, int kStep, bool kHigh, int... kLane>
[[gnu::always_inline]] inline V exchange(V a, V b, std::integer_sequence<int, kLane...>) {
  constexpr int width = sizeof...(kLane);
  return __builtin_shufflevector(a, b, exchanged_lane(kLane, kStep, width, kHigh)...);
}

template <class T, int kStep = Simd<T>::width / 2>
[[gnu::always_inline]] inline void transpose_registers(typename Simd<T>::V (&row)[Simd<T>::width]) {
  constexpr int width = Simd<T>::width;
  using V = typename Simd<T>::V;
  using Lanes = std::make_integer_sequence<int, width>;
#pragma GCC unroll 16
  for (int i = 0; i < width; ++i) {
    if ((i & kStep) != 0) continue;
    const V a = row[i], b = row[i + kStep];  // rows kStep apart trade their off-diagonal blocks
    row[i] = exchange<V, kStep, false>(a, b, Lanes{});
    row[i + kStep] = exchange<V, kStep, true>(a, b, Lanes{});
  }
  if constexpr (kStep > 1) transpose_registers<T, kStep / 2>(row);
}

}  // namespace detail

// row[0] := the sums over each register: lane i for row[i].
template <class T, int kStep = Simd<T>::width / 2>
[[gnu::always_inline]] inline void add_transposed(typename Simd<T>::V (&row)[Simd<T>::width]) {
  using V = typename Simd<T>::V;
  using Lanes = std::make_integer_sequence<int, Simd<T>::width>;
#pragma GCC unroll 16
  for (int i = 0; i < kStep; ++i) {
    const V a = row[i], b = row[i + kStep];
    row[i] = detail::exchange<V, kStep, false>(a, b, Lanes{}) +
             detail::exchange<V, kStep, true>(a, b, Lanes{});
  }
  if constexpr (kStep > 1) add_transposed<T, kStep / 2>(row);
}

// to(j, i) := from(i, j) for a rows × columns block, both at most one register wide, and zero for
// columns ≤ j < stored. Column j of `from` starts at from + j ldf, column i of `to` at to + i ldt.
template <class T>
inline void transpose_block(int rows, int columns, int stored, const T* from, Stride ldf, T* to,
                            Stride ldt) {
  using S = Simd<T>;
  typename S::V row[S::width];
  if (rows == S::width && columns == S::width) {
#pragma GCC unroll 16
    for (int j = 0; j < S::width; ++j) row[j] = S::load(from + j * ldf);
    detail::transpose_registers<T>(row);
#pragma GCC unroll 16
    for (int i = 0; i < S::width; ++i) S::store(to + i * ldt, row[i]);
    return;
  }
  const auto in = S::first(rows), out = S::first(stored);
#pragma GCC unroll 16
  for (int j = 0; j < S::width; ++j) row[j] = j < columns ? S::load(from + j * ldf, in) : S::zero();
  detail::transpose_registers<T>(row);
#pragma GCC unroll 16
  for (int i = 0; i < S::width; ++i)
    if (i < rows) S::store(to + i * ldt, row[i], out);
}

// The same for A (n × n, at most one register wide) onto itself: upper triangle := lower mirrored.
template <class T>
inline void mirror_block(int n, T* a, Stride ld) {
  using S = Simd<T>;
  typename S::V row[S::width];
  const auto in = S::first(n);
#pragma GCC unroll 16
  for (int j = 0; j < S::width; ++j) row[j] = j < n ? S::load(a + j * ld, in) : S::zero();
  detail::transpose_registers<T>(row);
#pragma GCC unroll 16
  for (int i = 1; i < S::width; ++i)
    if (i < n) S::store(a + i * ld, row[i], S::first(i));
}

// Strict upper triangle of A (n × n) := its lower triangle mirrored
template <class T>
void mirror_lower(int n, T* a, Stride ld) {
  constexpr int width = Simd<T>::width;
  for (int j = 0; j < n; j += width) {
    const int columns = std::min(width, n - j);
    mirror_block(columns, a + j + j * ld, ld);
    for (int i = j + width; i < n; i += width)
      transpose_block(std::min(width, n - i), columns, columns, a + i + j * ld, ld, a + j + i * ld,
                      ld);
  }
}

// A (n × n) := Aᵀ
template <class T>
void transpose_square(int n, T* a, Stride ld) {
  for (int j = 0; j < n; ++j)
    for (int i = j + 1; i < n; ++i) std::swap(a[i + j * ld], a[j + i * ld]);
}

namespace detail {

// out(:, p) := in(:, p), whole registers. All of a column at once: its neighbours are in the same
// lines and pages.
template <class T, int kVectors>
void copy_columns(int depth, const T* in, Stride ld, T* out) {
  using S = Simd<T>;
  for (int p = 0; p < depth; ++p, in += ld, out += kVectors * S::width)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) S::store(out + v * S::width, S::load(in + v * S::width));
}

}  // namespace detail

// out(i, p) := in(i, p) for `rows` of `height` rows, the rest zero; columns of out are `height`
// long.
template <class T>
void pack_straight(int rows, int height, int depth, const T* in, Stride ld, T* out) {
  using S = Simd<T>;
  if (rows == S::width && height == S::width) return detail::copy_columns<T, 1>(depth, in, ld, out);
  if (rows == kTileRows<T> && height == kTileRows<T>)
    return detail::copy_columns<T, kTileVectors>(depth, in, ld, out);
  for (int p = 0; p < depth; ++p, in += ld, out += height)
    for (int i = 0; i < height; i += S::width) {
      const auto given = S::load(in + i, S::first(std::clamp(rows - i, 0, S::width)));
      S::store(out + i, given, S::first(std::min(S::width, height - i)));
    }
}

// out(i, p) := in(p, i) for `rows` of `height` rows, the rest zero.
template <class T>
void pack_crosswise(int rows, int height, int depth, const T* in, Stride ld, T* out) {
  constexpr int width = Simd<T>::width;
  for (int i = 0; i < height; i += width) {
    const int room = std::min(width, height - i);
    const int count = std::clamp(rows - i, 0, room);
    for (int p = 0; p < depth; p += width)
      transpose_block(std::min(width, depth - p), count, room, in + p + i * ld, ld,
                      out + i + Stride(p) * height, height);
  }
}

}  // namespace cholax::CHOLAX_TARGET
