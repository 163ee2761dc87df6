#include "star_coloring.h"

#include "neighbour_colors.h"

namespace cholax {
namespace {

class StarColoring {
 public:
  StarColoring(const Graph& graph, std::vector<Index>& colors)
      : adjacency_(graph.adjacency),
        edge_(graph.edge),
        colors_(colors),
        around_(graph),
        forbidden_(adjacency_.ptr.size(), -1),
        treated_(adjacency_.ptr.size(), -1),
        first_(adjacency_.ptr.size()) {
    star_.assign(graph.numbers, -1);
    hub_.assign(graph.numbers, -1);
  }

  // The smallest colour v can take.
  Index choose(Index v) {
    each_colored(v, [&](Index w, Offset p) {
      forbidden_[colors_[w]] = v;
      First& first = first_[colors_[w]];
      if (first.owner != v) {
        first = {v, w, p};
        // v - w - x where x is a hub already: a fourth vertex lies behind it.
        around_.each(w, [&](const auto& x) {
          if (hub_[star_[x.edge]] == x.neighbour) forbidden_[x.color] = v;
        });
        return;
      }
      // Two neighbours of one colour: v becomes a hub, so neither may reach another of v's colour.
      if (treated_[first.neighbour] != v) forbid_around(first.neighbour, v);
      forbid_around(w, v);
    });
    Index color = 0;
    while (forbidden_[color] == v) ++color;
    return color;
  }

  // Give v its colour and its edges their stars.
  void settle(Index v, Index color) {
    colors_[v] = color;
    each_colored(v, [&](Index w, Offset p) {
      const Index edge = edge_[p];
      const First& first = first_[colors_[w]];
      if (const Index other = around_.edge_to(w, color); other >= 0) {
        star_[edge] = star_[other];
        hub_[star_[edge]] = w;
      } else if (first.neighbour != w) {
        star_[edge] = star_[edge_[first.position]];
        hub_[star_[edge]] = v;
      } else {
        star_[edge] = edge;  // a star of one edge, without a hub
        hub_[edge] = -1;
      }
    });
    around_.settle(v, color);
  }

 private:
  // The first neighbour of a colour that `owner` met.
  struct First {
    Index owner = -1, neighbour = -1;
    Offset position = -1;
  };

  template <typename F>
  void each_colored(Index v, F&& f) const {
    for (Offset p = adjacency_.ptr[v]; p < adjacency_.ptr[v + 1]; ++p)
      if (colors_[adjacency_.index[p]] >= 0) f(adjacency_.index[p], p);
  }

  void forbid_around(Index w, Index v) {
    around_.each(w, [&](const auto& x) { forbidden_[x.color] = v; });
    treated_[w] = v;
  }

  const Adjacency& adjacency_;
  const std::vector<Index>& edge_;
  std::vector<Index>& colors_;
  NeighbourColors around_;
  std::vector<Index> forbidden_, treated_;
  std::vector<First> first_;
  std::vector<Index> star_, hub_;  // by edge; a star has the number of its first edge
};

}  // namespace

bool color_stars(const Graph& graph, const std::vector<Index>& order, Index limit,
                 std::vector<Index>& colors) {
  colors.assign(graph.size(), -1);
  StarColoring coloring(graph, colors);
  for (const Index v : order) {
    const Index color = coloring.choose(v);
    if (color >= limit) return false;
    coloring.settle(v, color);
  }
  return true;
}

}  // namespace cholax
