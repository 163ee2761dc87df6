// Orders in which a greedy colouring visits the vertices.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "adjacency.h"

namespace cholax {

enum class VertexOrder : int { kNatural, kLargestFirst, kSmallestLast, kIncidence, kRandom };

// The neighbours of a vertex: graph.visit(v, f) calls f once with each, from the last one on if
// `backwards`.
struct DirectNeighbours {
  static constexpr bool kTiesFromEnd = false;
  const Adjacency& adjacency;

  Index size() const { return adjacency.size(); }
  template <typename F>
  void visit(Index v, F&& f, bool backwards = false) {
    const Offset begin = adjacency.ptr[v], end = adjacency.ptr[v + 1];
    for (Offset p = begin; p < end; ++p) f(adjacency.index[backwards ? begin + end - 1 - p : p]);
  }
};

// Columns that share a row. Rows of more than `longest` columns are passed over: their columns are
// neighbours all of each other, which costs a square and tells the order nothing.
class ColumnNeighbours {
 public:
  static constexpr bool kTiesFromEnd = true;
  ColumnNeighbours(const Adjacency& columns, const Adjacency& rows, Index longest)
      : columns_(columns), rows_(rows), longest_(longest), seen_(columns.ptr.size(), 0) {}

  Index size() const { return columns_.size(); }
  template <typename F>
  void visit(Index v, F&& f, bool backwards = false) {
    seen_[v] = ++visits_;
    found_.clear();
    for (Offset p = columns_.ptr[v]; p < columns_.ptr[v + 1]; ++p) {
      const Index row = columns_.index[p];
      if (rows_.degree(row) > longest_) continue;
      for (Offset q = rows_.ptr[row]; q < rows_.ptr[row + 1]; ++q) {
        const Index w = rows_.index[q];
        if (seen_[w] == visits_) continue;
        seen_[w] = visits_;
        found_.push_back(w);
      }
    }
    // Sorted, so that orders do not depend on how rows are numbered.
    std::sort(found_.begin(), found_.end());
    if (backwards) std::reverse(found_.begin(), found_.end());
    for (const Index w : found_) f(w);
  }

 private:
  const Adjacency &columns_, &rows_;
  Index longest_;
  std::vector<std::uint32_t> seen_;  // by column, the last visit that met it
  std::vector<Index> found_;
  std::uint32_t visits_ = 0;  // an order makes two per column, fewer than 2^32
};

// Vertices in doubly linked lists by a small integer key.
class BucketQueue {
 public:
  BucketQueue(Index n, Index keys) : head_(keys, -1), next_(n, -1), previous_(n, -1), key_(n, -1) {}

  void insert(Index v, Index key) {
    key_[v] = key;
    previous_[v] = -1;
    next_[v] = head_[key];
    if (next_[v] >= 0) previous_[next_[v]] = v;
    head_[key] = v;
  }
  void remove(Index v) {
    (previous_[v] >= 0 ? next_[previous_[v]] : head_[key_[v]]) = next_[v];
    if (next_[v] >= 0) previous_[next_[v]] = previous_[v];
    key_[v] = -1;
  }
  bool holds(Index v) const { return key_[v] >= 0; }
  Index key(Index v) const { return key_[v]; }
  Index first(Index key) const { return head_[key]; }  // -1 when the bucket is empty

 private:
  std::vector<Index> head_, next_, previous_, key_;
};

// Vertices by falling degree, ties by number.
std::vector<Index> by_falling_degree(const std::vector<Index>& degree);

// 0 .. n-1 shuffled; the same on every platform.
std::vector<Index> random_order(Index n, std::uint64_t seed);

template <typename G>
std::vector<Index> degrees(G& graph) {
  std::vector<Index> degree(graph.size(), 0);
  for (Index v = 0; v < graph.size(); ++v) graph.visit(v, [&](Index) { ++degree[v]; });
  return degree;
}

// From the back: each time a vertex of least degree among those left, the one whose degree changed
// last where several are. Then the removal sweeps diagonally over a grid of columns, and those of a
// 5-point grid get 5 colours instead of 7 if it starts from the end; forwards or `backwards` around
// a vertex, according to the parity of the grid. Star colourings of crossed effects gain from a
// start at the front (45 colours instead of 110). Matula & Beck 1983.
template <typename G>
std::vector<Index> smallest_last(G& graph, bool backwards) {
  const Index n = graph.size();
  const std::vector<Index> degree = degrees(graph);
  BucketQueue queue(n, n ? *std::max_element(degree.begin(), degree.end()) + 1 : 1);
  for (Index k = 0; k < n; ++k) {
    const Index v = G::kTiesFromEnd ? k : n - 1 - k;
    queue.insert(v, degree[v]);
  }
  std::vector<Index> order(n);
  Index least = 0;
  for (Index place = n; place-- > 0;) {
    while (queue.first(least) < 0) ++least;
    const Index v = queue.first(least);
    queue.remove(v);
    order[place] = v;
    const auto lower = [&](Index w) {
      if (!queue.holds(w)) return;
      const Index key = queue.key(w) - 1;
      queue.remove(w);
      queue.insert(w, key);
      least = std::min(least, key);
    };
    graph.visit(v, lower, backwards);
  }
  return order;
}

// From the front: each time a vertex with most neighbours already placed; ties by degree at first.
template <typename G>
std::vector<Index> incidence(G& graph) {
  const Index n = graph.size();
  const std::vector<Index> degree = degrees(graph);
  std::vector<Index> order = by_falling_degree(degree);
  BucketQueue queue(n, n ? degree[order[0]] + 1 : 1);
  for (Index place = n; place-- > 0;) queue.insert(order[place], 0);
  Index most = 0;
  for (Index place = 0; place < n; ++place) {
    while (queue.first(most) < 0) --most;
    const Index v = queue.first(most);
    queue.remove(v);
    order[place] = v;
    graph.visit(v, [&](Index w) {
      if (!queue.holds(w)) return;
      const Index key = queue.key(w) + 1;
      queue.remove(w);
      queue.insert(w, key);
      most = std::max(most, key);
    });
  }
  return order;
}

// `seed` chooses among random orders, and the direction of smallest last ones (0 is forwards).
template <typename G>
std::vector<Index> vertex_order(G& graph, VertexOrder kind, std::uint64_t seed) {
  switch (kind) {
    case VertexOrder::kLargestFirst:
      return by_falling_degree(degrees(graph));
    case VertexOrder::kSmallestLast:
      return smallest_last(graph, seed != 0);
    case VertexOrder::kIncidence:
      return incidence(graph);
    case VertexOrder::kRandom:
      return random_order(graph.size(), seed);
    case VertexOrder::kNatural:
      break;
  }
  std::vector<Index> order(graph.size());
  for (Index v = 0; v < graph.size(); ++v) order[v] = v;
  return order;
}

}  // namespace cholax
