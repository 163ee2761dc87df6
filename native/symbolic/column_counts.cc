#include "column_counts.h"

namespace cholax {
namespace {

// Representative of v's set: the highest ancestor visited so far. Path halving.
Index find(std::vector<Index>& up, Index v) {
  while (up[v] != v) v = up[v] = up[up[v]];
  return v;
}

// first[j]: place in the postorder of the first (deepest left) descendant of j.
std::vector<Index> first_descendants(const std::vector<Index>& parent,
                                     const std::vector<Index>& post) {
  std::vector<Index> first(parent.size(), -1);
  for (std::size_t k = 0; k < post.size(); ++k) {
    const Index j = post[k];
    if (first[j] == -1) first[j] = static_cast<Index>(k);
    const Index p = parent[j];
    if (p != -1 && first[p] == -1) first[p] = first[j];
  }
  return first;
}

}  // namespace

// The row subtree of i is the union of the paths from its leaves to i. Each leaf adds one to its
// own weight, each least common ancestor of neighbouring leaves takes one off, the parent of i
// takes one off again; summing weights over the subtree of j then counts the rows whose subtree
// contains j.
std::vector<Index> column_counts(const Columns& a, const std::vector<Index>& parent,
                                 const std::vector<Index>& post) {
  const std::size_t n = parent.size();
  const std::vector<Index> first = first_descendants(parent, post);
  std::vector<Index> weight(n, 0), last_first(n, -1), last_leaf(n, -1), up(n);
  for (std::size_t j = 0; j < n; ++j) up[j] = static_cast<Index>(j);

  for (std::size_t k = 0; k < n; ++k) {
    const Index j = post[k];
    if (first[j] == static_cast<Index>(k)) ++weight[j];  // a leaf of the tree: its own diagonal
    if (parent[j] != -1) --weight[parent[j]];            // row subtree j ends at j
    for (Index p = a.ptr[j]; p < a.ptr[j + 1]; ++p) {
      const Index i = a.row[p];
      if (i == j || first[j] <= last_first[i]) continue;  // not a leaf of row subtree i
      ++weight[j];
      if (last_leaf[i] != -1) --weight[find(up, last_leaf[i])];
      last_leaf[i] = j;
      last_first[i] = first[j];
    }
    if (parent[j] != -1) up[j] = parent[j];
  }
  for (const Index j : post)
    if (parent[j] != -1) weight[parent[j]] += weight[j];
  return weight;
}

}  // namespace cholax
