#include "adjacency.h"

namespace cholax {
namespace {

// counts[v + 1] entries of list v  ->  start of list v
void accumulate(std::vector<Offset>& ptr) {
  for (std::size_t v = 1; v < ptr.size(); ++v) ptr[v] += ptr[v - 1];
}

}  // namespace

Adjacency columns_to_rows(Index columns, const Index* indptr, const Index* indices) {
  Adjacency out;
  out.ptr.assign(indptr, indptr + columns + 1);
  out.index.assign(indices, indices + indptr[columns]);
  return out;
}

Adjacency rows_to_columns(Index rows, Index columns, const Index* indptr, const Index* indices) {
  Adjacency out;
  out.ptr.assign(static_cast<std::size_t>(rows) + 1, 0);
  for (Index k = 0; k < indptr[columns]; ++k) ++out.ptr[indices[k] + 1];
  accumulate(out.ptr);
  out.index.resize(indptr[columns]);
  std::vector<Offset> next(out.ptr.begin(), out.ptr.end() - 1);
  for (Index j = 0; j < columns; ++j)
    for (Index k = indptr[j]; k < indptr[j + 1]; ++k) out.index[next[indices[k]]++] = j;
  return out;
}

Graph symmetric_graph(Index n, const Index* indptr, const Index* indices) {
  const auto for_each = [&](auto&& visit) {
    for (Index j = 0; j < n; ++j)
      for (Index k = indptr[j]; k < indptr[j + 1]; ++k)
        if (indices[k] != j) visit(indices[k], j, k);
  };
  Graph out;
  std::vector<Offset>& ptr = out.adjacency.ptr;
  ptr.assign(static_cast<std::size_t>(n) + 1, 0);
  for_each([&](Index i, Index j, Index) { ++ptr[i + 1], ++ptr[j + 1]; });
  accumulate(ptr);
  out.adjacency.index.resize(ptr[n]);
  out.edge.resize(ptr[n]);
  out.numbers = indptr[n];
  std::vector<Offset> next(ptr.begin(), ptr.end() - 1);
  const auto add = [&](Index from, Index to, Index k) {
    const Offset p = next[from]++;
    out.adjacency.index[p] = to;
    out.edge[p] = k;
  };
  for_each([&](Index i, Index j, Index k) { add(i, j, k), add(j, i, k); });
  return out;
}

}  // namespace cholax
