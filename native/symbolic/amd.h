// Minimum degree and minimum fill orderings.
#pragma once
#include <vector>

#include "index.h"

namespace cholax {

// perm[i] = old index at place i, for the lower triangle (indptr, indices) in CSC with diagonal.
// Rows with more than max(16, 10 sqrt(n)) entries go last. Amestoy, Davis & Duff 1996.
std::vector<Index> amd(Index n, const Index* indptr, const Index* indices);

// The same, choosing next the column whose elimination promises least fill, per column eliminated
// with it. Rothberg & Eisenstat 1998, approximate minimum mean local fill.
std::vector<Index> amf(Index n, const Index* indptr, const Index* indices);

}  // namespace cholax
