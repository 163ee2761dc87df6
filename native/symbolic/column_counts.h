// Column counts of the Cholesky factor without forming it.
#pragma once
#include <vector>

#include "columns.h"

namespace cholax {

// count[j] = number of entries of column j of L, diagonal included; nearly O(nnz(A)). The labels
// must be a postorder of the elimination tree. Gilbert, Ng & Peyton 1994: entry (i, j) matters only
// when j is a leaf of the row subtree of i.
std::vector<Index> column_counts(const EntryLists& columns, const std::vector<Index>& parent);

}  // namespace cholax
