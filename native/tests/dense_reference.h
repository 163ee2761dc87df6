// The kernels' formulas on dense matrices, in double precision through Eigen. Everything is dense:
// no plan, no panels, no recursion over a tree.
#pragma once
#include <Eigen/Dense>

#include "values.h"

namespace cholax::testing {

using Matrix = Eigen::MatrixXd;
using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Right-hand sides are stored row by row.
inline Matrix rows_of(const Values& x, int rows, int k) {
  return Eigen::Map<const RowMajor>(x.data(), rows, k);
}
inline Values flat(const RowMajor& m) { return Values(m.data(), m.data() + m.size()); }

inline Matrix lower(const Matrix& m) { return m.triangularView<Eigen::Lower>(); }

// Φ: lower triangle with halved diagonal
inline Matrix phi(const Matrix& m) {
  Matrix out = lower(m);
  out.diagonal() *= 0.5;
  return out;
}

// The symmetric matrix whose lower triangle is w's.
inline Matrix symmetric(const Matrix& w) { return w.selfadjointView<Eigen::Lower>(); }

// w∘m on the lower triangle, w = 1 on the diagonal and 2 off it
inline Matrix weighted(const Matrix& m) { return 2 * phi(m); }

inline Matrix inverse_lower(const Matrix& l) {
  return l.triangularView<Eigen::Lower>().solve(Matrix::Identity(l.rows(), l.cols()));
}

// C(L)[W] = L Φ(L⁻¹ W L⁻ᵀ)
inline Matrix tangent(const Matrix& l, const Matrix& w) {
  const Matrix inverse = inverse_lower(l);
  return l * phi(inverse * symmetric(w) * inverse.transpose());
}

// Ct(L)[X] = Φ(K + Kᵀ), K = L⁻ᵀ Φ(Lᵀ X) L⁻¹
inline Matrix cotangent(const Matrix& l, const Matrix& x) {
  const Matrix inverse = inverse_lower(l);
  const Matrix k = inverse.transpose() * phi(l.transpose() * x) * inverse;
  return phi(k + k.transpose());
}

// S(L)[X] = lower(X Lᵀ + L Xᵀ)
inline Matrix product(const Matrix& l, const Matrix& x) {
  return lower(x * l.transpose() + l * x.transpose());
}

// T(L)[W] = lower((W + Wᵀ) L)
inline Matrix product_transpose(const Matrix& l, const Matrix& w) {
  return lower((w + w.transpose()) * l);
}

// w∘(L Lᵀ)⁻¹
inline Matrix weighted_inverse(const Matrix& l) {
  const Matrix inverse = inverse_lower(l);
  return weighted(inverse.transpose() * inverse);
}

}  // namespace cholax::testing
