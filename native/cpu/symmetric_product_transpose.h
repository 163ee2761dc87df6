// X := T(L)[W] = S(L)ᵀ W = (W + Wᵀ) L on the filled pattern, W lower triangular (down the tree).
#pragma once
#include "cpu/cholesky_cotangent.h"

namespace cholax::CHOLAX_TARGET {

// Per block J with rows B below and M = W + Wᵀ: X_J = M_J L_J + M_BJᵀ L_B, X_B = M_BJ L_J + M_BB
// L_B; B is the rest of the supernode's own columns (p of them) and the r rows below.
template <class T>
void symmetric_product_transpose(const Plan& plan, const Work<T>& work, const T* l, const T* w,
                                 T* x) {
  const auto visit = [&](const Node& node, T* update, const Crew& crew, Scratch<T>& scratch) {
    const int m = node.m, r = node.r;
    const Stride ld = m;
    const T* lp = l + node.panel;
    T* panel = x + node.panel;
    T* both = scratch.work[0].reserve(std::size_t(m) * node.w);  // M's own columns
    std::copy_n(w + node.panel, ld * node.w, both);
    detail::scale_diagonal(node.w, T(2), both, ld);
    detail::scale_diagonal(r, T(2), update, r);
    symmetric_multiply(crew, r, node.w, update, r, lp + node.w, ld, panel + node.w, ld,
                       Update::kAssign);
    detail::scale_diagonal(r, T(0.5), update, r);
    for (int c0 = 0; c0 < node.w; c0 += kNodeBlock) {
      const int nb = std::min(kNodeBlock, node.w - c0), c1 = c0 + nb, p = node.w - c1;
      const T* lj = lp + c0 + c0 * ld;
      T* xj = panel + c0 + c0 * ld;
      T* own = both + c0 + c0 * ld;
      T* later = both + c1 + c1 * ld;
      symmetric_multiply(crew, nb, nb, own, ld, lj, ld, xj, ld, Update::kAssign);
      transposed_multiply(crew, nb, nb, m - c1, own + nb, ld, lj + nb, ld, xj, ld, Update::kAdd,
                          Part::kLower);
      symmetric_multiply(crew, p, nb, later, ld, lj + nb, ld, xj + nb, ld, Update::kAssign);
      transposed_multiply(crew, p, nb, r, later + p, ld, lj + nb + p, ld, xj + nb, ld,
                          Update::kAdd);
      multiply(crew, r, nb, p, later + p, ld, lj + nb, ld, xj + nb + p, ld, Update::kAdd);
      multiply(crew, m - c1, nb, nb, own + nb, ld, lj, ld, xj + nb, ld, Update::kAdd);
    }
    dense::clear_upper(node.w, panel, ld);
  };
  traverse_down<T>(plan, work, w, visit, [](const Node&) {});
}

}  // namespace cholax::CHOLAX_TARGET
