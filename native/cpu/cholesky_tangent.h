// X := C(L)[W], the forward derivative of the Cholesky factor: S(L)[X] = W (up the tree).
#pragma once
#include "cpu/dense.h"
#include "cpu/traversal.h"

namespace cholax::CHOLAX_TARGET {

namespace detail {

// Lower W (n × n) := L Φ(L⁻¹ W L⁻ᵀ), W given by its lower triangle; the upper one becomes zero.
template <class T>
void tangent_of_triangle(int n, const T* l, Stride ldl, T* w, Stride ldw, T* middle) {
  dense::copy(n, n, w, ldw, middle, n);
  mirror_lower(n, middle, n);
  dense::solve_right_transposed({}, n, n, l, ldl, middle, n);
  transpose_square(n, middle, n);
  dense::solve_right_transposed({}, n, n, l, ldl, middle, n);
  dense::half_lower(n, middle, n);
  multiply({}, n, n, n, l, ldl, middle, n, w, ldw, Update::kAssign);
  dense::clear_upper(n, w, ldw);
}

// Lower C (n × n) op= A Bᵀ + B Aᵀ, A and B being n × k.
template <class T>
void symmetric_rank_two(const Crew& crew, int rows, int columns, int k, const T* a, Stride lda,
                        const T* b, Stride ldb, T* c, Stride ldc, Update first) {
  multiply_transposed(crew, rows, columns, k, a, lda, b, ldb, c, ldc, first, Part::kLower);
  multiply_transposed(crew, rows, columns, k, b, ldb, a, lda, c, ldc, continued(first),
                      Part::kLower);
}

}  // namespace detail

// Per block J with rows B below: X_J = L_J Φ(L_J⁻¹ W_J L_J⁻ᵀ); X_B = (W_B − L_B X_Jᵀ) L_J⁻ᵀ;
// update −= X_B L_Bᵀ + L_B X_Bᵀ, first within the supernode, at the end in the update matrix. x may
// be w itself.
template <class T>
void cholesky_tangent(const Plan& plan, const Work<T>& work, const T* l, const T* w, T* x) {
  const auto begin = [&](const Node& node, T* panel) {
    if (w != x) std::copy_n(w + node.panel, Stride(node.m) * node.w, panel);
  };
  const auto visit = [&](const Node& node, T* panel, T* update, const Crew& crew,
                         Scratch<T>& scratch) {
    const Stride ld = node.m;
    const T* lp = l + node.panel;
    T* middle = scratch.work[0].reserve(square(kNodeBlock));
    for (int c0 = 0; c0 < node.w; c0 += kNodeBlock) {
      const int nb = std::min(kNodeBlock, node.w - c0), c1 = c0 + nb;
      const T* lj = lp + c0 + c0 * ld;
      T* xj = panel + c0 + c0 * ld;
      detail::tangent_of_triangle(nb, lj, ld, xj, ld, middle);
      multiply_transposed(crew, node.m - c1, nb, nb, lj + nb, ld, xj, ld, xj + nb, ld,
                          Update::kSubtract);
      dense::solve_right_transposed(crew, node.m - c1, nb, lj, ld, xj + nb, ld);
      detail::symmetric_rank_two(crew, node.m - c1, node.w - c1, nb, xj + nb, ld, lj + nb, ld,
                                 panel + c1 + c1 * ld, ld, Update::kSubtract);
    }
    dense::clear_upper(node.w, panel, ld);
    detail::symmetric_rank_two(crew, node.r, node.r, node.w, panel + node.w, ld, lp + node.w, ld,
                               update, node.r, Update::kAssignNegative);
    return true;
  };
  traverse_up<T>(plan, work, x, begin, visit);
}

}  // namespace cholax::CHOLAX_TARGET
