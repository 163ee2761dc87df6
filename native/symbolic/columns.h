// The lower triangle of a symmetric pattern, listed by column or by row, under new labels.
#pragma once
#include <memory>
#include <vector>

#include "index.h"

namespace cholax {

struct Columns {
  std::vector<Index> ptr;     // n + 1; column j holds entries ptr[j] .. ptr[j+1]-1, in any order
  std::vector<Index> row;     // row[p] >= its column
  std::vector<Index> source;  // source[p]: number of the original entry
};

// Entries (i, j) of a CSC pattern with m columns, each moved to (max, min) of (label[i], label[j]).
// label == nullptr means unchanged. Entries outside the n x n square are left out.
Columns relabelled_columns(Index n, Index m, const Index* indptr, const Index* indices,
                           const Index* label);

// An entry off the diagonal, as its row or its column lists it.
struct Entry {
  Index other;   // its column or its row
  Index source;  // number of the original entry
};

struct EntryLists {
  std::vector<Index> ptr;  // n + 1
  std::unique_ptr<Entry[]> entry;
};

// Row i lists its columns j < i. The pattern is a lower triangle in CSC, to be relabelled.
EntryLists rows_of(Index n, const Index* indptr, const Index* indices, const Index* label);

// Column j lists its rows i > j, increasing, after relabelling once more. order: old label at each
// place; place: its inverse. Entries must stay below the diagonal.
EntryLists columns_of(const EntryLists& rows, const std::vector<Index>& order,
                      const std::vector<Index>& place);

}  // namespace cholax
