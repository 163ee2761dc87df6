// W := Ct(L)[X] = C(L)ᵀ X, the reverse derivative of the Cholesky factor (down the tree).
#pragma once
#include "cpu/dense.h"
#include "cpu/traversal.h"

namespace cholax {

namespace detail {

// Diagonal block of the front's cotangent: lower(K + Kᵀ) with K_ii on the diagonal,
// K = L_J⁻ᵀ Φ(L_Jᵀ X_J) L_J⁻¹; X_J is overwritten.
template <class T>
void cotangent_diagonal_block(int n, const T* lj, int ld, T* panel, T* middle) {
  std::fill_n(middle, square(n), T(0));
  dense::clear_upper(n, panel, ld);
  dense::gemm_tn(n, n, n, T(1), lj, ld, panel, ld, middle, n);
  dense::half_lower(n, middle, n);
  dense::solve_left_transposed(n, n, lj, ld, middle, n);
  dense::solve_right(n, n, lj, ld, middle, n);
  for (int j = 0; j < n; ++j) {
    T* to = panel + std::ptrdiff_t(j) * ld;
    to[j] = middle[j + std::ptrdiff_t(j) * n];
    for (int i = j + 1; i < n; ++i)
      to[i] = middle[i + std::ptrdiff_t(j) * n] + middle[j + std::ptrdiff_t(i) * n];
  }
}

}  // namespace detail

// Per node, U the cotangent of its update matrix: W_B = (X_B − (U + Uᵀ) L_B) L_J⁻¹;
// X_J −= tril(W_Bᵀ L_B); W_J as above. Children read (W_J, W_B, U).
template <class T>
void cholesky_cotangent(const Plan& plan, Scratch<T>& scratch, const T* l, const T* x, T* w) {
  std::copy_n(x, plan.size, w);
  T* middle = scratch.work[0].reserve(square(plan.max_width));
  traverse_down<T>(
      plan, scratch, w,
      [&](const Node& node, T* update) {
        const int n = node.w, m = node.m, r = node.r;
        const T* lj = l + node.panel;
        T* panel = w + node.panel;
        // U + Uᵀ is the symmetric matrix with U's lower triangle and a doubled diagonal;
        // doubling and halving are exact.
        for (int i = 0; i < r; ++i) update[i + std::ptrdiff_t(i) * r] *= T(2);
        dense::symm_left(r, n, T(-1), update, r, lj + n, m, panel + n, m);
        for (int i = 0; i < r; ++i) update[i + std::ptrdiff_t(i) * r] *= T(0.5);
        dense::solve_right(r, n, lj, m, panel + n, m);
        dense::gemm_tn(n, n, r, T(-1), panel + n, m, lj + n, m, panel, m);
        detail::cotangent_diagonal_block(n, lj, m, panel, middle);
      },
      [](const Node&) {});
}

}  // namespace cholax
