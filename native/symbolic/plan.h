// Plan: the symbolic factorisation P A Pᵀ = L Lᵀ of one symmetric pattern under one permutation,
// the kind `llt`. Immutable once built.
#pragma once
#include <memory>
#include <vector>

#include "division.h"
#include "index.h"
#include "supernodes.h"
#include "symbolic_factor.h"

namespace cholax {

// All labels below are *permuted* ones (place in the factor), except where "old" is said.
// Supernode s owns columns first_column[s] .. first_column[s+1]-1 (width w) and the row list
// rows[row_ptr[s] .. row_ptr[s+1]) of length m = w + r, sorted, whose first w entries are its own
// columns and whose last r ("below") rows all lie in its parent's row list. Its panel is the m x w
// column-major block (leading dimension m) at panel_ptr[s] of the flat factor vector; entries above
// the diagonal of the leading w x w block are padding and always zero. parent[s] > s always. The
// parent owns the first below row of s, or is another child of that owner with the same below rows
// (twins.h).
struct Plan : SymbolicFactor {
  Plan() : SymbolicFactor(FactorKind::kLlt) {}
  std::int64_t memory() const override;

  Index num_supernodes = 0;
  std::vector<Index> first_column;  // num_supernodes + 1
  std::vector<Offset> row_ptr;      // num_supernodes + 1
  std::vector<Index> rows;
  std::vector<Offset> panel_ptr;  // num_supernodes + 1
  std::vector<Index> parent;      // parent supernode, -1 at roots
  std::vector<Index> child_ptr;   // num_supernodes + 1
  std::vector<Index> child;       // children of s, in increasing position in `schedule`
  std::vector<Index>
      schedule;  // supernodes in a postorder of the supernodal tree (LIFO stack discipline)
  std::vector<Offset> below_ptr;  // num_supernodes + 1, prefix sums of r
  std::vector<Index>
      relative;  // for each below-row of s: its place in the parent's row list (0 .. m_parent-1)
  std::vector<Index> value_position;  // for A's stored entry k (lower CSC, old labels): its
                                      // position in the factor vector
  Offset nnz_factor = 0;              // exact nnz(L), no amalgamation zeros, no padding
  double flops = 0;                   // sum of squared exact column counts of L
  // A's entries by supernode: for t in entry_ptr[s] .. entry_ptr[s+1]-1, entry[t] of A's values
  // goes to place entry_place[t] of the factor vector.
  std::vector<Index> entry_ptr;  // num_supernodes + 1
  std::vector<Index> entry, entry_place;
  // Parity of the distance from the root: the update matrices (r x r) of even and of odd levels
  // live on two stacks, so that a supernode can fill its own while its children's are still there.
  std::vector<unsigned char> level;
  Division whole, parts;  // the tree as one task and as many
  double cost = 0;        // multiply-adds of a factorisation, roughly
  Index max_front = 0;    // largest m
  Index max_below = 0;    // largest r
  Index max_width = 0;    // largest w
  // Every below row lies in the parent's row list. Always so after analyze(); plan_from_factor()
  // may be given a pattern that is not closed under fill: `relative` is then -1 where the parent
  // lacks the row.
  bool closed = true;
};

struct AnalyzeOptions {
  bool postorder = true;   // false: keep `perm` exactly as given, merge only neighbouring columns
  bool supernodal = true;  // false: one column per supernode
  Relaxation relax;
  double task_cost = kTaskCost;  // multiply-adds of the smallest task worth handing to a thread
};

// Plan of the lower triangle (indptr, indices) in CSC, sorted, diagonal present, under perm
// (natural if null). With postorder, columns are rearranged into an equivalent order: same fill,
// supernodes contiguous, in postorder. Throws std::invalid_argument for a bad pattern or
// permutation and std::length_error, before allocating, when the factor would hold more than 2^31 -
// 1 entries.
std::shared_ptr<const Plan> analyze(Index n, const Index* indptr, const Index* indices,
                                    const Index* perm, const AnalyzeOptions& options = {});

// Exact size and cost of L under perm, whatever its size; no supernodes, no row lists.
struct FactorCost {
  Offset nnz = 0;    // entries of L
  double flops = 0;  // sum of squared column counts
};
FactorCost factor_cost(Index n, const Index* indptr, const Index* indices, const Index* perm);

// Plan whose factor vector is the CSC value vector of the given lower triangle, taken as it is:
// natural order, one column per supernode, value_position = identity.
std::shared_ptr<const Plan> plan_from_factor(Index n, const Index* indptr, const Index* indices);

}  // namespace cholax
