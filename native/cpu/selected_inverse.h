// Y := w∘Z, Z = A⁻¹ on the filled pattern (Takahashi), w = 1 on the diagonal and 2 off it
// (down the tree). Y is the gradient of log|A| on the filled pattern.
#pragma once
#include "cpu/dense.h"
#include "cpu/traversal.h"

namespace cholax::CHOLAX_TARGET {

namespace detail {

// Lower Z (n × n) := (L Lᵀ)⁻¹
template <class T>
void inverse_of_product(int n, const T* l, Stride ldl, T* inverse, T* z, Stride ldz) {
  std::fill_n(inverse, square(n), T(0));
  for (int j = 0; j < n; ++j) inverse[j + Stride(j) * n] = T(1);
  dense::solve_right({}, n, n, l, ldl, inverse, n);
  transposed_multiply({}, n, n, n, inverse, n, inverse, n, z, ldz, Update::kAssign, Part::kLower);
}

// G := L_B L_J⁻¹, block by block: rows below the block times the inverse of its triangle.
template <class T>
void scaled_rows_below(const Node& node, const Crew& crew, const T* l, T* g) {
  for (int c0 = 0; c0 < node.w; c0 += kNodeBlock) {
    const int nb = std::min(kNodeBlock, node.w - c0), c1 = c0 + nb;
    const Stride block = c1 + Stride(c0) * node.m;
    dense::solve_right_from(crew, node.m - c1, nb, l + c0 + Stride(c0) * node.m, node.m, l + block,
                            node.m, g + block, node.m);
  }
}

}  // namespace detail

// Per block J with rows B below: G = L_B L_J⁻¹; Z_B = −Z_BB G; Z_J = (L_J L_Jᵀ)⁻¹ − Gᵀ Z_B.
// B is the rest of the supernode's own columns (p of them) and the r rows below.
template <class T>
void selected_inverse(const Plan& plan, const Work<T>& work, const T* l, T* y) {
  const auto visit = [&](const Node& node, T* update, const Crew& crew, Scratch<T>& scratch) {
    const int w = node.w, m = node.m, r = node.r;
    const Stride ld = m;
    const T* lp = l + node.panel;
    T* panel = y + node.panel;
    T* g = scratch.work[0].reserve(std::size_t(m) * w);
    T* inverse = scratch.work[1].reserve(square(kNodeBlock));
    detail::scaled_rows_below(node, crew, lp, g);
    symmetric_multiply(crew, r, w, update, r, g + w, ld, panel + w, ld, Update::kAssignNegative);
    for (int c0 = (w - 1) / kNodeBlock * kNodeBlock; c0 >= 0; c0 -= kNodeBlock) {
      const int nb = std::min(kNodeBlock, w - c0), c1 = c0 + nb, p = w - c1;
      T* column = panel + c0 * ld;
      const T* gc = g + c0 * ld;
      T* later = panel + c1 + c1 * ld;
      symmetric_multiply(crew, p, nb, later, ld, gc + c1, ld, column + c1, ld,
                         Update::kAssignNegative);
      transposed_multiply(crew, p, nb, r, later + p, ld, gc + w, ld, column + c1, ld,
                          Update::kSubtract);
      multiply(crew, r, nb, p, later + p, ld, gc + c1, ld, column + w, ld, Update::kSubtract);
      detail::inverse_of_product(nb, lp + c0 + c0 * ld, ld, inverse, column + c0, ld);
      transposed_multiply(crew, nb, nb, m - c1, gc + c1, ld, column + c1, ld, column + c0, ld,
                          Update::kSubtract, Part::kLower);
    }
    dense::clear_upper(w, panel, ld);
  };
  // Children have read Z: weigh the off-diagonal entries while the panel is still in cache.
  const auto finish = [&](const Node& node) {
    T* panel = y + node.panel;
    for (int j = 0; j < node.w; ++j)
      for (int i = j + 1; i < node.m; ++i) panel[i + Stride(j) * node.m] *= T(2);
  };
  traverse_down<T>(plan, work, y, visit, finish);
}

}  // namespace cholax::CHOLAX_TARGET
