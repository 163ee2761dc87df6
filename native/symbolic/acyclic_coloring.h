// Colourings of a symmetric pattern from which its entries follow by substitution.
#pragma once
#include <vector>

#include "adjacency.h"

namespace cholax {

// Neighbours differ, and the edges between any two colours form a forest. Arguments and result as
// for color_stars. Gebremedhin, Tarafdar, Manne & Pothen 2007.
bool color_forests(const Graph& graph, const std::vector<Index>& order, Index limit,
                   std::vector<Index>& colors);

// How the entries of a symmetric matrix A follow from its compressed form B = A S, S(j, color[j]) =
// 1. Taken in the order `edges`, entry e is
//     A(e) = B(vertex[e], color of its other end) - sum of A(d) over all d with parent[d] = e.
struct Substitution {
  std::vector<Index> edges;   // every edge once, children before parents
  std::vector<Index> vertex;  // by edge number; -1 for numbers that are no edge
  std::vector<Index> parent;  // by edge number; -1 at roots
};

// Edges are peeled off the trees from the leaves. `edges` stays short of some when the colouring is
// not acyclic; colours must lie in 0 .. num_colors - 1.
Substitution substitution(const Graph& graph, const Index* colors, Index num_colors);

}  // namespace cholax
