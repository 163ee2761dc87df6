// Column counts of the Cholesky factor without forming it.
#pragma once
#include <vector>

#include "columns.h"

namespace cholax {

// count[j] = number of entries of column j of L, diagonal included; nearly O(nnz(A)).
// Gilbert, Ng & Peyton 1994: entry (i, j) matters only when j is a leaf of the row subtree of i.
std::vector<Index> column_counts(const Columns& a, const std::vector<Index>& parent,
                                 const std::vector<Index>& post);

}  // namespace cholax
