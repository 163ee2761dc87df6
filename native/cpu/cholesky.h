// L := Cholesky factor of P A Pᵀ on the filled pattern (up the tree).
#pragma once
#include "cpu/dense.h"
#include "cpu/traversal.h"

namespace cholax {

// Returns 0, or 1 + the original index of the first bad pivot met; every entry of `l` is NaN then.
template <class T>
std::int32_t cholesky(const Plan& plan, Scratch<T>& scratch, const T* values, T* l) {
  std::fill_n(l, plan.size, T(0));
  for (std::size_t k = 0; k < plan.value_position.size(); ++k)
    l[plan.value_position[k]] += values[k];
  int bad = -1;
  const bool ok = traverse_up<T>(plan, scratch, l, [&](const Node& node, T* panel, T* update) {
    const int info = dense::cholesky_lower(node.w, panel, node.m);
    if (info >= 0) {
      bad = node.first + info;
      return false;
    }
    dense::solve_right_transposed(node.r, node.w, panel, node.m, panel + node.w, node.m);
    dense::syrk_lower(node.r, node.w, T(-1), panel + node.w, node.m, update, node.r);
    return true;
  });
  if (ok) return 0;
  std::fill_n(l, plan.size, std::numeric_limits<T>::quiet_NaN());
  return plan.perm[bad] + 1;
}

}  // namespace cholax
