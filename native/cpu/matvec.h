// Products with a matrix stored as CSC values on a pattern; k vectors stored row by row.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace cholax {

struct Csc {
  std::int32_t rows = 0, columns = 0;
  bool symmetric = false;  // then: lower triangle stored, the mirrored half implied
  std::vector<std::int32_t> indptr, indices;
};

namespace detail {

// Entries between asking for a row of x or y and using it.
inline constexpr std::int32_t kRowsAhead = 16;

template <class T>
inline void add_scaled(int k, T a, const T* x, T* y) {
  for (int c = 0; c < k; ++c) y[c] += a * x[c];
}

template <class T>
inline T row_dot(int k, const T* x, const T* y) {
  T sum = 0;
  for (int c = 0; c < k; ++c) sum += x[c] * y[c];
  return sum;
}

// visit(p, j) for every entry p, in column j; row_of(i) are the addresses asked for early.
template <class RowOf, class Visit>
inline void for_each_entry(const Csc& a, RowOf&& row_of, Visit&& visit) {
  const std::int32_t end = static_cast<std::int32_t>(a.indices.size());
  for (std::int32_t j = 0; j < a.columns; ++j)
    for (std::int32_t p = a.indptr[j]; p < a.indptr[j + 1]; ++p) {
      if (p + kRowsAhead < end) __builtin_prefetch(row_of(a.indices[p + kRowsAhead]));
      visit(p, j);
    }
}

// y += A x with kScatter, Aᵀ x with kGather; both for the halves of a symmetric matrix.
template <bool kScatter, bool kGather, class T>
void add_product(const Csc& a, const T* values, const T* x, T* y) {
  const std::int32_t end = static_cast<std::int32_t>(a.indices.size());
  for (std::int32_t j = 0; j < a.columns; ++j) {
    const T own = kScatter ? x[j] : T(0);
    T sum = 0;
    for (std::int32_t p = a.indptr[j]; p < a.indptr[j + 1]; ++p) {
      if (p + kRowsAhead < end) __builtin_prefetch((kScatter ? y : x) + a.indices[p + kRowsAhead]);
      const std::int32_t i = a.indices[p];
      if (kScatter) y[i] += values[p] * own;
      if (kGather && !(kScatter && i == j)) sum += values[p] * x[i];
    }
    if (kGather) y[j] += sum;
  }
}

template <bool kScatter, bool kGather, class T>
void add_product(const Csc& a, const T* values, int k, const T* x, T* y) {
  if (k == 1) return add_product<kScatter, kGather>(a, values, x, y);
  const std::ptrdiff_t step = k;
  for_each_entry(
      a, [&](std::int32_t i) { return (kScatter ? y : x) + i * step; },
      [&](std::int32_t p, std::int32_t j) {
        const std::ptrdiff_t row = a.indices[p] * step, column = j * step;
        if (kScatter) add_scaled(k, values[p], x + column, y + row);
        if (kGather && !(kScatter && row == column)) add_scaled(k, values[p], x + row, y + column);
      });
}

template <bool kSymmetric, class T>
void outer(const Csc& a, int k, const T* x, const T* y, T* values) {
  const std::ptrdiff_t step = k;
  for_each_entry(
      a, [&](std::int32_t i) { return x + i * step; },
      [&](std::int32_t p, std::int32_t j) {
        const std::ptrdiff_t row = a.indices[p] * step, column = j * step;
        T sum = k == 1 ? x[row] * y[column] : row_dot(k, x + row, y + column);
        if (kSymmetric && row != column)
          sum += k == 1 ? x[column] * y[row] : row_dot(k, x + column, y + row);
        values[p] = sum;
      });
}

}  // namespace detail

// y := A x, or Aᵀ x when transposed.
template <class T>
void matvec(const Csc& a, bool transposed, const T* values, int k, const T* x, T* y) {
  std::fill_n(y, std::ptrdiff_t(transposed ? a.columns : a.rows) * k, T(0));
  if (a.symmetric)
    detail::add_product<true, true>(a, values, k, x, y);
  else if (transposed)
    detail::add_product<false, true>(a, values, k, x, y);
  else
    detail::add_product<true, false>(a, values, k, x, y);
}

// values := x yᵀ on the pattern (its transpose in the values): Σ_c x_ic y_jc, both mirror entries
// summed where the pattern is symmetric.
template <class T>
void outer_on_pattern(const Csc& a, int k, const T* x, const T* y, T* values) {
  if (a.symmetric)
    detail::outer<true>(a, k, x, y, values);
  else
    detail::outer<false>(a, k, x, y, values);
}

}  // namespace cholax
