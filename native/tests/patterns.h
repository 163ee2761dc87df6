// Lower triangular test patterns in CSC (diagonal first, sorted), permutations, and the dense
// symbolic factorisation.
#pragma once
#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "../symbolic/index.h"

namespace cholax::testing {

struct Lower {
  Index n = 0;
  std::vector<Index> ptr{0};
  std::vector<Index> row;
};

using Dense = std::vector<std::vector<char>>;  // d[i][j], lower triangle only

template <typename HasEntry>  // has(i, j) for i > j
Lower make_lower(Index n, HasEntry&& has) {
  Lower a;
  a.n = n;
  for (Index j = 0; j < n; ++j) {
    a.row.push_back(j);
    for (Index i = j + 1; i < n; ++i)
      if (has(i, j)) a.row.push_back(i);
    a.ptr.push_back(static_cast<Index>(a.row.size()));
  }
  return a;
}

inline Lower random_lower(Index n, double density, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> uniform;
  return make_lower(n, [&](Index, Index) { return uniform(random) < density; });
}

// 7-point grid; ny = nz = 1 gives a path, nz = 1 the 5-point grid. No O(n^2) work.
inline Lower grid_lower(Index nx, Index ny, Index nz) {
  Lower a;
  a.n = nx * ny * nz;
  for (Index j = 0; j < a.n; ++j) {
    a.row.push_back(j);
    if (j % nx + 1 < nx) a.row.push_back(j + 1);
    if (j / nx % ny + 1 < ny) a.row.push_back(j + nx);
    if (j / (nx * ny) + 1 < nz) a.row.push_back(j + nx * ny);
    a.ptr.push_back(static_cast<Index>(a.row.size()));
  }
  return a;
}

// The first (or last) `dense` rows are full.
inline Lower arrow_lower(Index n, Index dense, bool first) {
  Lower a;
  a.n = n;
  for (Index j = 0; j < n; ++j) {
    a.row.push_back(j);
    const Index from = first ? (j < dense ? j + 1 : n) : std::max(j + 1, n - dense);
    for (Index i = from; i < n; ++i) a.row.push_back(i);
    a.ptr.push_back(static_cast<Index>(a.row.size()));
  }
  return a;
}

struct Case {
  const char* name;
  Lower a;
};

// Every shape of tree a plan can have; random ones last.
inline std::vector<Case> cases(unsigned num_random) {
  std::vector<Case> out;
  out.push_back({"n = 0", Lower{}});
  out.push_back({"n = 1", make_lower(1, [](Index, Index) { return false; })});
  out.push_back({"diagonal", make_lower(7, [](Index, Index) { return false; })});
  out.push_back({"dense", make_lower(19, [](Index, Index) { return true; })});
  out.push_back({"arrow, last row", arrow_lower(40, 2, false)});
  out.push_back({"arrow, first row", arrow_lower(40, 2, true)});
  out.push_back({"wide arrow", arrow_lower(120, 5, false)});
  out.push_back({"two stars", make_lower(150, [](Index i, Index j) {
                   return i >= 140 ? j % 2 == i % 2 || j >= 140 : j / 3 == i / 3 && j < 60;
                 })});
  out.push_back({"binary tree", make_lower(31, [](Index i, Index j) { return j == (i - 1) / 2; })});
  out.push_back(
      {"tree, root last", make_lower(31, [](Index i, Index j) { return 30 - i == (29 - j) / 2; })});
  out.push_back({"banded", make_lower(50, [](Index i, Index j) { return i - j <= 3; })});
  out.push_back(
      {"two blocks", make_lower(30, [](Index i, Index j) { return i % 2 == j % 2 && i - j < 8; })});
  out.push_back({"2-D grid", grid_lower(9, 8, 1)});
  out.push_back({"3-D grid", grid_lower(5, 4, 3)});
  for (unsigned seed = 0; seed < num_random; ++seed) {
    const Index n = 2 + static_cast<Index>(seed * 7 % 53);
    out.push_back({"random", random_lower(n, 0.01 + 0.04 * (seed % 5), seed)});
  }
  return out;
}

inline std::vector<Index> identity(Index n) {
  std::vector<Index> out(n);
  std::iota(out.begin(), out.end(), 0);
  return out;
}

inline std::vector<Index> shuffled(Index n, unsigned seed) {
  std::vector<Index> out = identity(n);
  std::shuffle(out.begin(), out.end(), std::mt19937(seed));
  return out;
}

// Elimination on a dense boolean matrix: the pattern of L of P A P^T, iperm[old] = new.
inline Dense dense_factor(const Lower& a, const std::vector<Index>& iperm) {
  Dense d(a.n, std::vector<char>(a.n, 0));
  for (Index j = 0; j < a.n; ++j)
    for (Index k = a.ptr[j]; k < a.ptr[j + 1]; ++k) {
      const Index x = iperm[a.row[k]], y = iperm[j];
      d[std::max(x, y)][std::min(x, y)] = 1;
    }
  for (Index j = 0; j < a.n; ++j)
    for (Index k = j + 1; k < a.n; ++k)
      for (Index i = k; d[k][j] && i < a.n; ++i) d[i][k] |= d[i][j];
  return d;
}

}  // namespace cholax::testing
