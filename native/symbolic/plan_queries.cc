#include "plan_queries.h"

#include <algorithm>
#include <cstdint>

#include "columns.h"

namespace cholax {
namespace {

// present[t] = 1 where the factor vector holds an entry of A or of fill, 0 at amalgamation zeros and padding.
// The structure of column j goes into column parent(j) = its first row below the diagonal.
std::vector<std::uint8_t> exact_entries(const Plan& plan) {
  std::vector<std::uint8_t> present(plan.size, 0);
  for (const Index p : plan.value_position) present[p] = 1;
  for (const Index s : plan.schedule) {
    const Offset m = plan.row_ptr[s + 1] - plan.row_ptr[s];
    const Index w = plan.first_column[s + 1] - plan.first_column[s];
    std::uint8_t* panel = present.data() + plan.panel_ptr[s];
    for (Index j = 0; j < w; ++j) {
      const std::uint8_t* column = panel + j * m;
      Offset up = j + 1;
      while (up < m && !column[up]) ++up;
      if (up == m) continue;
      if (up < w) {
        for (Offset t = up; t < m; ++t) panel[up * m + t] |= column[t];
        continue;
      }
      // Only the last column's parent is outside the supernode.
      const Index p = plan.parent[s];
      const Index* to = plan.relative.data() + plan.below_ptr[s] - w;
      const Offset m_parent = plan.row_ptr[p + 1] - plan.row_ptr[p];
      std::uint8_t* target = present.data() + plan.panel_ptr[p] + to[up] * m_parent;
      for (Offset t = up; t < m; ++t) target[to[t]] |= column[t];
    }
  }
  return present;
}

}  // namespace

void locate(const Plan& plan, Index num_columns, const Index* indptr, const Index* indices,
            Index* positions) {
  std::fill(positions, positions + indptr[num_columns], -1);
  const Columns a = relabelled_columns(plan.n, num_columns, indptr, indices, plan.iperm.data());
  std::vector<Index> place(plan.n), owner(plan.n, -1);
  for (Index s = 0; s < plan.num_supernodes; ++s) {
    const Index begin = plan.first_column[s], end = plan.first_column[s + 1];
    if (a.ptr[begin] == a.ptr[end]) continue;
    const Index m = static_cast<Index>(plan.row_ptr[s + 1] - plan.row_ptr[s]);
    const Index* rows = plan.rows.data() + plan.row_ptr[s];
    for (Index t = 0; t < m; ++t) {
      place[rows[t]] = t;
      owner[rows[t]] = s;
    }
    for (Index j = begin; j < end; ++j) {
      const Offset column = plan.panel_ptr[s] + Offset{j - begin} * m;
      for (Index p = a.ptr[j]; p < a.ptr[j + 1]; ++p)
        if (owner[a.row[p]] == s)
          positions[a.source[p]] = static_cast<Index>(column + place[a.row[p]]);
    }
  }
}

void lower_pattern(const Plan& plan, Index* indptr, Index* indices, Index* positions) {
  const bool exact = plan.size == plan.nnz_factor;
  const std::vector<std::uint8_t> present = exact ? std::vector<std::uint8_t>() : exact_entries(plan);
  Index filled = 0;
  indptr[0] = 0;
  for (Index s = 0; s < plan.num_supernodes; ++s) {
    const Offset m = plan.row_ptr[s + 1] - plan.row_ptr[s];
    const Index w = plan.first_column[s + 1] - plan.first_column[s];
    for (Index j = 0; j < w; ++j) {
      for (Offset t = j; t < m; ++t) {
        const Offset position = plan.panel_ptr[s] + j * m + t;
        if (!exact && !present[position]) continue;
        indices[filled] = plan.rows[plan.row_ptr[s] + t];
        positions[filled++] = static_cast<Index>(position);
      }
      indptr[plan.first_column[s] + j + 1] = filled;
    }
  }
}

}  // namespace cholax
