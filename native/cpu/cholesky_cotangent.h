// W := Ct(L)[X] = C(L)ᵀ X, the reverse derivative of the Cholesky factor (down the tree).
#pragma once
#include "cpu/dense.h"
#include "cpu/traversal.h"

namespace cholax::CHOLAX_TARGET {

namespace detail {

// Lower X (n × n) := lower(K + Kᵀ) with K_ii on the diagonal, K = L⁻ᵀ Φ(Lᵀ X) L⁻¹.
template <class T>
void cotangent_of_triangle(int n, const T* l, Stride ldl, T* x, Stride ldx, T* middle) {
  dense::clear_upper(n, x, ldx);
  transposed_multiply({}, n, n, n, l, ldl, x, ldx, middle, n, Update::kAssign);
  dense::half_lower(n, middle, n);
  dense::solve_right({}, n, n, l, ldl, middle, n);
  transpose_square(n, middle, n);
  dense::solve_right({}, n, n, l, ldl, middle, n);
  for (int j = 0; j < n; ++j) {
    x[j + j * ldx] = middle[j + Stride(j) * n];
    for (int i = j + 1; i < n; ++i)
      x[i + j * ldx] = middle[i + Stride(j) * n] + middle[j + Stride(i) * n];
  }
}

template <class T>
void scale_diagonal(int n, T factor, T* a, Stride ld) {
  for (int j = 0; j < n; ++j) a[j + j * ld] *= factor;
}

}  // namespace detail

// Per block J with rows B below, U the cotangent of what it updates: W_B = (X_B − (U + Uᵀ) L_B)
// L_J⁻¹; X_J −= tril(W_Bᵀ L_B); W_J as above. Children read (W_J, W_B, U). U + Uᵀ is the symmetric
// matrix with U's lower triangle and a doubled diagonal; doubling and halving are exact. w may be x
// itself.
template <class T>
void cholesky_cotangent(const Plan& plan, const Work<T>& work, const T* l, const T* x, T* w) {
  const auto visit = [&](const Node& node, T* update, const Crew& crew, Scratch<T>& scratch) {
    const int m = node.m, r = node.r;
    const Stride ld = m;
    const T* lp = l + node.panel;
    T* panel = w + node.panel;
    T* middle = scratch.work[0].reserve(square(kNodeBlock));
    if (x != w) std::copy_n(x + node.panel, ld * node.w, panel);
    detail::scale_diagonal(r, T(2), update, r);
    symmetric_multiply(crew, r, node.w, update, r, lp + node.w, ld, panel + node.w, ld,
                       Update::kSubtract);
    detail::scale_diagonal(r, T(0.5), update, r);
    blocks_backward(node.w, kNodeBlock, [&](int c0, int nb) {
      const int c1 = c0 + nb, p = node.w - c1;
      const T* lj = lp + c0 + c0 * ld;
      T* wj = panel + c0 + c0 * ld;
      T* later = panel + c1 + c1 * ld;  // diagonal doubled
      symmetric_multiply(crew, p, nb, later, ld, lj + nb, ld, wj + nb, ld, Update::kSubtract);
      transposed_multiply(crew, p, nb, r, later + p, ld, lj + nb + p, ld, wj + nb, ld,
                          Update::kSubtract);
      multiply(crew, r, nb, p, later + p, ld, lj + nb, ld, wj + nb + p, ld, Update::kSubtract);
      dense::solve_right(crew, m - c1, nb, lj, ld, wj + nb, ld);
      transposed_multiply(crew, nb, nb, m - c1, wj + nb, ld, lj + nb, ld, wj, ld, Update::kSubtract,
                          Part::kLower);
      detail::cotangent_of_triangle(nb, lj, ld, wj, ld, middle);
      detail::scale_diagonal(nb, T(2), wj, ld);
    });
    detail::scale_diagonal(node.w, T(0.5), panel, ld);
    dense::clear_upper(node.w, panel, ld);
  };
  traverse_down<T>(plan, work, w, visit, [](const Node&) {});
}

}  // namespace cholax::CHOLAX_TARGET
