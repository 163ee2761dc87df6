// The elimination tree of a symmetric pattern, and postorders of forests.
#pragma once
#include <vector>

#include "columns.h"

namespace cholax {

// parent[j] = min { i > j : L(i, j) != 0 }, -1 at roots. Liu 1986: row i is connected to the
// current roots of its columns, with path compression.
std::vector<Index> elimination_tree(const EntryLists& rows);

// place[j] = number of node j in the postorder that visits children in increasing order. Needs
// parent[j] > j.
std::vector<Index> postorder_places(const std::vector<Index>& parent);

// The children of every node of a forest: those of p are child[ptr[p]] .. child[ptr[p+1]-1],
// increasing.
struct Children {
  std::vector<Index> ptr;
  std::vector<Index> child;
};
Children children_of(const std::vector<Index>& parent);

// order[k] = k-th node of a postorder that visits children in the given order. No recursion.
std::vector<Index> postorder(const std::vector<Index>& parent, const Children& children);

}  // namespace cholax
