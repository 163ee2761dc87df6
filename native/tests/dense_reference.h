// The kernels' formulas on dense matrices, in double precision through Eigen. Everything is dense:
// no plan, no panels, no recursion over a tree.
#pragma once
#include <Eigen/Dense>

namespace cholax::testing {

using Matrix = Eigen::MatrixXd;

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
