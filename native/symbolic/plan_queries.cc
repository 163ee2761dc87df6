#include "plan_queries.h"

#include <algorithm>
#include <cstdint>

#include "columns.h"

namespace cholax {
namespace {

using Present = std::vector<std::uint8_t>;

// The structure of column j of supernode s goes into column q, which another supernode p owns.
void pass_on(const Plan& plan, Index s, Index j, Index up, Index p, Present& present) {
  const Index m = static_cast<Index>(plan.row_ptr[s + 1] - plan.row_ptr[s]);
  const Index w = plan.first_column[s + 1] - plan.first_column[s];
  const Index* rows = plan.rows.data() + plan.row_ptr[s];
  const Index* parent_rows = plan.rows.data() + plan.row_ptr[p];
  const Index* parent_end = plan.rows.data() + plan.row_ptr[p + 1];
  const std::uint8_t* column = present.data() + plan.panel_ptr[s] + Offset{j} * m;
  std::uint8_t* target = present.data() + plan.panel_ptr[p] +
                         Offset{rows[up] - plan.first_column[p]} * (parent_end - parent_rows);
  const bool direct =
      plan.parent[s] == p;  // twins hang on one another, not on the owner of the row
  for (Index t = up; t < m; ++t) {
    if (!column[t]) continue;
    const Offset to = direct ? plan.relative[plan.below_ptr[s] + t - w]
                             : std::lower_bound(parent_rows, parent_end, rows[t]) - parent_rows;
    target[to] = 1;
  }
}

// present[t] = 1 where the factor vector holds an entry of A or of fill, 0 at amalgamation zeros
// and padding. The structure of column j goes into column parent(j) = its first row below the
// diagonal.
Present exact_entries(const Plan& plan) {
  Present present(plan.size, 0);
  for (const Index k : plan.value_position) present[k] = 1;
  std::vector<Index> owner(plan.n);
  for (Index s = 0; s < plan.num_supernodes; ++s)
    std::fill(owner.begin() + plan.first_column[s], owner.begin() + plan.first_column[s + 1], s);
  for (Index s = 0; s < plan.num_supernodes; ++s) {
    const Index m = static_cast<Index>(plan.row_ptr[s + 1] - plan.row_ptr[s]);
    const Index w = plan.first_column[s + 1] - plan.first_column[s];
    std::uint8_t* panel = present.data() + plan.panel_ptr[s];
    for (Index j = 0; j < w; ++j) {
      const std::uint8_t* column = panel + Offset{j} * m;
      Index up = j + 1;
      while (up < m && !column[up]) ++up;
      if (up == m) continue;
      if (up < w)
        for (Index t = up; t < m; ++t) panel[Offset{up} * m + t] |= column[t];
      else
        pass_on(plan, s, j, up, owner[plan.rows[plan.row_ptr[s] + up]], present);
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
  const Present present = exact ? Present() : exact_entries(plan);
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
