// Twins: children of one supernode with the same rows below. Stars (arrow matrices: many leaves,
// few dense rows) consist of them. Left alone, each would be a supernode of its own, and the stack
// would hold all of their update matrices at once: 2e9 entries for 50 000 leaves over 200 dense
// rows.
#pragma once
#include <vector>

#include "supernodes.h"

namespace cholax {

// Merge twins into wider supernodes. groups: those of `lists`, group s owning first[s] ..
// first[s+1]-1. contiguous: only neighbours. Returns whether anything was merged; then group_of
// refers to the same columns.
bool merge_twins(Partition& groups, const std::vector<Index>& first, const RowLists& lists,
                 const Relaxation& relax, bool contiguous);

// Let twins pass their update matrices along: each becomes the child of the next, in a few chains
// per parent (not one, so that threads still find independent work). Only `parent` changes;
// parent[s] > s is kept.
void chain_twins(std::vector<Index>& parent, const std::vector<Index>& below,
                 const RowLists& lists);

}  // namespace cholax
