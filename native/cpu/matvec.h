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

}  // namespace detail

// y := A x, or Aᵀ x when transposed.
template <class T>
void matvec(const Csc& a, bool transposed, const T* values, int k, const T* x, T* y) {
  std::fill_n(y, std::ptrdiff_t(transposed ? a.columns : a.rows) * k, T(0));
  for (std::int32_t j = 0; j < a.columns; ++j) {
    const std::ptrdiff_t column = std::ptrdiff_t(j) * k;
    for (std::int32_t p = a.indptr[j]; p < a.indptr[j + 1]; ++p) {
      const std::ptrdiff_t row = std::ptrdiff_t(a.indices[p]) * k;
      if (a.symmetric || !transposed) detail::add_scaled(k, values[p], x + column, y + row);
      if (a.symmetric ? row != column : transposed)
        detail::add_scaled(k, values[p], x + row, y + column);
    }
  }
}

// values := x yᵀ on the pattern (its transpose in the values): Σ_c x_ic y_jc, both mirror entries
// summed where the pattern is symmetric.
template <class T>
void outer_on_pattern(const Csc& a, int k, const T* x, const T* y, T* values) {
  for (std::int32_t j = 0; j < a.columns; ++j) {
    const std::ptrdiff_t column = std::ptrdiff_t(j) * k;
    for (std::int32_t p = a.indptr[j]; p < a.indptr[j + 1]; ++p) {
      const std::ptrdiff_t row = std::ptrdiff_t(a.indices[p]) * k;
      T sum = detail::row_dot(k, x + row, y + column);
      if (a.symmetric && row != column) sum += detail::row_dot(k, x + column, y + row);
      values[p] = sum;
    }
  }
}

}  // namespace cholax
