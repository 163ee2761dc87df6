// Approximate minimum degree ordering.
#pragma once
#include <vector>

#include "index.h"

namespace cholax {

// perm[i] = old index at place i, for the lower triangle (indptr, indices) in CSC with diagonal.
// Rows with more than max(16, 10 sqrt(n)) entries go last. Amestoy, Davis & Duff 1996, through
// Eigen.
std::vector<Index> amd(Index n, const Index* indptr, const Index* indices);

}  // namespace cholax
