#include "columns.h"

#include <algorithm>

namespace cholax {
namespace {

// counts[j + 1] entries of list j  ->  start of list j
void accumulate(std::vector<Index>& ptr) {
  for (std::size_t j = 1; j < ptr.size(); ++j) ptr[j] += ptr[j - 1];
}

// After filling through ptr[j]++ every pointer stands at the start of the next list.
void shift_back(std::vector<Index>& ptr) {
  std::copy_backward(ptr.begin(), ptr.end() - 1, ptr.end());
  ptr[0] = 0;
}

}  // namespace

Columns relabelled_columns(Index n, Index m, const Index* indptr, const Index* indices,
                           const Index* label) {
  const auto for_each = [&](auto&& visit) {
    for (Index j = 0; j < std::min(n, m); ++j) {
      const Index new_j = label ? label[j] : j;
      for (Index k = indptr[j]; k < indptr[j + 1]; ++k) {
        const Index i = indices[k];
        if (i < 0 || i >= n) continue;
        const Index new_i = label ? label[i] : i;
        visit(std::max(new_i, new_j), std::min(new_i, new_j), k);
      }
    }
  };
  Columns out;
  out.ptr.assign(n + 1, 0);
  for_each([&](Index, Index col, Index) { ++out.ptr[col + 1]; });
  accumulate(out.ptr);
  out.row.resize(out.ptr[n]);
  out.source.resize(out.ptr[n]);
  for_each([&](Index row, Index col, Index k) {
    const Index p = out.ptr[col]++;
    out.row[p] = row;
    out.source[p] = k;
  });
  shift_back(out.ptr);
  return out;
}

EntryLists rows_of(Index n, const Index* indptr, const Index* indices, const Index* label) {
  const auto for_each = [&](auto&& visit) {
    for (Index j = 0; j < n; ++j)
      for (Index k = indptr[j]; k < indptr[j + 1]; ++k)
        if (indices[k] != j) visit(label[indices[k]], label[j], k);
  };
  EntryLists out;
  out.ptr.assign(n + 1, 0);
  for_each([&](Index x, Index y, Index) { ++out.ptr[std::max(x, y) + 1]; });
  accumulate(out.ptr);
  out.entry.reset(new Entry[out.ptr[n]]);
  for_each([&](Index x, Index y, Index k) {
    out.entry[out.ptr[std::max(x, y)]++] = {std::min(x, y), k};
  });
  shift_back(out.ptr);
  return out;
}

EntryLists columns_of(const EntryLists& rows, const std::vector<Index>& order,
                      const std::vector<Index>& place) {
  const Index n = static_cast<Index>(order.size());
  EntryLists out;
  out.ptr.assign(n + 1, 0);
  for (Index p = 0; p < rows.ptr[n]; ++p) ++out.ptr[place[rows.entry[p].other] + 1];
  accumulate(out.ptr);
  out.entry.reset(new Entry[out.ptr[n]]);
  for (Index i = 0; i < n; ++i)
    for (Index p = rows.ptr[order[i]]; p < rows.ptr[order[i] + 1]; ++p)
      out.entry[out.ptr[place[rows.entry[p].other]]++] = {i, rows.entry[p].source};
  shift_back(out.ptr);
  return out;
}

}  // namespace cholax
