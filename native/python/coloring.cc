#include "python/coloring.h"

#include <stdexcept>

#include "python/arrays.h"
#include "symbolic/acyclic_coloring.h"
#include "symbolic/column_coloring.h"
#include "symbolic/star_coloring.h"
#include "symbolic/vertex_orders.h"

namespace cholax {
namespace {

using namespace nb::literals;

// Columns and the rows they share.
struct ColumnGraph {
  Adjacency columns, rows;
};

ColumnGraph column_graph(Index rows, const InIndices& indptr, const InIndices& indices) {
  const Index columns = static_cast<Index>(indptr.shape(0)) - 1;
  nb::gil_scoped_release release;
  return {columns_to_rows(columns, indptr.data(), indices.data()),
          rows_to_columns(rows, columns, indptr.data(), indices.data())};
}

Graph graph_of_lower(const InIndices& indptr, const InIndices& indices) {
  nb::gil_scoped_release release;
  return symmetric_graph(static_cast<Index>(indptr.shape(0)) - 1, indptr.data(), indices.data());
}

VertexOrder order_kind(int kind) {
  if (kind < 0 || kind > static_cast<int>(VertexOrder::kRandom))
    throw std::invalid_argument("vertex order: unknown kind");
  return static_cast<VertexOrder>(kind);
}

OutArray<Index> order_of(const Graph& graph, int kind, std::uint64_t seed) {
  std::vector<Index> order;
  {
    nb::gil_scoped_release release;
    DirectNeighbours neighbours{graph.adjacency};
    order = vertex_order(neighbours, order_kind(kind), seed);
  }
  return to_numpy(std::move(order));
}

OutArray<Index> order_of_columns(const ColumnGraph& graph, int kind, std::uint64_t seed) {
  std::vector<Index> order;
  {
    nb::gil_scoped_release release;
    ColumnNeighbours neighbours(graph.columns, graph.rows,
                                longest_walked_row(graph.columns.size()));
    order = vertex_order(neighbours, order_kind(kind), seed);
  }
  return to_numpy(std::move(order));
}

std::vector<Index> checked_vertices(const InIndices& order, Index n) {
  for (std::size_t k = 0; k < order.shape(0); ++k)
    if (order.data()[k] < 0 || order.data()[k] >= n)
      throw std::invalid_argument("colouring: vertex out of range");
  return to_vector(order);
}

// The colours, or None when more than `limit` are needed.
template <class Color>
nb::object colors_or_none(const InIndices& order, Index n, Color&& color) {
  const std::vector<Index> vertices = checked_vertices(order, n);
  std::vector<Index> colors;
  bool within;
  {
    nb::gil_scoped_release release;
    within = color(vertices, colors);
  }
  return within ? nb::cast(to_numpy(std::move(colors))) : nb::none();
}

nb::tuple substitution_of(const Graph& graph, const InIndices& colors, Index num_colors) {
  if (static_cast<Index>(colors.shape(0)) != graph.size())
    throw std::invalid_argument("substitution: need one colour per vertex");
  for (std::size_t v = 0; v < colors.shape(0); ++v)
    if (colors.data()[v] < 0 || colors.data()[v] >= num_colors)
      throw std::invalid_argument("substitution: colour out of range");
  Substitution found;
  {
    nb::gil_scoped_release release;
    found = substitution(graph, colors.data(), num_colors);
  }
  return nb::make_tuple(to_numpy(std::move(found.edges)), to_numpy(std::move(found.vertex)),
                        to_numpy(std::move(found.parent)));
}

}  // namespace

void bind_coloring(nb::module_& m) {
  nb::class_<ColumnGraph>(m, "ColumnGraph")
      .def("order", &order_of_columns, "kind"_a, "seed"_a)
      .def(
          "color",
          [](const ColumnGraph& graph, const InIndices& order, Index limit) {
            return colors_or_none(order, graph.columns.size(), [&](auto& vertices, auto& colors) {
              return color_columns(graph.columns, graph.rows, vertices, limit, colors);
            });
          },
          "order"_a, "limit"_a);
  nb::class_<Graph>(m, "Graph")
      .def("order", &order_of, "kind"_a, "seed"_a)
      .def(
          "color_stars",
          [](const Graph& graph, const InIndices& order, Index limit) {
            return colors_or_none(order, graph.size(), [&](auto& vertices, auto& colors) {
              return color_stars(graph, vertices, limit, colors);
            });
          },
          "order"_a, "limit"_a)
      .def(
          "color_forests",
          [](const Graph& graph, const InIndices& order, Index limit) {
            return colors_or_none(order, graph.size(), [&](auto& vertices, auto& colors) {
              return color_forests(graph, vertices, limit, colors);
            });
          },
          "order"_a, "limit"_a)
      .def("substitution", &substitution_of, "colors"_a, "num_colors"_a);
  m.def("column_graph", &column_graph, "rows"_a, "indptr"_a, "indices"_a);
  m.def("symmetric_graph", &graph_of_lower, "indptr"_a, "indices"_a);
}

}  // namespace cholax
