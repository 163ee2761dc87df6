// Y := w∘Z, Z = A⁻¹ on the filled pattern (Takahashi), w = 1 on the diagonal and 2 off it
// (down the tree). Y is the gradient of log|A| on the filled pattern.
#pragma once
#include "cpu/dense.h"
#include "cpu/traversal.h"

namespace cholax::CHOLAX_TARGET {

namespace detail {

// Columns whose inverse is found at once; many, because the inverse on the rows below is packed
// once for each such block.
inline constexpr int kInverseBlock = 512;

// Lower Z (n × n) := (L Lᵀ)⁻¹ for n ≤ kNodeBlock
template <class T>
void inverse_of_small(int n, const T* l, Stride ldl, T* inverse, T* z, Stride ldz) {
  std::fill_n(inverse, square(n), T(0));
  for (int j = 0; j < n; ++j) inverse[j + Stride(j) * n] = T(1);
  dense::solve_right({}, n, n, l, ldl, inverse, n);
  transposed_multiply({}, n, n, n, inverse, n, inverse, n, z, ldz, Update::kAssign, Part::kLower);
}

// Lower Z (n × n) := (L Lᵀ)⁻¹ for any n, by the recurrence itself. `g` is as large as Z.
template <class T>
void inverse_of_product(const Crew& crew, int n, const T* l, T* g, T* z, Stride ld, T* inverse) {
  blocks_backward(n, kNodeBlock, [&](int c0, int nb) {
    const int c1 = c0 + nb, p = n - c1;
    const T* triangle = l + c0 + c0 * ld;
    T* own = z + c0 + c0 * ld;
    T* factor = g + c1 + c0 * ld;
    if (p > 0) {
      dense::solve_right_from(crew, p, nb, triangle, ld, triangle + nb, ld, factor, ld);
      symmetric_multiply(crew, p, nb, own + nb + nb * ld, ld, factor, ld, own + nb, ld,
                         Update::kAssignNegative);
    }
    inverse_of_small(nb, triangle, ld, inverse, own, ld);
    if (p > 0)
      transposed_multiply(crew, nb, nb, p, factor, ld, own + nb, ld, own, ld, Update::kSubtract,
                          Part::kLower);
  });
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
    blocks_backward(w, detail::kInverseBlock, [&](int c0, int nb) {
      const T* triangle = lp + c0 + c0 * ld;
      dense::solve_right_from(crew, m - c0 - nb, nb, triangle, ld, triangle + nb, ld,
                              g + (c0 + nb) + c0 * ld, ld);
    });
    symmetric_multiply(crew, r, w, update, r, g + w, ld, panel + w, ld, Update::kAssignNegative);
    blocks_backward(w, detail::kInverseBlock, [&](int c0, int nb) {
      const int c1 = c0 + nb, p = w - c1;
      T* column = panel + c0 * ld;
      T* gc = g + c0 * ld;
      T* later = panel + c1 + c1 * ld;
      if (p > 0) {
        symmetric_multiply(crew, p, nb, later, ld, gc + c1, ld, column + c1, ld,
                           Update::kAssignNegative);
        transposed_multiply(crew, p, nb, r, later + p, ld, gc + w, ld, column + c1, ld,
                            Update::kSubtract);
        multiply(crew, r, nb, p, later + p, ld, gc + c1, ld, column + w, ld, Update::kSubtract);
      }
      detail::inverse_of_product(crew, nb, lp + c0 + c0 * ld, gc + c0, column + c0, ld, inverse);
      transposed_multiply(crew, nb, nb, m - c1, gc + c1, ld, column + c1, ld, column + c0, ld,
                          Update::kSubtract, Part::kLower);
    });
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
