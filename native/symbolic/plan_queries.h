// Questions about a plan: where entries live, and the exact pattern of L.
#pragma once
#include "plan.h"

namespace cholax {

// positions[k] := place in the factor vector of entry k of a CSC pattern (old labels, either
// triangle, repeats allowed), -1 where the factor has no such entry. Padding above a diagonal block
// is never returned.
void locate(const Plan& plan, Index num_columns, const Index* indptr, const Index* indices,
            Index* positions);

// The pattern of L in permuted labels, without amalgamation zeros, as sorted CSC, and where each
// entry lives in the factor vector. indptr: n + 1 entries; indices and positions: plan.nnz_factor
// entries.
void lower_pattern(const Plan& plan, Index* indptr, Index* indices, Index* positions);

}  // namespace cholax
