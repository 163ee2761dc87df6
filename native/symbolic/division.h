// How the supernodal tree is divided among threads: subtrees small enough to balance, and above
// them one task per supernode. The division depends on the pattern alone, never on the threads.
#pragma once
#include <vector>

#include "core/task_forest.h"
#include "index.h"

namespace cholax {

// Task t works on the supernodes schedule[begin[t]] .. schedule[begin[t+1] - 1].
struct Division {
  std::vector<Index> begin;
  TaskForest tasks;
  // Place among the update matrices that pass from one task to another; −1: stays within its task.
  std::vector<Index> passage;  // by supernode; empty: none leaves its task
  Index num_passages = 0;
  // Room each thread needs for the update matrices of even and odd levels.
  Offset stack[2] = {0, 0};

  bool passes(Index s) const { return !passage.empty() && passage[s] >= 0; }
};

// What a division is made from. All vectors but `schedule` are by supernode.
struct Tree {
  const std::vector<Index>& schedule;  // postorder
  const std::vector<Index>& parent;
  const std::vector<Index>& width;
  const std::vector<Index>& below;
  const std::vector<unsigned char>& level;  // parity of the distance from the root
};

// Everything in one task.
Division undivided(const Tree& tree);

// Multiply-adds of a task that is worth handing to another thread (some ten microseconds).
inline constexpr double kTaskCost = 2e5;

// Tasks of roughly equal cost, a few dozen of them where the tree allows, none much cheaper than
// `least_cost`.
Division divided(const Tree& tree, double least_cost);

// Multiply-adds of one supernode's work and something for moving its update matrix.
double node_cost(Index width, Index below);

}  // namespace cholax
