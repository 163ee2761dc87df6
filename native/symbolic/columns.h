// Columns: the lower triangle of a symmetric pattern, column by column, under new labels.
#pragma once
#include <vector>

#include "index.h"

namespace cholax {

// Column j holds entries ptr[j] .. ptr[j+1]-1; rows inside a column are in no particular order.
struct Columns {
  std::vector<Index> ptr;     // n + 1
  std::vector<Index> row;     // row[p] >= its column
  std::vector<Index> source;  // source[p]: number of the original entry
};

// Entries (i, j) of a CSC pattern with m columns, each moved to (max, min) of (label[i], label[j]).
// label == nullptr means unchanged. Entries outside the n x n square are left out.
Columns relabelled_columns(Index n, Index m, const Index* indptr, const Index* indices,
                           const Index* label);

// The same entries listed by row: "column" i of the result holds the columns of row i, increasing.
Columns rows_of(const Columns& a);

}  // namespace cholax
