// X := C(L)[W], the forward derivative of the Cholesky factor: S(L)[X] = W (up the tree).
#pragma once
#include "cpu/dense.h"
#include "cpu/traversal.h"

namespace cholax {

// Per node: X_J = L_J Φ(L_J⁻¹ W_J L_J⁻ᵀ); X_B = (W_B − L_B X_Jᵀ) L_J⁻ᵀ;
// update −= X_B L_Bᵀ + L_B X_Bᵀ.
template <class T>
void cholesky_tangent(const Plan& plan, Scratch<T>& scratch, const T* l, const T* w, T* x) {
  std::copy_n(w, plan.size, x);
  T* middle = scratch.work[0].reserve(square(plan.max_width));
  traverse_up<T>(plan, scratch, x, [&](const Node& node, T* panel, T* update) {
    const int n = node.w, m = node.m, r = node.r;
    const T* lj = l + node.panel;
    dense::clear_upper(n, panel, m);
    for (int j = 0; j < n; ++j)
      std::copy_n(panel + std::ptrdiff_t(j) * m, n, middle + std::ptrdiff_t(j) * n);
    dense::mirror_lower(n, middle, n);
    dense::solve_left(n, n, lj, m, middle, n);
    dense::solve_right_transposed(n, n, lj, m, middle, n);
    dense::half_lower(n, middle, n);
    for (int j = 0; j < n; ++j) std::fill_n(panel + std::ptrdiff_t(j) * m, n, T(0));
    dense::gemm_nn(n, n, n, T(1), lj, m, middle, n, panel, m);
    dense::clear_upper(n, panel, m);
    dense::gemm_nt(r, n, n, T(-1), lj + n, m, panel, m, panel + n, m);
    dense::solve_right_transposed(r, n, lj, m, panel + n, m);
    dense::syr2k_lower(r, n, T(-1), panel + n, m, lj + n, m, update, r);
    return true;
  });
}

}  // namespace cholax
