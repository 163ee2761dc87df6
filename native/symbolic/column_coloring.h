// Columns that share a row get different colours.
#pragma once
#include <vector>

#include "adjacency.h"

namespace cholax {

// The longest row whose columns are worth walking one by one: walking all rows up to this length
// costs at most that many steps per entry.
Index longest_walked_row(Index columns);

// colors[j] for each j in `order`, -1 for the others, first fit. False, with `colors` unfinished,
// as soon as more than `limit` colours are needed. Gebremedhin, Manne & Pothen 2005.
bool color_columns(const Adjacency& columns, const Adjacency& rows, const std::vector<Index>& order,
                   Index limit, std::vector<Index>& colors);

}  // namespace cholax
