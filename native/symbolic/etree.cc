#include "etree.h"

#include <algorithm>

namespace cholax {

std::vector<Index> elimination_tree(const EntryLists& rows) {
  const Index n = static_cast<Index>(rows.ptr.size()) - 1;
  std::vector<Index> parent(n, -1);
  std::vector<Index> shortcut(n, -1);  // some ancestor, as far up as known; -1 at current roots
  for (Index i = 0; i < n; ++i) {
    for (Index p = rows.ptr[i]; p < rows.ptr[i + 1]; ++p) {
      Index j = rows.entry[p].other;
      while (j != i) {
        const Index up = shortcut[j];
        shortcut[j] = i;
        if (up == -1) {
          parent[j] = i;
          break;
        }
        j = up;
      }
    }
  }
  return parent;
}

// The subtree of a node stands before it: from the last child to the first, subtrees fill the
// places below their parent from the top down.
std::vector<Index> postorder_places(const std::vector<Index>& parent) {
  const Index n = static_cast<Index>(parent.size());
  std::vector<Index> size(n, 1), place(n), free(n + 1);
  for (Index j = 0; j < n; ++j)
    if (parent[j] != -1) size[parent[j]] += size[j];
  free[n] = n - 1;
  for (Index j = n - 1; j >= 0; --j) {
    Index& last = free[parent[j] == -1 ? n : parent[j]];
    place[j] = last;
    free[j] = last - 1;
    last -= size[j];
  }
  return place;
}

Children children_of(const std::vector<Index>& parent) {
  const Index n = static_cast<Index>(parent.size());
  Children out;
  out.ptr.assign(n + 1, 0);
  for (const Index p : parent)
    if (p >= 0) ++out.ptr[p + 1];
  for (Index p = 0; p < n; ++p) out.ptr[p + 1] += out.ptr[p];
  out.child.resize(out.ptr[n]);
  std::vector<Index> next(out.ptr.begin(), out.ptr.end() - 1);
  for (Index c = 0; c < n; ++c)
    if (parent[c] >= 0) out.child[next[parent[c]]++] = c;
  return out;
}

std::vector<Index> postorder(const std::vector<Index>& parent, const Children& children) {
  const Index n = static_cast<Index>(parent.size());
  std::vector<Index> order;
  order.reserve(n);
  std::vector<Index> next(children.ptr.begin(), children.ptr.end() - 1);
  for (Index root = 0; root < n; ++root) {
    if (parent[root] != -1) continue;
    // Walk down to the next unvisited child, up when there is none: the parent array is the stack.
    for (Index v = root; v != -1;) {
      if (next[v] < children.ptr[v + 1]) {
        v = children.child[next[v]++];
      } else {
        order.push_back(v);
        v = parent[v];
      }
    }
  }
  return order;
}

}  // namespace cholax
