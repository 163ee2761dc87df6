// x := L⁻¹ x or L⁻ᵀ x for k right-hand sides, and x := L x, Lᵀ x. Right-hand sides are stored row
// by row (n x k row-major), so the rows of a supernode form a k x w column-major block.
#pragma once
#include "cpu/dense.h"
#include "cpu/traversal.h"

namespace cholax {

namespace detail {

// block (k x r) := rows of x listed below the node's own columns
template <class T>
void read_rows(const Node& node, int k, const T* x, T* block) {
  for (int i = 0; i < node.r; ++i)
    std::copy_n(x + std::ptrdiff_t(node.rows[node.w + i]) * k, k, block + std::ptrdiff_t(i) * k);
}

// those rows of x += block (k x r)
template <class T>
void add_rows(const Node& node, int k, const T* block, T* x) {
  for (int i = 0; i < node.r; ++i) {
    T* to = x + std::ptrdiff_t(node.rows[node.w + i]) * k;
    for (int c = 0; c < k; ++c) to[c] += block[std::ptrdiff_t(i) * k + c];
  }
}

}  // namespace detail

// The sweeps run over columns in their own order, not plan.schedule: that is a postorder of the
// tree, valid only where L is closed under fill, and any lower triangular L may be solved with.
template <class T>
void solve_lower(const Plan& plan, Scratch<T>& scratch, const T* l, int k, T* x) {
  T* below = scratch.work[0].reserve(std::size_t(plan.max_below) * k);
  for (Index s = 0; s < plan.num_supernodes; ++s) {
    const Node node = node_at(plan, s);
    const T* lj = l + node.panel;
    T* own = x + std::ptrdiff_t(node.first) * k;
    dense::solve_right_transposed(k, node.w, lj, node.m, own, k);
    std::fill_n(below, std::ptrdiff_t(node.r) * k, T(0));
    dense::gemm_nt(k, node.r, node.w, T(-1), own, k, lj + node.w, node.m, below, k);
    detail::add_rows(node, k, below, x);
  }
}

template <class T>
void solve_lower_transposed(const Plan& plan, Scratch<T>& scratch, const T* l, int k, T* x) {
  T* below = scratch.work[0].reserve(std::size_t(plan.max_below) * k);
  for (Index s = plan.num_supernodes - 1; s >= 0; --s) {
    const Node node = node_at(plan, s);
    const T* lj = l + node.panel;
    T* own = x + std::ptrdiff_t(node.first) * k;
    detail::read_rows(node, k, x, below);
    dense::gemm_nn(k, node.w, node.r, T(-1), below, k, lj + node.w, node.m, own, k);
    dense::solve_right(k, node.w, lj, node.m, own, k);
  }
}

// y := L x
template <class T>
void multiply_lower(const Plan& plan, Scratch<T>& scratch, const T* l, int k, const T* x, T* y) {
  std::fill_n(y, std::ptrdiff_t(plan.n) * k, T(0));
  T* below = scratch.work[0].reserve(std::size_t(plan.max_below) * k);
  for (Index s = 0; s < plan.num_supernodes; ++s) {
    const Node node = node_at(plan, s);
    const T* lj = l + node.panel;
    const T* own = x + std::ptrdiff_t(node.first) * k;
    dense::gemm_nt(k, node.w, node.w, T(1), own, k, lj, node.m, y + std::ptrdiff_t(node.first) * k,
                   k);
    std::fill_n(below, std::ptrdiff_t(node.r) * k, T(0));
    dense::gemm_nt(k, node.r, node.w, T(1), own, k, lj + node.w, node.m, below, k);
    detail::add_rows(node, k, below, y);
  }
}

// y := Lᵀ x
template <class T>
void multiply_lower_transposed(const Plan& plan, Scratch<T>& scratch, const T* l, int k, const T* x,
                               T* y) {
  std::fill_n(y, std::ptrdiff_t(plan.n) * k, T(0));
  T* below = scratch.work[0].reserve(std::size_t(plan.max_below) * k);
  for (Index s = 0; s < plan.num_supernodes; ++s) {
    const Node node = node_at(plan, s);
    const T* lj = l + node.panel;
    T* own = y + std::ptrdiff_t(node.first) * k;
    dense::gemm_nn(k, node.w, node.w, T(1), x + std::ptrdiff_t(node.first) * k, k, lj, node.m, own,
                   k);
    detail::read_rows(node, k, x, below);
    dense::gemm_nn(k, node.w, node.r, T(1), below, k, lj + node.w, node.m, own, k);
  }
}

// panels := lower(u vᵀ) on the filled pattern: entry (i, j) = Σ_c u_ic v_jc.
template <class T>
void outer_on_factor(const Plan& plan, Scratch<T>& scratch, int k, const T* u, const T* v, T* l) {
  std::fill_n(l, plan.size, T(0));
  T* below = scratch.work[0].reserve(std::size_t(plan.max_below) * k);
  for (Index s = 0; s < plan.num_supernodes; ++s) {
    const Node node = node_at(plan, s);
    T* panel = l + node.panel;
    const std::ptrdiff_t first = std::ptrdiff_t(node.first) * k;
    dense::gemm_tn(node.w, node.w, k, T(1), u + first, k, v + first, k, panel, node.m);
    dense::clear_upper(node.w, panel, node.m);
    detail::read_rows(node, k, u, below);
    dense::gemm_tn(node.r, node.w, k, T(1), below, k, v + first, k, panel + node.w, node.m);
  }
}

}  // namespace cholax
