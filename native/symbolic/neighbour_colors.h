// The distinct colours around each vertex, with one edge to each.
#pragma once
#include <vector>

#include "adjacency.h"

namespace cholax {

// Walks over the neighbours of neighbours ask only which colours there are, and for any edge to
// one: all edges from w to vertices of one colour belong to one star, or one tree. Listing each
// colour once bounds a greedy colouring by degree times colours, where walking every neighbour
// costs the square of the degree.
class NeighbourColors {
 public:
  struct Around {
    Index color, neighbour, edge;
  };

  explicit NeighbourColors(const Graph& graph)
      : graph_(graph), count_(graph.size(), 0), around_(graph.adjacency.index.size()) {}

  // f of every colour around w.
  template <typename F>
  void each(Index w, F&& f) const {
    const Around* first = around_.data() + graph_.adjacency.ptr[w];
    for (Index k = 0; k < count_[w]; ++k) f(first[k]);
  }

  // The edge number of some edge from w to a vertex of `color`, or -1.
  Index edge_to(Index w, Index color) const {
    const Around* first = around_.data() + graph_.adjacency.ptr[w];
    for (Index k = 0; k < count_[w]; ++k)
      if (first[k].color == color) return first[k].edge;
    return -1;
  }

  // v has got its colour: tell its neighbours.
  void settle(Index v, Index color) {
    const Adjacency& adjacency = graph_.adjacency;
    for (Offset p = adjacency.ptr[v]; p < adjacency.ptr[v + 1]; ++p) {
      const Index w = adjacency.index[p];
      if (edge_to(w, color) < 0)
        around_[adjacency.ptr[w] + count_[w]++] = {color, v, graph_.edge[p]};
    }
  }

 private:
  const Graph& graph_;
  std::vector<Index> count_;
  std::vector<Around> around_;  // in the places of the neighbours
};

}  // namespace cholax
