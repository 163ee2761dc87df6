// Colourings of a symmetric pattern from which its entries can be read off directly.
#pragma once
#include <vector>

#include "adjacency.h"

namespace cholax {

// Neighbours differ, and no path on four vertices has two colours only; that is, the edges between
// any two colours form stars. Arguments and result as for color_columns; vertices left out of
// `order` count as absent. Gebremedhin, Tarafdar, Manne & Pothen 2007.
bool color_stars(const Graph& graph, const std::vector<Index>& order, Index limit,
                 std::vector<Index>& colors);

}  // namespace cholax
