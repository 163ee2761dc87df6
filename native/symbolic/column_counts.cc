#include "column_counts.h"

#include <algorithm>
#include <numeric>

namespace cholax {
namespace {

// Representative of v's set: the highest ancestor visited so far. Path halving.
Index find(std::vector<Index>& up, Index v) {
  while (up[v] != v) v = up[v] = up[up[v]];
  return v;
}

std::vector<Index> identity(std::size_t n) {
  std::vector<Index> out(n);
  std::iota(out.begin(), out.end(), 0);
  return out;
}

// first[j]: the first of the descendants of j, which are first[j] .. j.
std::vector<Index> first_descendants(const std::vector<Index>& parent) {
  std::vector<Index> first = identity(parent.size());
  for (std::size_t j = 0; j < parent.size(); ++j)
    if (parent[j] != -1) first[parent[j]] = std::min(first[parent[j]], first[j]);
  return first;
}

}  // namespace

// The row subtree of i is the union of the paths from its leaves to i. Each leaf adds one to its
// own weight, each least common ancestor of neighbouring leaves takes one off, the parent of i
// takes one off again; summing weights over the subtree of j then counts the rows whose subtree
// contains j.
std::vector<Index> column_counts(const EntryLists& columns, const std::vector<Index>& parent) {
  const Index n = static_cast<Index>(parent.size());
  const std::vector<Index> first = first_descendants(parent);
  std::vector<Index> weight(n, 0), last_leaf(n, -1), up = identity(n);
  for (Index j = 0; j < n; ++j) {
    if (first[j] == j) ++weight[j];            // a leaf of the tree: its own diagonal
    if (parent[j] != -1) --weight[parent[j]];  // row subtree j ends at j
    for (Index p = columns.ptr[j]; p < columns.ptr[j + 1]; ++p) {
      const Index i = columns.entry[p].other;
      if (first[j] <= last_leaf[i]) continue;  // not a leaf of row subtree i
      ++weight[j];
      if (last_leaf[i] != -1) --weight[find(up, last_leaf[i])];
      last_leaf[i] = j;
    }
    if (parent[j] != -1) up[j] = parent[j];
  }
  for (Index j = 0; j < n; ++j)
    if (parent[j] != -1) weight[parent[j]] += weight[j];
  return weight;
}

}  // namespace cholax
