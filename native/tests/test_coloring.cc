// Colourings against their definitions, on random and structured patterns.
#include "../symbolic/acyclic_coloring.h"
#include "../symbolic/column_coloring.h"
#include "../symbolic/star_coloring.h"
#include "../symbolic/vertex_orders.h"
#include "check.h"
#include "patterns.h"

using namespace cholax;
using namespace cholax::testing;

namespace {

using Matrix = std::vector<std::vector<char>>;

constexpr VertexOrder kOrders[] = {VertexOrder::kNatural, VertexOrder::kLargestFirst,
                                   VertexOrder::kSmallestLast, VertexOrder::kIncidence,
                                   VertexOrder::kRandom};

Index count(const std::vector<Index>& colors) {
  return colors.empty() ? 0 : 1 + *std::max_element(colors.begin(), colors.end());
}

bool is_permutation_of_n(std::vector<Index> order, Index n) {
  std::sort(order.begin(), order.end());
  return order == identity(n);
}

Matrix neighbours(const Lower& a) {
  Matrix d(a.n, std::vector<char>(a.n, 0));
  for (Index j = 0; j < a.n; ++j)
    for (Index k = a.ptr[j]; k < a.ptr[j + 1]; ++k)
      if (a.row[k] != j) d[a.row[k]][j] = d[j][a.row[k]] = 1;
  return d;
}

// Neighbours differ; no path v - w - x - y has the colours of v and w only.
bool is_star(const Matrix& d, const std::vector<Index>& color) {
  const Index n = static_cast<Index>(color.size());
  for (Index v = 0; v < n; ++v)
    for (Index w = 0; w < n; ++w) {
      if (!d[v][w]) continue;
      if (color[v] == color[w]) return false;
      for (Index x = 0; x < n; ++x)
        for (Index y = 0; x != v && d[w][x] && color[x] == color[v] && y < n; ++y)
          if (y != w && d[x][y] && color[y] == color[w]) return false;
    }
  return true;
}

void test_symmetric(const Lower& a) {
  const Graph graph = symmetric_graph(a.n, a.ptr.data(), a.row.data());
  const Matrix d = neighbours(a);
  DirectNeighbours around{graph.adjacency};
  for (const VertexOrder kind : kOrders)
    for (std::uint64_t seed : {0, 1}) {
      const std::vector<Index> order = vertex_order(around, kind, seed);
      CHECK(is_permutation_of_n(order, a.n));
      std::vector<Index> star, forest, again;
      CHECK(color_stars(graph, order, a.n, star));
      CHECK(is_star(d, star));
      CHECK(color_forests(graph, order, a.n, forest));
      const Index off = static_cast<Index>(a.row.size()) - a.n;
      const Substitution found = substitution(graph, forest.data(), count(forest));
      CHECK(static_cast<Index>(found.edges.size()) == off);
      std::vector<Index> place(a.row.size(), -1);
      for (std::size_t k = 0; k < found.edges.size(); ++k)
        place[found.edges[k]] = static_cast<Index>(k);
      for (const Index e : found.edges)
        CHECK(found.parent[e] < 0 || place[found.parent[e]] > place[e]);
      // A star colouring is acyclic too; all of one colour is neither.
      CHECK(static_cast<Index>(substitution(graph, star.data(), count(star)).edges.size()) == off);
      CHECK(!color_stars(graph, order, count(star) - 1, again) || a.n == 0);
      CHECK(!color_forests(graph, order, count(forest) - 1, again) || a.n == 0);
    }
}

void test_columns(const Lower& a) {
  const Adjacency columns = columns_to_rows(a.n, a.ptr.data(), a.row.data());
  const Adjacency rows = rows_to_columns(a.n, a.n, a.ptr.data(), a.row.data());
  for (Index longest : {Index{2}, longest_walked_row(a.n)})
    for (const VertexOrder kind : kOrders) {
      ColumnNeighbours around(columns, rows, longest);
      const std::vector<Index> order = vertex_order(around, kind, 7);
      CHECK(is_permutation_of_n(order, a.n));
      std::vector<Index> color, again;
      CHECK(color_columns(columns, rows, order, a.n, color));
      for (Index i = 0; i < a.n; ++i) {
        std::vector<char> seen(a.n, 0);
        for (Offset p = rows.ptr[i]; p < rows.ptr[i + 1]; ++p) {
          CHECK(!seen[color[rows.index[p]]]);
          seen[color[rows.index[p]]] = 1;
        }
      }
      CHECK(!color_columns(columns, rows, order, count(color) - 1, again) || a.n == 0);
    }
}

void test_partial_orders() {
  const Lower a = grid_lower(6, 5, 1);
  const Graph graph = symmetric_graph(a.n, a.ptr.data(), a.row.data());
  std::vector<Index> color;
  CHECK(color_stars(graph, {3, 8, 4}, a.n, color));
  for (Index v = 0; v < a.n; ++v) CHECK((color[v] >= 0) == (v == 3 || v == 8 || v == 4));
}

void test_cycle_of_two_colors_is_left_unsolved() {
  // 0 - 1 - 2 - 3 - 0
  const Lower a = make_lower(4, [](Index i, Index j) { return i - j == 1 || i - j == 3; });
  const Graph graph = symmetric_graph(a.n, a.ptr.data(), a.row.data());
  const Index colors[] = {0, 1, 0, 1};
  CHECK(substitution(graph, colors, 2).edges.empty());
}

void test_random_order_is_the_same_everywhere() {
  const std::vector<Index> order = random_order(8, 1);
  CHECK(is_permutation_of_n(order, 8));
  CHECK(order == random_order(8, 1));
  CHECK(order != random_order(8, 2));
}

}  // namespace

int main() {
  for (const Case& c : cases(40)) {
    check::where = c.name;
    test_symmetric(c.a);
    test_columns(c.a);
  }
  check::where = "small tests";
  test_partial_orders();
  test_cycle_of_two_colors_is_left_unsolved();
  test_random_order_is_the_same_everywhere();
  return check::finish();
}
