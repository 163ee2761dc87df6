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

// to(j, i) := from(i, j) for a rows × columns block, both at most one register wide. Column j of
// `from` starts at from + j ldf, column i of `to` at to + i ldt.
template <class T>
inline void transpose_block(int rows, int columns, const T* from, Stride ldf, T* to, Stride ldt) {
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
  for (int j = 0; j < columns; ++j)
    for (int i = 0; i < rows; ++i) to[j + i * ldt] = from[i + j * ldf];
}

// Strict upper triangle of A (n × n) := its lower triangle mirrored
template <class T>
void mirror_lower(int n, T* a, Stride ld) {
  constexpr int width = Simd<T>::width;
  for (int j = 0; j < n; j += width) {
    const int columns = std::min(width, n - j);
    for (int c = j; c < j + columns; ++c)
      for (int i = c + 1; i < j + columns; ++i) a[c + i * ld] = a[i + c * ld];
    for (int i = j + width; i < n; i += width)
      transpose_block(std::min(width, n - i), columns, a + i + j * ld, ld, a + j + i * ld, ld);
  }
}

// A (n × n) := Aᵀ
template <class T>
void transpose_square(int n, T* a, Stride ld) {
  for (int j = 0; j < n; ++j)
    for (int i = j + 1; i < n; ++i) std::swap(a[i + j * ld], a[j + i * ld]);
}

// out(i, p) := in(i, p) for `rows` of `height` rows, the rest zero; columns of out are `height`
// long.
template <class T>
void pack_straight(int rows, int height, int depth, const T* in, Stride ld, T* out) {
  using S = Simd<T>;
  for (int i = 0; i < height; i += S::width) {
    const int room = std::min(S::width, height - i);
    const int count = std::clamp(rows - i, 0, room);
    T* to = out + i;
    const T* from = in + i;
    if (count == S::width) {
      for (int p = 0; p < depth; ++p) S::store(to + Stride(p) * height, S::load(from + p * ld));
      continue;
    }
    for (int p = 0; p < depth; ++p)
      for (int t = 0; t < room; ++t)
        to[Stride(p) * height + t] = t < count ? from[p * ld + t] : T(0);
  }
}

// out(i, p) := in(p, i) for `rows` of `height` rows, the rest zero.
template <class T>
void pack_crosswise(int rows, int height, int depth, const T* in, Stride ld, T* out) {
  constexpr int width = Simd<T>::width;
  for (int i = 0; i < height; i += width) {
    const int room = std::min(width, height - i);
    const int count = std::clamp(rows - i, 0, room);
    for (int p = 0; p < depth; p += width) {
      const int deep = std::min(width, depth - p);
      T* to = out + i + Stride(p) * height;
      transpose_block(deep, count, in + p + i * ld, ld, to, height);
      for (int t = 0; count < room && t < deep; ++t)
        std::fill(to + Stride(t) * height + count, to + Stride(t) * height + room, T(0));
    }
  }
}

}  // namespace cholax::CHOLAX_TARGET
