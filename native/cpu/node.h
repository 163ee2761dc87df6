// One supernode as kernels see it.
#pragma once
#include <cstddef>
#include <stdexcept>

#include "symbolic/plan.h"

namespace cholax {

struct Node {
  int s;
  int first;          // first column
  int w, r, m;        // own columns, rows below, all rows
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

inline std::ptrdiff_t square(int r) { return static_cast<std::ptrdiff_t>(r) * r; }

// Traversals need every update matrix to fit into the parent's front.
inline void require_closed(const Plan& plan) {
  if (!plan.closed)
    throw std::invalid_argument(
        "cholax: the pattern given for L is not that of a Cholesky factor (closed under fill).");
}

}  // namespace cholax
