// Supernodes: groups of columns with (nearly) the same structure, their tree and their row lists.
#pragma once
#include <array>
#include <vector>

#include "columns.h"
#include "etree.h"

namespace cholax {

// When to merge a child into its parent. The merged supernode must satisfy one line: at most
// width[k] columns and at most zeros[k] of its trapezoid filled with added zeros; the last line has
// no bound on the width. With AMD these defaults give a mean width of 10 on square grids and 9.5 on
// a 40^3 one, storage 1.4 to 1.7 nnz(L) (time_symbolic).
struct Relaxation {
  std::array<Index, 3> width{16, 32, 64};
  std::array<double, 4> zeros{0.50, 0.30, 0.15, 0.05};
  // Twins (twins.h) merge up to this width and this share of zeros among their columns.
  Index twin_width = 48;
  double twin_zeros = 0.25;
};

// A partition of the columns. Groups are numbered so that children come before their parents.
struct Partition {
  std::vector<Index> group_of;  // column -> group
  std::vector<Index> width;     // columns of a group
  std::vector<Index> below;     // rows of a group below its own columns
  std::vector<Index> parent;    // parent group, -1 at roots
};

// One group per column.
Partition single_columns(const std::vector<Index>& parent, const std::vector<Index>& count);

// Chains of columns with nested structure, then relaxed amalgamation from the leaves to the roots.
// contiguous: merge only a child whose last column stands directly before its parent's first
// (labels are kept); otherwise any child may merge, and the caller must move the columns of a group
// together.
Partition amalgamated_columns(const std::vector<Index>& parent, const std::vector<Index>& count,
                              const Relaxation& relax, bool contiguous);

// Two numberings of the same columns: order[k] is the first's label of the column that the second
// calls k, label is the inverse.
struct Relabelling {
  std::vector<Index> order, label;
};

// Sorted row lists of consecutive groups: group s owns columns first[s] .. first[s+1]-1; its list
// is rows[ptr[s]] .. rows[ptr[s+1]-1], its own columns and then the rows below.
struct RowLists {
  std::vector<Offset> ptr;
  std::vector<Index> rows;
};

// Row lists of groups with below[s] rows below, from the rows of A, which go by the first labels of
// `names` while groups go by the second.
RowLists supernode_rows(const EntryLists& rows, const Relabelling& names,
                        const std::vector<Index>& first, const std::vector<Index>& below,
                        const std::vector<Index>& parent);

// relative[t]: place of the t-th below row in its parent's list, -1 where the parent lacks it (see
// RowLists). Calls visit(s, place) for every group, place[i] being where row i is in its list.
template <typename Visit>
std::vector<Index> relative_indices(const RowLists& lists, const std::vector<Index>& first,
                                    const std::vector<Offset>& below_ptr, const Children& children,
                                    Visit&& visit) {
  const Index num = static_cast<Index>(first.size()) - 1;
  std::vector<Index> relative(below_ptr[num]);
  std::vector<Index> place(first.back(), 0);
  for (Index p = 0; p < num; ++p) {
    const Index* list = lists.rows.data() + lists.ptr[p];
    const Index length = static_cast<Index>(lists.ptr[p + 1] - lists.ptr[p]);
    for (Index t = 0; t < length; ++t) place[list[t]] = t;
    visit(p, place.data());
    for (Index k = children.ptr[p]; k < children.ptr[p + 1]; ++k) {
      const Index c = children.child[k];
      Index* out = relative.data() + below_ptr[c];
      const Index r = static_cast<Index>(below_ptr[c + 1] - below_ptr[c]);
      const Index* row = lists.rows.data() + lists.ptr[c + 1] - r;
      for (Index t = 0; t < r; ++t) {
        const Index at = place[row[t]];  // left over from another list, unless that is confirmed
        out[t] = at < length && list[at] == row[t] ? at : -1;
      }
    }
  }
  return relative;
}

}  // namespace cholax
