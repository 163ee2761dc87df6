// L := Cholesky factor of P A Pᵀ on the filled pattern (up the tree).
#pragma once
#include "cpu/dense.h"
#include "cpu/traversal.h"

namespace cholax::CHOLAX_TARGET {

// The first column of a supernode whose factorisation failed that has a bad pivot.
template <class T>
Index bad_column(const Node& node, const T* l) {
  for (int j = 0; j < node.w; ++j) {
    const T pivot = l[node.panel + j + Stride(j) * node.m];
    if (!(pivot > 0) || !std::isfinite(pivot)) return node.first + j;
  }
  return node.first;
}

// Returns 0, or 1 + the original index of the first bad pivot met; every entry of `l` is NaN then.
template <class T>
std::int32_t cholesky(const Plan& plan, const Work<T>& work, const T* values, T* l) {
  const auto begin = [&](const Node& node, T* panel) {
    std::fill_n(panel, Stride(node.m) * node.w, T(0));
    for (Index k = plan.entry_ptr[node.s]; k < plan.entry_ptr[node.s + 1]; ++k)
      l[plan.entry_place[k]] = values[plan.entry[k]];
  };
  const auto visit = [&](const Node& node, T* panel, T* update, const Crew& crew, Scratch<T>&) {
    if (dense::factor_panel(crew, node.m, node.w, panel, node.m) >= 0) return false;
    dense::clear_upper(node.w, panel, node.m);
    const T* below = panel + node.w;
    multiply_transposed(crew, node.r, node.r, node.w, below, node.m, below, node.m, update, node.r,
                        Update::kAssignNegative, Part::kLower);
    return true;
  };
  const Index failed = traverse_up<T>(plan, work, l, begin, visit);
  if (failed < 0) return 0;
  const Index column = bad_column(node_at(plan, plan.schedule[failed]), l);
  std::fill_n(l, plan.size, std::numeric_limits<T>::quiet_NaN());
  return plan.perm[column] + 1;
}

}  // namespace cholax::CHOLAX_TARGET
