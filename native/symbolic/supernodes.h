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
  std::array<Index, 3> width{8, 16, 48};
  std::array<double, 4> zeros{0.80, 0.60, 0.10, 0.05};
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

// Sorted row lists of consecutive groups: group s owns columns first[s] .. first[s+1]-1 and gets
// its own columns followed by below[s] rows: those of A's columns and of its children's lists.
struct RowLists {
  std::vector<Offset> ptr;
  std::vector<Index> rows;
};
RowLists supernode_rows(const Columns& a, const std::vector<Index>& first,
                        const std::vector<Index>& below, const Children& children);

// relative[t]: place of the t-th below row in its parent's list, -1 where the parent lacks it (see
// RowLists).
std::vector<Index> relative_indices(const RowLists& lists, const std::vector<Index>& first,
                                    const std::vector<Offset>& below_ptr, const Children& children);

}  // namespace cholax
