// Y := w∘Z, Z = A⁻¹ on the filled pattern (Takahashi), w = 1 on the diagonal and 2 off it
// (down the tree). Y is the gradient of log|A| on the filled pattern.
#pragma once
#include "cpu/dense.h"
#include "cpu/traversal.h"

namespace cholax {

namespace detail {

// inverse (n x n, lower) := L_J⁻¹
template <class T>
void invert_lower(int n, const T* lj, int ld, T* inverse) {
  std::fill_n(inverse, square(n), T(0));
  for (int j = 0; j < n; ++j) inverse[j + std::ptrdiff_t(j) * n] = T(1);
  dense::solve_left(n, n, lj, ld, inverse, n);
}

}  // namespace detail

// Per node: G = L_B L_J⁻¹; Z_B = −Z_BB G; Z_J = (L_J L_Jᵀ)⁻¹ − Gᵀ Z_B.
template <class T>
void selected_inverse(const Plan& plan, Scratch<T>& scratch, const T* l, T* y) {
  std::fill_n(y, plan.size, T(0));
  T* inverse = scratch.work[0].reserve(square(plan.max_width));
  T* g = scratch.work[1].reserve(std::size_t(plan.max_front) * plan.max_width);
  traverse_down<T>(
      plan, scratch, y,
      [&](const Node& node, T* update) {
        const int n = node.w, m = node.m, r = node.r;
        const T* lj = l + node.panel;
        T* panel = y + node.panel;
        for (int j = 0; j < n; ++j)
          std::copy_n(lj + n + std::ptrdiff_t(j) * m, r, g + std::ptrdiff_t(j) * r);
        dense::solve_right(r, n, lj, m, g, r);
        dense::symm_left(r, n, T(-1), update, r, g, r, panel + n, m);
        detail::invert_lower(n, lj, m, inverse);
        dense::gemm_tn(n, n, n, T(1), inverse, n, inverse, n, panel, m);
        dense::gemm_tn(n, n, r, T(-1), g, r, panel + n, m, panel, m);
        dense::clear_upper(n, panel, m);
      },
      // Children have read Z: weigh the off-diagonal entries while the panel is still in cache.
      [&](const Node& node) {
        T* panel = y + node.panel;
        for (int j = 0; j < node.w; ++j)
          for (int i = j + 1; i < node.m; ++i) panel[i + std::ptrdiff_t(j) * node.m] *= T(2);
      });
}

}  // namespace cholax
