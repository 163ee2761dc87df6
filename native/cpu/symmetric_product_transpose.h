// X := T(L)[W] = S(L)ᵀ W = (W + Wᵀ) L on the filled pattern, W lower triangular (down the tree).
#pragma once
#include "cpu/dense.h"
#include "cpu/traversal.h"

namespace cholax {

template <class T>
void symmetric_product_transpose(const Plan& plan, Scratch<T>& scratch, const T* l, const T* w,
                                 T* x) {
  std::fill_n(x, plan.size, T(0));
  T* middle = scratch.work[0].reserve(square(plan.max_width));
  traverse_down<T>(
      plan, scratch, w,
      [&](const Node& node, T* update) {
        const int n = node.w, m = node.m, r = node.r;
        const T* lp = l + node.panel;
        const T* wp = w + node.panel;
        T* xp = x + node.panel;
        for (int j = 0; j < n; ++j) {
          std::copy_n(wp + std::ptrdiff_t(j) * m, n, middle + std::ptrdiff_t(j) * n);
          middle[j + std::ptrdiff_t(j) * n] *= T(2);
        }
        dense::symm_left(n, n, T(1), middle, n, lp, m, xp, m);
        dense::gemm_tn(n, n, r, T(1), wp + n, m, lp + n, m, xp, m);
        dense::clear_upper(n, xp, m);
        dense::gemm_nn(r, n, n, T(1), wp + n, m, lp, m, xp + n, m);
        for (int i = 0; i < r; ++i) update[i + std::ptrdiff_t(i) * r] *= T(2);
        dense::symm_left(r, n, T(1), update, r, lp + n, m, xp + n, m);
        for (int i = 0; i < r; ++i) update[i + std::ptrdiff_t(i) * r] *= T(0.5);
      },
      [](const Node&) {});
}

}  // namespace cholax
