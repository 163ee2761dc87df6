// Tasks that wait for each other along a forest.
#pragma once
#include <vector>

namespace cholax {

// Task t may start when its children are done (or, from the roots down, when its parent is).
struct TaskForest {
  std::vector<int> parent;  // −1 at roots; parent[t] > t
  std::vector<int> num_children;

  int size() const { return static_cast<int>(parent.size()); }
};

}  // namespace cholax
