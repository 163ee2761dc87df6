// The symbolic layer against dense symbolic elimination, and the invariants that kernels rely on.
#include <algorithm>
#include <stdexcept>
#include <string>

#include "../symbolic/amd.h"
#include "../symbolic/column_counts.h"
#include "../symbolic/plan.h"
#include "../symbolic/plan_queries.h"
#include "../symbolic/schedule.h"
#include "check.h"
#include "patterns.h"
#include "plan_labels.h"

using namespace cholax;
using namespace cholax::testing;

namespace {

bool is_permutation_of_n(std::vector<Index> perm, Index n) {
  std::sort(perm.begin(), perm.end());
  return perm == identity(n);
}

void test_tree_and_counts(const Lower& a) {
  const std::vector<Index> unchanged = identity(a.n);
  const EntryLists rows = rows_of(a.n, a.ptr.data(), a.row.data(), unchanged.data());
  const std::vector<Index> parent = elimination_tree(rows);
  const std::vector<Index> place = postorder_places(parent);
  const std::vector<Index> order = postorder(parent, children_of(parent));
  std::vector<Index> renamed(a.n, -1);
  for (Index j = 0; j < a.n; ++j)
    if (parent[j] != -1) renamed[place[j]] = place[parent[j]];
  const std::vector<Index> count = column_counts(columns_of(rows, order, place), renamed);
  const Dense d = dense_factor(a, unchanged);
  CHECK(is_permutation_of_n(place, a.n));
  for (Index j = 0; j < a.n; ++j) {
    Index entries = 0, first = -1;
    for (Index i = j; i < a.n; ++i) {
      entries += d[i][j];
      if (first == -1 && i > j && d[i][j]) first = i;
    }
    CHECK(parent[j] == first);
    CHECK(order[place[j]] == j);
    CHECK(count[place[j]] == entries);
    CHECK(first == -1 || place[j] < place[first]);
  }
}

void test_supernodes(const Plan& plan) {
  for (Index s = 0; s < plan.num_supernodes; ++s) {
    const Index w = width(plan, s), m = height(plan, s);
    const Index* row = plan.rows.data() + plan.row_ptr[s];
    CHECK(w >= 1 && m >= w);
    CHECK(std::is_sorted(row, row + m) && std::adjacent_find(row, row + m) == row + m);
    for (Index t = 0; t < w; ++t) CHECK(row[t] == plan.first_column[s] + t);
    CHECK(plan.panel_ptr[s + 1] - plan.panel_ptr[s] == Offset{m} * w);
    CHECK(plan.below_ptr[s + 1] - plan.below_ptr[s] == m - w);
    CHECK(m <= plan.max_front && w <= plan.max_width && m - w <= plan.max_below);
    const Index p = plan.parent[s];
    CHECK((p == -1) == (m == w));
    if (p == -1) continue;
    CHECK(p > s);
    for (Index t = w; t < m; ++t) {
      const Index to = plan.relative[plan.below_ptr[s] + t - w];
      CHECK(to >= 0 && to < height(plan, p) && plan.rows[plan.row_ptr[p] + to] == row[t]);
    }
  }
}

// Walk each task of a division with real stacks, one for even and one for odd levels: children must
// lie on top of theirs, in order, unless they come from another task, which must be done by then.
void test_division(const Plan& plan, const Division& division) {
  std::vector<Index> stack[2];
  Offset held[2] = {0, 0}, peak[2] = {0, 0};
  std::vector<char> done(plan.num_supernodes, 0);
  const auto square = [&](Index s) {
    return Offset{height(plan, s) - width(plan, s)} * (height(plan, s) - width(plan, s));
  };
  CHECK(division.begin.front() == 0 && division.begin.back() == plan.num_supernodes);
  for (int task = 0; task < division.tasks.size(); ++task) {
    for (Index i = division.begin[task]; i < division.begin[task + 1]; ++i) {
      const Index s = plan.schedule[i];
      const int level = plan.level[s], other = 1 - level;
      if (!division.passes(s) && plan.parent[s] >= 0) {
        stack[level].push_back(s);
        held[level] += square(s);
      }
      peak[level] = std::max(peak[level], held[level]);
      for (Index k = plan.child_ptr[s + 1] - 1; k >= plan.child_ptr[s]; --k) {
        const Index c = plan.child[k];
        CHECK(done[c]);
        if (division.passes(c)) continue;
        CHECK(!stack[other].empty() && stack[other].back() == c);
        if (!stack[other].empty()) stack[other].pop_back();
        held[other] -= square(c);
      }
      done[s] = 1;
    }
    CHECK(stack[0].empty() && stack[1].empty());
    const int up = division.tasks.parent[task];
    CHECK(up == -1 || up > task);
  }
  CHECK(peak[0] == division.stack[0] && peak[1] == division.stack[1]);
}

void test_schedule(const Plan& plan) {
  CHECK(is_permutation_of_n(plan.schedule, plan.num_supernodes));
  CHECK(plan.whole.tasks.size() == 1);
  test_division(plan, plan.whole);
  test_division(plan, plan.parts);
  Index entries = 0;
  for (Index s = 0; s < plan.num_supernodes; ++s)
    for (Index k = plan.entry_ptr[s]; k < plan.entry_ptr[s + 1]; ++k, ++entries) {
      const Index place = plan.value_position[plan.entry[k]];
      CHECK(place >= plan.panel_ptr[s] && place < plan.panel_ptr[s + 1]);
    }
  CHECK(entries == static_cast<Index>(plan.value_position.size()));
}

void test_positions(const Plan& plan, const Lower& a) {
  const auto at = labels(plan);
  for (Index j = 0; j < a.n; ++j)
    for (Index k = a.ptr[j]; k < a.ptr[j + 1]; ++k) {
      const Index x = plan.iperm[a.row[k]], y = plan.iperm[j];
      CHECK(at[plan.value_position[k]] == std::make_pair(std::max(x, y), std::min(x, y)));
    }
  // A full n x n pattern, one column more than the matrix has, and a row outside it.
  std::vector<Index> ptr{0}, row;
  for (Index j = 0; j <= a.n; ++j) {
    for (Index i = 0; i <= a.n; ++i) row.push_back(i);
    ptr.push_back(static_cast<Index>(row.size()));
  }
  std::vector<Index> position(row.size(), -7);
  locate(plan, a.n + 1, ptr.data(), row.data(), position.data());
  Offset found = 0;
  for (Index j = 0; j <= a.n; ++j)
    for (Index i = 0; i <= a.n; ++i) {
      const Index q = position[ptr[j] + i];
      CHECK(q >= -1 && q < plan.size);
      if (q == -1) continue;
      CHECK(i < a.n && j < a.n);
      const Index x = plan.iperm[i], y = plan.iperm[j];
      CHECK(at[q] == std::make_pair(std::max(x, y), std::min(x, y)));
      found += i >= j;
    }
  CHECK(found == std::count_if(at.begin(), at.end(), [](auto& rc) { return rc.first >= 0; }));
}

void test_lower_pattern(const Plan& plan, const Dense& d) {
  std::vector<Index> ptr(plan.n + 1), row(plan.nnz_factor), position(plan.nnz_factor);
  lower_pattern(plan, ptr.data(), row.data(), position.data());
  const auto at = labels(plan);
  double flops = 0;
  Index k = 0;
  for (Index j = 0; j < plan.n; ++j) {
    CHECK(ptr[j] == k);
    for (Index i = j; i < plan.n; ++i) {
      if (!d[i][j]) continue;
      CHECK(k < plan.nnz_factor && row[k] == i && at[position[k]] == std::make_pair(i, j));
      ++k;
    }
    flops += double(k - ptr[j]) * (k - ptr[j]);
  }
  CHECK(k == plan.nnz_factor && ptr[plan.n] == k && plan.flops == flops);
}

void test_plan(const Lower& a, const std::vector<Index>* perm, bool to_postorder, bool supernodal) {
  AnalyzeOptions options;
  options.postorder = to_postorder;
  options.supernodal = supernodal;
  const auto plan =
      analyze(a.n, a.ptr.data(), a.row.data(), perm ? perm->data() : nullptr, options);
  CHECK(is_permutation_of_n(plan->perm, a.n));
  for (Index i = 0; i < a.n; ++i) CHECK(plan->iperm[plan->perm[i]] == i);
  if (!to_postorder) CHECK(plan->perm == (perm ? *perm : identity(a.n)));
  if (!supernodal) CHECK(plan->num_supernodes == a.n && plan->size == plan->nnz_factor);
  CHECK(plan->first_column.back() == a.n && plan->closed);
  // An equivalent reordering fills in exactly as the given permutation does.
  std::vector<Index> given(a.n);
  for (Index i = 0; i < a.n; ++i) given[perm ? (*perm)[i] : i] = i;
  Offset fill = 0;
  for (const auto& row : dense_factor(a, given)) fill += std::count(row.begin(), row.end(), 1);
  const FactorCost cost =
      factor_cost(a.n, a.ptr.data(), a.row.data(), perm ? perm->data() : nullptr);
  CHECK(plan->nnz_factor == fill && cost.nnz == fill && cost.flops == plan->flops);
  test_supernodes(*plan);
  test_schedule(*plan);
  test_positions(*plan, a);
  test_lower_pattern(*plan, dense_factor(a, plan->iperm));
}

void test_plan_from_factor(const Lower& a) {
  const auto simplicial = analyze(a.n, a.ptr.data(), a.row.data(), nullptr, {false, false, {}});
  const Lower l = exact_pattern(*simplicial);
  const auto plan = plan_from_factor(l.n, l.ptr.data(), l.row.data());
  CHECK(plan->closed && plan->rows == l.row && plan->parent == simplicial->parent);
  CHECK(plan->relative == simplicial->relative && plan->size == plan->nnz_factor);
  CHECK(plan->value_position == identity(static_cast<Index>(l.row.size())));
  test_supernodes(*plan);
  test_schedule(*plan);

  const auto open = plan_from_factor(a.n, a.ptr.data(), a.row.data());
  CHECK(open->rows == a.row && open->closed == (l.row.size() == a.row.size()));
  test_schedule(*open);
  std::vector<Index> ptr(a.n + 1), row(a.row.size()), where(a.row.size());
  lower_pattern(*open, ptr.data(), row.data(), where.data());
  CHECK(ptr == a.ptr && row == a.row && where == open->value_position);
}

void test_amd(const Lower& a) {
  CHECK(is_permutation_of_n(amd(a.n, a.ptr.data(), a.row.data()), a.n));
  CHECK(is_permutation_of_n(amf(a.n, a.ptr.data(), a.row.data()), a.n));
}

void test_amd_reduces_fill() {
  for (const Lower& a : {grid_lower(30, 30, 1), arrow_lower(3000, 3, true), grid_lower(9, 9, 9)}) {
    const auto natural = analyze(a.n, a.ptr.data(), a.row.data(), nullptr);
    for (const auto order : {amd, amf}) {
      const std::vector<Index> perm = order(a.n, a.ptr.data(), a.row.data());
      const auto reduced = analyze(a.n, a.ptr.data(), a.row.data(), perm.data());
      CHECK(2 * reduced->nnz_factor < natural->nnz_factor);
    }
  }
}

void test_errors() {
  const Lower a = grid_lower(3, 1, 1);
  const Index repeated[] = {0, 1, 1}, outside[] = {0, 1, 3};
  CHECK_THROWS(analyze(3, a.ptr.data(), a.row.data(), repeated), std::invalid_argument,
               "entry 2 is 1");
  CHECK_THROWS(analyze(3, a.ptr.data(), a.row.data(), outside), std::invalid_argument,
               "entry 2 is 3");
  const Index ptr[] = {0, 1, 2}, no_diagonal[] = {0, 0};
  CHECK_THROWS(analyze(2, ptr, no_diagonal, nullptr), std::invalid_argument, "column 1");
  const Lower big = arrow_lower(70000, 1, true);
  CHECK_THROWS(analyze(big.n, big.ptr.data(), big.row.data(), nullptr, {false, true, {}}),
               std::length_error, "2450035000 entries; the limit is 2147483647");
  const Lower wide = arrow_lower(50000, 1, true);  // 1.25e9 entries, 2.5e9 with padding
  CHECK_THROWS(analyze(wide.n, wide.ptr.data(), wide.row.data(), nullptr), std::length_error,
               "2500000000");
}

// Leaves of a star are merged, and the stack does not hold all of their update matrices at once.
void test_star() {
  const Lower a = arrow_lower(20000, 30, true);
  const std::vector<Index> perm = amd(a.n, a.ptr.data(), a.row.data());
  for (const bool supernodal : {false, true}) {
    const auto plan = analyze(a.n, a.ptr.data(), a.row.data(), perm.data(), {true, supernodal, {}});
    CHECK(plan->nnz_factor == static_cast<Offset>(a.row.size()));
    CHECK(plan->whole.stack[0] + plan->whole.stack[1] <= 17 * 30 * 30);
    CHECK(!supernodal || (plan->num_supernodes < a.n / 8 && plan->size < 2 * plan->nnz_factor));
    test_supernodes(*plan);
    test_schedule(*plan);
  }
}

// A path in natural order is a chain of depth n: nothing may recurse, nothing may be quadratic.
void test_deep_tree() {
  const Lower a = grid_lower(1000000, 1, 1);
  for (const bool to_postorder : {false, true}) {
    const auto plan = analyze(a.n, a.ptr.data(), a.row.data(), nullptr, {to_postorder, false, {}});
    CHECK(plan->nnz_factor == 2 * Offset{a.n} - 1 &&
          plan->whole.stack[0] + plan->whole.stack[1] == 2);
  }
}

}  // namespace

int main() {
  for (const Case& c : cases(60)) {
    check::where = c.name;
    test_tree_and_counts(c.a);
    test_plan_from_factor(c.a);
    test_amd(c.a);
    const std::vector<Index> random = shuffled(c.a.n, 11),
                             reduced = amd(c.a.n, c.a.ptr.data(), c.a.row.data());
    for (const std::vector<Index>* perm :
         {static_cast<const std::vector<Index>*>(nullptr), &random, &reduced})
      for (const bool to_postorder : {false, true})
        for (const bool supernodal : {false, true}) test_plan(c.a, perm, to_postorder, supernodal);
  }
  check::where = "large";
  test_amd_reduces_fill();
  test_errors();
  test_star();
  test_deep_tree();
  return check::finish();
}
