#include "acyclic_coloring.h"

#include <algorithm>
#include <numeric>

#include "neighbour_colors.h"

namespace cholax {
namespace {

class ForestColoring {
 public:
  ForestColoring(const Graph& graph, std::vector<Index>& colors)
      : adjacency_(graph.adjacency),
        edge_(graph.edge),
        colors_(colors),
        around_(graph),
        forbidden_(adjacency_.ptr.size(), -1),
        first_(adjacency_.ptr.size()),
        tree_(graph.numbers),
        visit_(tree_.size()) {
    std::iota(tree_.begin(), tree_.end(), 0);
  }

  // The smallest colour v can take.
  Index choose(Index v) {
    each_colored(v, [&](Index w, Offset) { forbidden_[colors_[w]] = v; });
    each_colored(v, [&](Index w, Offset) {
      around_.each(w, [&](const auto& x) {  // v itself has no colour yet
        if (forbidden_[x.color] == v) return;
        Visit& visit = visit_[find(x.edge)];
        if (visit.owner != v)
          visit = {v, w};
        else if (visit.from != w)  // reached from two sides: v would close a cycle
          forbidden_[x.color] = v;
      });
    });
    Index color = 0;
    while (forbidden_[color] == v) ++color;
    return color;
  }

  // Give v its colour and join the trees that it connects.
  void settle(Index v, Index color) {
    colors_[v] = color;
    each_colored(v, [&](Index w, Offset p) {
      First& first = first_[colors_[w]];
      if (first.owner == v)
        unite(edge_[p], first.edge);
      else
        first = {v, edge_[p]};
      if (const Index other = around_.edge_to(w, color); other >= 0) unite(edge_[p], other);
    });
    around_.settle(v, color);
  }

 private:
  struct First {
    Index owner = -1, edge = -1;
  };
  struct Visit {
    Index owner = -1, from = -1;
  };

  template <typename F>
  void each_colored(Index v, F&& f) const {
    for (Offset p = adjacency_.ptr[v]; p < adjacency_.ptr[v + 1]; ++p)
      if (colors_[adjacency_.index[p]] >= 0) f(adjacency_.index[p], p);
  }

  Index find(Index e) {
    while (tree_[e] != e) e = tree_[e] = tree_[tree_[e]];
    return e;
  }
  // The smaller number becomes the root: the result does not depend on ranks.
  void unite(Index d, Index e) {
    d = find(d), e = find(e);
    tree_[std::max(d, e)] = std::min(d, e);
  }

  const Adjacency& adjacency_;
  const std::vector<Index>& edge_;
  std::vector<Index>& colors_;
  NeighbourColors around_;
  std::vector<Index> forbidden_;
  std::vector<First> first_;
  std::vector<Index> tree_;  // disjoint sets of edges
  std::vector<Visit> visit_;
};

}  // namespace

bool color_forests(const Graph& graph, const std::vector<Index>& order, Index limit,
                   std::vector<Index>& colors) {
  colors.assign(graph.size(), -1);
  ForestColoring coloring(graph, colors);
  for (const Index v : order) {
    const Index color = coloring.choose(v);
    if (color >= limit) return false;
    coloring.settle(v, color);
  }
  return true;
}

Substitution substitution(const Graph& graph, const Index* colors, Index num_colors) {
  const Index n = graph.size();
  const Adjacency& adjacency = graph.adjacency;
  const auto pair = [&](Index v, Index color) {
    return static_cast<std::size_t>(v) * num_colors + color;
  };
  // By (vertex, colour): how many edges there are unknown, and the xor of their numbers, which is
  // the number of the last one.
  const std::size_t pairs = static_cast<std::size_t>(n) * num_colors;
  std::vector<Index> unknown(pairs, 0), last(pairs, 0), solved(pairs, -1);
  const Index numbers = graph.numbers;
  std::vector<std::pair<Index, Index>> ends(numbers, {-1, -1});
  for (Index v = 0; v < n; ++v)
    for (Offset p = adjacency.ptr[v]; p < adjacency.ptr[v + 1]; ++p) {
      const std::size_t at = pair(v, colors[adjacency.index[p]]);
      ++unknown[at];
      last[at] ^= graph.edge[p];
      ends[graph.edge[p]] = {v, adjacency.index[p]};
    }
  Substitution out;
  out.vertex.assign(numbers, -1);
  out.parent.assign(numbers, -1);
  std::vector<std::pair<Index, Index>> ready;  // (vertex, colour), a queue: leaves first
  for (Index v = 0; v < n; ++v)
    for (Index c = 0; c < num_colors; ++c)
      if (unknown[pair(v, c)] == 1) ready.push_back({v, c});
  for (std::size_t k = 0; k < ready.size(); ++k) {
    const auto [v, c] = ready[k];
    if (unknown[pair(v, c)] == 0) continue;  // found from its other end
    const Index e = last[pair(v, c)];
    const Index w = ends[e].first == v ? ends[e].second : ends[e].first;
    out.edges.push_back(e);
    out.vertex[e] = v;
    unknown[pair(v, c)] = 0;
    solved[pair(v, c)] = e;
    const std::size_t other = pair(w, colors[v]);
    last[other] ^= e;
    if (--unknown[other] == 1) ready.push_back({w, colors[v]});
  }
  for (const Index e : out.edges) {
    const Index v = out.vertex[e];
    const Index w = ends[e].first == v ? ends[e].second : ends[e].first;
    out.parent[e] = solved[pair(w, colors[v])];
  }
  return out;
}

}  // namespace cholax
