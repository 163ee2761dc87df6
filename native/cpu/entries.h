// Moving entries between value vectors (EntryMap) and bilinear sums over entries (Triples).
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace cholax {

// out[i] = weight[i] * x[position[i]]; position −1 reads zero. No weights means all ones.
struct EntryMap {
  std::int64_t size = 0;  // length of x
  std::vector<std::int32_t> positions;
  std::vector<double> weights;
};

template <class T>
void gather(const EntryMap& map, const T* x, T* out) {
  const bool weighted = !map.weights.empty();
  for (std::size_t i = 0; i < map.positions.size(); ++i) {
    const std::int32_t p = map.positions[i];
    const T value = p < 0 ? T(0) : x[p];
    out[i] = weighted ? static_cast<T>(map.weights[i]) * value : value;
  }
}

// Transpose of gather: x[position[i]] += weight[i] * y[i].
template <class T>
void scatter(const EntryMap& map, const T* y, T* x) {
  std::fill_n(x, map.size, T(0));
  const bool weighted = !map.weights.empty();
  for (std::size_t i = 0; i < map.positions.size(); ++i) {
    const std::int32_t p = map.positions[i];
    if (p >= 0) x[p] += weighted ? static_cast<T>(map.weights[i]) * y[i] : y[i];
  }
}

// Index triples of a bilinear map between value vectors.
struct Triples {
  std::int64_t sizes[3] = {0, 0, 0};
  std::vector<std::int32_t> index[3];
};

// c[index[ic][t]] += a[index[ia][t]] * b[index[ib][t]]; the roles are a permutation of 0, 1, 2.
template <class T>
void contract(const Triples& triples, const int* roles, const T* a, const T* b, T* c) {
  const auto& ia = triples.index[roles[0]];
  const auto& ib = triples.index[roles[1]];
  const auto& ic = triples.index[roles[2]];
  std::fill_n(c, triples.sizes[roles[2]], T(0));
  for (std::size_t t = 0; t < ic.size(); ++t) c[ic[t]] += a[ia[t]] * b[ib[t]];
}

}  // namespace cholax
