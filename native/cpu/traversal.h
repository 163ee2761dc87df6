// The two traversals every kernel is made of: up the supernodal tree (children's update matrices
// are added into the parent's front) and down it (children read theirs out of the parent's front).
// A front of supernode s is the m x m symmetric matrix over its rows: the first w columns live in
// a panel, the trailing r x r block in an update matrix (column-major, lower triangle).
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <stdexcept>

#include "core/buffer.h"
#include "symbolic/plan.h"

namespace cholax {

// One supernode as kernels see it.
struct Node {
  int s;
  int first;  // first column
  int w, r, m;
  Offset panel;       // offset of its panel in the factor vector
  const Index* rows;  // m row labels
};

inline Node node_at(const Plan& plan, int s) {
  const int first = plan.first_column[s];
  const int w = plan.first_column[s + 1] - first;
  const int m = static_cast<int>(plan.row_ptr[s + 1] - plan.row_ptr[s]);
  return {s, first, w, m - w, m, plan.panel_ptr[s], plan.rows.data() + plan.row_ptr[s]};
}

inline int below_count(const Plan& plan, int s) {
  return static_cast<int>(plan.below_ptr[s + 1] - plan.below_ptr[s]);
}

// Scratch of one traversal; reused over the members of a batch.
template <class T>
struct Scratch {
  explicit Scratch(const Plan& plan)
      : stack(static_cast<std::size_t>(plan.stack_size)),
        front(static_cast<std::size_t>(plan.max_below) * plan.max_below) {}
  Buffer<T> stack;
  Buffer<T> front;
  Buffer<T> work[2];  // for the node kernels
};

// Adds child c's update matrix into the panel and update matrix of its parent.
template <class T>
void extend_add(const Plan& plan, int c, const T* child, const Node& parent, T* panel, T* update) {
  const Index* place = plan.relative.data() + plan.below_ptr[c];
  const int rc = below_count(plan, c);
  for (int j = 0; j < rc; ++j) {
    const T* from = child + static_cast<std::ptrdiff_t>(j) * rc;
    const int column = place[j];
    T* to = column < parent.w
                ? panel + static_cast<std::ptrdiff_t>(column) * parent.m
                : update + static_cast<std::ptrdiff_t>(column - parent.w) * parent.r - parent.w;
    for (int i = j; i < rc; ++i) to[place[i]] += from[i];
  }
}

// Reads child c's update matrix (lower triangle) out of its parent's panel and update matrix.
template <class T>
void read_from_parent(const Plan& plan, int c, T* child, const Node& parent, const T* panel,
                      const T* update) {
  const Index* place = plan.relative.data() + plan.below_ptr[c];
  const int rc = below_count(plan, c);
  for (int j = 0; j < rc; ++j) {
    T* to = child + static_cast<std::ptrdiff_t>(j) * rc;
    const int column = place[j];
    const T* from =
        column < parent.w
            ? panel + static_cast<std::ptrdiff_t>(column) * parent.m
            : update + static_cast<std::ptrdiff_t>(column - parent.w) * parent.r - parent.w;
    for (int i = j; i < rc; ++i) to[i] = from[place[i]];
  }
}

// Traversals need every update matrix to fit into the parent's front.
inline void require_closed(const Plan& plan) {
  if (!plan.closed)
    throw std::invalid_argument(
        "cholax: the pattern given for L is not that of a Cholesky factor (closed under fill).");
}

inline std::ptrdiff_t square(int r) { return static_cast<std::ptrdiff_t>(r) * r; }

// Children before parents. `visit(node, panel, update)` gets the assembled front (panel of `out`
// plus children, update = sum of children) and leaves in `update` what the parent receives.
// Returns early when visit returns false.
template <class T, class Visit>
bool traverse_up(const Plan& plan, Scratch<T>& scratch, T* out, Visit&& visit) {
  require_closed(plan);
  T* top = scratch.stack.data();
  for (const Index s : plan.schedule) {
    const Node node = node_at(plan, s);
    T* panel = out + node.panel;
    const int children = plan.child_ptr[s + 1] - plan.child_ptr[s];
    T* update = children == 0 ? top : scratch.front.data();
    if (node.r > 0) std::fill_n(update, square(node.r), T(0));
    for (int k = plan.child_ptr[s + 1] - 1; k >= plan.child_ptr[s]; --k) {
      const int c = plan.child[k];
      top -= square(below_count(plan, c));
      extend_add(plan, c, top, node, panel, update);
    }
    if (!visit(node, panel, update)) return false;
    if (children != 0 && node.r > 0) std::memcpy(top, update, square(node.r) * sizeof(T));
    top += square(node.r);
  }
  return true;
}

// Parents before children. `visit(node, update)` gets the update matrix read from the parent's
// front; children then read theirs from `source` panels and that update matrix.
// `finish(node)` runs once the children have read.
template <class T, class Visit, class Finish>
void traverse_down(const Plan& plan, Scratch<T>& scratch, const T* source, Visit&& visit,
                   Finish&& finish) {
  require_closed(plan);
  T* top = scratch.stack.data();
  T* front = scratch.front.data();
  // Roots have no rows below, so their update matrices take no room on the stack.
  for (auto it = plan.schedule.rbegin(); it != plan.schedule.rend(); ++it) {
    const Node node = node_at(plan, *it);
    top -= square(node.r);
    if (node.r > 0) std::memcpy(front, top, square(node.r) * sizeof(T));
    visit(node, front);
    for (int k = plan.child_ptr[node.s]; k < plan.child_ptr[node.s + 1]; ++k) {
      const int c = plan.child[k];
      read_from_parent(plan, c, top, node, source + node.panel, front);
      top += square(below_count(plan, c));
    }
    finish(node);
  }
}

}  // namespace cholax
