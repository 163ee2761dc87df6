// W := S(L)[X] = lower(X Lᵀ + L Xᵀ) on the filled pattern (up the tree).
#pragma once
#include "cpu/cholesky_tangent.h"

namespace cholax::CHOLAX_TARGET {

template <class T>
void symmetric_product(const Plan& plan, const Work<T>& work, const T* l, const T* x, T* w) {
  const auto begin = [&](const Node& node, T* panel) {
    std::fill_n(panel, Stride(node.m) * node.w, T(0));
  };
  const auto visit = [&](const Node& node, T* panel, T* update, const Crew& crew, Scratch<T>&) {
    const Stride ld = node.m;
    const T* lp = l + node.panel;
    const T* xp = x + node.panel;
    // Block by block: the columns of a block reach the rows from its own first row on.
    for (int c0 = 0; c0 < node.w; c0 += kNodeBlock) {
      const int nb = std::min(kNodeBlock, node.w - c0);
      const Stride corner = c0 + c0 * ld;
      detail::symmetric_rank_two(crew, node.m - c0, node.w - c0, nb, xp + corner, ld, lp + corner,
                                 ld, panel + corner, ld, Update::kAdd);
    }
    dense::clear_upper(node.w, panel, ld);
    detail::symmetric_rank_two(crew, node.r, node.r, node.w, xp + node.w, ld, lp + node.w, ld,
                               update, node.r, Update::kAssign);
    return true;
  };
  traverse_up<T>(plan, work, w, begin, visit);
}

}  // namespace cholax::CHOLAX_TARGET
