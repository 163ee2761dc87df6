// What the positions of a plan's factor vector stand for.
#pragma once
#include <utility>
#include <vector>

#include "../symbolic/plan.h"
#include "../symbolic/plan_queries.h"
#include "patterns.h"

namespace cholax::testing {

inline Index width(const Plan& plan, Index s) {
  return plan.first_column[s + 1] - plan.first_column[s];
}

inline Index height(const Plan& plan, Index s) {
  return static_cast<Index>(plan.row_ptr[s + 1] - plan.row_ptr[s]);
}

// The (row, column) of each position of the factor vector, (-1, -1) where it is padding.
inline std::vector<std::pair<Index, Index>> labels(const Plan& plan) {
  std::vector<std::pair<Index, Index>> out(plan.size, {-1, -1});
  for (Index s = 0; s < plan.num_supernodes; ++s)
    for (Index j = 0; j < width(plan, s); ++j)
      for (Index t = j; t < height(plan, s); ++t)
        out[plan.panel_ptr[s] + Offset{j} * height(plan, s) + t] = {plan.rows[plan.row_ptr[s] + t],
                                                                    plan.first_column[s] + j};
  return out;
}

// The pattern of L in permuted labels, without amalgamation zeros.
inline Lower exact_pattern(const Plan& plan) {
  Lower l;
  l.n = plan.n;
  l.ptr.resize(plan.n + 1);
  l.row.resize(plan.nnz_factor);
  std::vector<Index> position(plan.nnz_factor);
  lower_pattern(plan, l.ptr.data(), l.row.data(), position.data());
  return l;
}

}  // namespace cholax::testing
