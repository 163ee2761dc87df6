// Lists of neighbours for the colouring algorithms.
#pragma once
#include <vector>

#include "index.h"

namespace cholax {

// List v holds index[ptr[v]] .. index[ptr[v + 1] - 1]. Offsets are 64-bit: both triangles of a
// pattern with 2^31 - 1 entries would not fit otherwise.
struct Adjacency {
  std::vector<Offset> ptr{0};
  std::vector<Index> index;

  Index size() const { return static_cast<Index>(ptr.size()) - 1; }
  Index degree(Index v) const { return static_cast<Index>(ptr[v + 1] - ptr[v]); }
};

// The lists as they stand in compressed columns.
Adjacency columns_to_rows(Index columns, const Index* indptr, const Index* indices);

// The other way round: for each row its columns, increasing.
Adjacency rows_to_columns(Index rows, Index columns, const Index* indptr, const Index* indices);

// A graph without loops. edge[p] is one number for both directions of an edge: the position of its
// entry among the stored ones.
struct Graph {
  Adjacency adjacency;
  std::vector<Index> edge;
  Index numbers = 0;  // edge numbers are below this

  Index size() const { return adjacency.size(); }
};

// The graph of a symmetric pattern given by its lower triangle.
Graph symmetric_graph(Index n, const Index* indptr, const Index* indices);

}  // namespace cholax
