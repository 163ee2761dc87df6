// W := S(L)[X] = lower(X Lᵀ + L Xᵀ) on the filled pattern (up the tree).
#pragma once
#include "cpu/dense.h"
#include "cpu/traversal.h"

namespace cholax {

template <class T>
void symmetric_product(const Plan& plan, Scratch<T>& scratch, const T* l, const T* x, T* w) {
  std::fill_n(w, plan.size, T(0));
  traverse_up<T>(plan, scratch, w, [&](const Node& node, T* panel, T* update) {
    const int n = node.w, m = node.m, r = node.r;
    const T* lp = l + node.panel;
    const T* xp = x + node.panel;
    // All m rows times the transposed diagonal blocks; what this puts above the diagonal is
    // cleared.
    dense::gemm_nt(m, n, n, T(1), xp, m, lp, m, panel, m);
    dense::gemm_nt(m, n, n, T(1), lp, m, xp, m, panel, m);
    dense::clear_upper(n, panel, m);
    dense::syr2k_lower(r, n, T(1), xp + n, m, lp + n, m, update, r);
    return true;
  });
}

}  // namespace cholax
