// The kernels that move and combine entries of value vectors, against their definitions.
#include <algorithm>
#include <vector>

#include "../cpu/entries.h"
#include "../cpu/matvec.h"
#include "dense_reference.h"
#include "values.h"

using namespace cholax;
using namespace cholax::testing;

namespace {

template <class T>
void test_entry_map(bool weighted) {
  check::where = weighted ? "entry map, weighted" : "entry map";
  Random random(1);
  EntryMap map{6, {3, -1, 0, 3, 5, -1, 0, 2, 3}, {}};
  if (weighted) map.weights = random.vector(map.positions.size());
  const std::size_t k = map.positions.size();
  const Values x = random.vector(6), y = random.vector(k);
  Values gathered(k), scattered(6);
  for (std::size_t i = 0; i < k; ++i) {
    const int p = map.positions[i];
    const double w = weighted ? map.weights[i] : 1;
    if (p >= 0) gathered[i] = w * x[p];
    if (p >= 0) scattered[p] += w * y[i];
  }
  std::vector<T> out = unset<T>(k), sum = unset<T>(6);
  gather(map, as<T>(x).data(), out.data());
  CHECK_CLOSE(out, gathered);
  scatter(map, as<T>(y).data(), sum.data());
  CHECK_CLOSE(sum, scattered);
}

template <class T>
void test_empty() {
  check::where = "empty";
  EntryMap none, absent, unread;
  absent.positions = {-1, -1};
  unread.size = 2;
  std::vector<T> two = unset<T>(2);
  gather<T>(none, nullptr, nullptr);
  scatter<T>(none, nullptr, nullptr);
  gather<T>(absent, nullptr, two.data());
  CHECK_CLOSE(two, (Values{0, 0}));
  two = unset<T>(2);
  scatter<T>(unread, nullptr, two.data());
  CHECK_CLOSE(two, (Values{0, 0}));
  const int roles[] = {0, 1, 2};
  two = unset<T>(2);
  Triples no_terms;
  no_terms.sizes[2] = 2;
  contract<T>(no_terms, roles, nullptr, two.data(), two.data());
  CHECK_CLOSE(two, (Values{0, 0}));
  Csc empty, no_columns;
  empty.indptr = no_columns.indptr = {0};
  no_columns.rows = 2;
  matvec<T>(empty, false, nullptr, 3, nullptr, nullptr);
  outer_on_pattern<T>(empty, 3, nullptr, nullptr, nullptr);
  two = unset<T>(2);
  matvec<T>(no_columns, false, nullptr, 1, nullptr, two.data());
  CHECK_CLOSE(two, (Values{0, 0}));
  matvec<T>(no_columns, true, nullptr, 1, two.data(), nullptr);
}

// Every order of roles: the bilinear map and its transposes in either argument.
template <class T>
void test_contract() {
  check::where = "contract";
  const Triples triples{{4, 3, 5},
                        {{0, 3, 3, 1, 0, 2, 3}, {2, 2, 0, 1, 2, 1, 0}, {4, 0, 1, 1, 4, 3, 1}}};
  Random random(2);
  int roles[] = {0, 1, 2};
  do {
    const Values a = random.vector(triples.sizes[roles[0]]);
    const Values b = random.vector(triples.sizes[roles[1]]);
    Values want(triples.sizes[roles[2]]);
    for (std::size_t t = 0; t < triples.index[0].size(); ++t)
      want[triples.index[roles[2]][t]] +=
          a[triples.index[roles[0]][t]] * b[triples.index[roles[1]][t]];
    std::vector<T> got = unset<T>(want.size());
    contract(triples, roles, as<T>(a).data(), as<T>(b).data(), got.data());
    CHECK_CLOSE(got, want);
  } while (std::next_permutation(roles, roles + 3));
}

// A random pattern; a symmetric one is a lower triangle in which some diagonal entries are absent.
Csc random_pattern(int rows, int columns, bool symmetric, Random& random) {
  Csc a{rows, columns, symmetric, {0}, {}};
  for (int j = 0; j < columns; ++j) {
    for (int i = symmetric ? j : 0; i < rows; ++i)
      if (random.number() < -0.2) a.indices.push_back(i);
    a.indptr.push_back(static_cast<int>(a.indices.size()));
  }
  return a;
}

Matrix to_dense(const Csc& a, const Values& values) {
  Matrix out = Matrix::Zero(a.rows, a.columns);
  for (int j = 0; j < a.columns; ++j)
    for (int p = a.indptr[j]; p < a.indptr[j + 1]; ++p) {
      out(a.indices[p], j) = values[p];
      if (a.symmetric) out(j, a.indices[p]) = values[p];
    }
  return out;
}

template <class T>
void test_csc(const Csc& a, int k, Random& random) {
  const Values values = random.vector(a.indices.size());
  const Values x = random.vector(std::size_t(a.columns) * k);
  const Values y = random.vector(std::size_t(a.rows) * k);
  const Matrix dense = to_dense(a, values);
  std::vector<T> ax = unset<T>(y.size()), aty = unset<T>(x.size());
  matvec(a, false, as<T>(values).data(), k, as<T>(x).data(), ax.data());
  CHECK_CLOSE(ax, flat(dense * rows_of(x, a.columns, k)));
  matvec(a, true, as<T>(values).data(), k, as<T>(y).data(), aty.data());
  CHECK_CLOSE(aty, flat(dense.transpose() * rows_of(y, a.rows, k)));

  const Matrix outer = rows_of(y, a.rows, k) * rows_of(x, a.columns, k).transpose();
  Values want;
  for (int j = 0; j < a.columns; ++j)
    for (int p = a.indptr[j]; p < a.indptr[j + 1]; ++p) {
      const int i = a.indices[p];
      want.push_back(outer(i, j) + (a.symmetric && i != j ? outer(j, i) : 0));
    }
  std::vector<T> got = unset<T>(want.size());
  outer_on_pattern(a, k, as<T>(y).data(), as<T>(x).data(), got.data());
  CHECK_CLOSE(got, want);
}

template <class T>
void test_all() {
  for (const bool weighted : {false, true}) test_entry_map<T>(weighted);
  test_empty<T>();
  test_contract<T>();
  check::where = "matvec and outer_on_pattern";
  Random random(3);
  for (const int k : {0, 1, 3, 33}) {
    test_csc<T>(random_pattern(7, 5, false, random), k, random);
    test_csc<T>(random_pattern(4, 9, false, random), k, random);
    test_csc<T>(random_pattern(8, 8, true, random), k, random);
    test_csc<T>(random_pattern(1, 1, true, random), k, random);
  }
}

}  // namespace

int main() {
  test_all<double>();
  test_all<float>();
  return check::finish();
}
