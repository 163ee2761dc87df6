#include "plan.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>

#include "column_counts.h"
#include "columns.h"
#include "etree.h"
#include "schedule.h"
#include "twins.h"

namespace cholax {
namespace {

constexpr Offset kMaxEntries = std::numeric_limits<Index>::max();

void check_size(Offset entries) {
  if (entries <= kMaxEntries) return;
  throw std::length_error("the factor would hold " + std::to_string(entries) +
                          " entries; the limit is " + std::to_string(kMaxEntries));
}

void check_pattern(Index n, const Index* indptr, const Index* indices) {
  if (n < 0) throw std::invalid_argument("pattern: n is negative");
  if (indptr[0] != 0) throw std::invalid_argument("pattern: indptr[0] is not 0");
  for (Index j = 0; j < n; ++j) {
    const bool diagonal = indptr[j] < indptr[j + 1] && indices[indptr[j]] == j;
    bool sorted = diagonal && indices[indptr[j + 1] - 1] < n;
    for (Index k = indptr[j] + 1; sorted && k < indptr[j + 1]; ++k)
      sorted = indices[k - 1] < indices[k];
    if (!sorted)
      throw std::invalid_argument("pattern: column " + std::to_string(j) +
                                  " must start at its diagonal and increase");
  }
}

std::vector<Index> inverse(const std::vector<Index>& perm) {
  const Index n = static_cast<Index>(perm.size());
  std::vector<Index> out(n, -1);
  for (Index i = 0; i < n; ++i) {
    if (perm[i] < 0 || perm[i] >= n || out[perm[i]] != -1)
      throw std::invalid_argument("permutation: entry " + std::to_string(i) + " is " +
                                  std::to_string(perm[i]) + ", out of range or repeated");
    out[perm[i]] = i;
  }
  return out;
}

std::vector<Index> identity(Index n) {
  std::vector<Index> out(n);
  std::iota(out.begin(), out.end(), 0);
  return out;
}

// x[k] := x[order[k]]
void reorder(std::vector<Index>& x, const std::vector<Index>& order) {
  std::vector<Index> out(x.size());
  for (std::size_t k = 0; k < x.size(); ++k) out[k] = x[order[k]];
  x.swap(out);
}

// Entries are node numbers (or -1): reorder and rename. place: inverse of order.
void reorder_nodes(std::vector<Index>& x, const std::vector<Index>& order,
                   const std::vector<Index>& place) {
  reorder(x, order);
  for (Index& v : x)
    if (v != -1) v = place[v];
}

// A's rows under the labels of plan.perm; A's columns, the elimination tree and column counts under
// postordered labels.
struct ColumnTree {
  EntryLists rows, columns;
  Relabelling postordered;  // from the labels of the rows to those of the columns
  std::vector<Index> parent, count;
};

ColumnTree column_tree(Plan& plan, const Index* indptr, const Index* indices) {
  ColumnTree tree;
  tree.rows = rows_of(plan.n, indptr, indices, plan.iperm.data());
  tree.parent = elimination_tree(tree.rows);
  auto& [order, place] = tree.postordered;
  place = postorder_places(tree.parent);
  order = inverse(place);
  reorder_nodes(tree.parent, order, place);
  tree.columns = columns_of(tree.rows, order, place);
  tree.count = column_counts(tree.columns, tree.parent);
  for (const Index count : tree.count) {
    plan.nnz_factor += count;
    plan.flops += double(count) * double(count);
  }
  return tree;
}

// Either the plan takes the postordered labels, or the tree goes back to those of the plan. Returns
// how labels of A's rows and of the plan are related from now on.
Relabelling settle_labels(Plan& plan, ColumnTree& tree, bool to_postorder) {
  const auto& [order, place] = tree.postordered;
  if (to_postorder) {
    reorder(plan.perm, order);
    return tree.postordered;
  }
  reorder(tree.count, place);
  reorder_nodes(tree.parent, place, order);
  return {identity(plan.n), identity(plan.n)};
}

// A plan that knows its permutation, nothing else yet.
void begin(Plan& plan, Index n, const Index* indptr, const Index* indices, const Index* perm) {
  check_pattern(n, indptr, indices);
  plan.n = n;
  plan.perm = perm ? std::vector<Index>(perm, perm + n) : identity(n);
  plan.iperm = inverse(plan.perm);
}

// Number the groups in schedule order and move the columns of each group together.
void gather_groups(Plan& plan, Partition& groups, Relabelling& names) {
  const Schedule schedule = postorder_schedule(groups.parent, groups.below);
  const std::vector<Index> number = inverse(schedule.order);
  reorder(groups.width, schedule.order);
  reorder(groups.below, schedule.order);
  reorder_nodes(groups.parent, schedule.order, number);
  std::vector<Index> next(groups.width.size() + 1, 0);
  for (std::size_t s = 0; s < groups.width.size(); ++s) next[s + 1] = next[s] + groups.width[s];
  std::vector<Index> order(plan.n);
  for (Index j = 0; j < plan.n; ++j) order[next[number[groups.group_of[j]]]++] = j;
  reorder(plan.perm, order);
  reorder(names.order, order);
  for (Index j = 0; j < plan.n; ++j) names.label[names.order[j]] = j;
}

// Panels, sizes and prefix sums from the widths and below counts of consecutive groups.
void lay_out(Plan& plan, const Partition& groups) {
  const Index num = plan.num_supernodes = static_cast<Index>(groups.width.size());
  plan.first_column.assign(num + 1, 0);
  plan.panel_ptr.assign(num + 1, 0);
  plan.below_ptr.assign(num + 1, 0);
  plan.max_front = plan.max_below = plan.max_width = 0;
  for (Index s = 0; s < num; ++s) {
    const Index w = groups.width[s], r = groups.below[s];
    plan.first_column[s + 1] = plan.first_column[s] + w;
    plan.panel_ptr[s + 1] = plan.panel_ptr[s] + (Offset{w} + r) * w;
    plan.below_ptr[s + 1] = plan.below_ptr[s] + r;
    plan.max_front = std::max(plan.max_front, w + r);
    plan.max_below = std::max(plan.max_below, r);
    plan.max_width = std::max(plan.max_width, w);
  }
  plan.size = plan.panel_ptr[num];
  check_size(plan.size);
}

// Columns of a group together (unless labels are kept), panels, and the row lists.
RowLists arrange(Plan& plan, Partition& groups, const ColumnTree& tree, Relabelling& names,
                 bool gather) {
  if (gather) gather_groups(plan, groups, names);
  lay_out(plan, groups);
  return supernode_rows(tree.rows, names, plan.first_column, groups.below, groups.parent);
}

// From the labels of the columns to those of the plan.
Relabelling column_names(const ColumnTree& tree, const Relabelling& names) {
  Relabelling out = names;
  for (Index& k : out.order) k = tree.postordered.label[k];
  for (std::size_t j = 0; j < out.order.size(); ++j)
    out.label[out.order[j]] = static_cast<Index>(j);
  return out;
}

// A's entries in the order in which supernodes take them, and where they go in the factor vector.
class EntryPlacer {
 public:
  EntryPlacer(Plan& plan, const EntryLists& columns, Relabelling names, const Index* indptr)
      : plan_(plan), columns_(columns), names_(std::move(names)), indptr_(indptr) {
    plan.entry.resize(indptr[plan.n]);
    plan.entry_place.resize(indptr[plan.n]);
    plan.value_position.resize(indptr[plan.n]);
    plan.entry_ptr.assign(1, 0);
  }

  // place[i]: where row i is in the list of s. For s = 0, 1, ...
  void operator()(Index s, const Index* place) {
    const Index begin = plan_.first_column[s], end = plan_.first_column[s + 1];
    const Offset m = (plan_.panel_ptr[s + 1] - plan_.panel_ptr[s]) / (end - begin);
    top_ = plan_.panel_ptr[s];
    for (Index j = begin; j < end; ++j, top_ += m) {
      const Index k = names_.order[j];
      put(indptr_[plan_.perm[j]], j - begin);
      for (Index p = columns_.ptr[k]; p < columns_.ptr[k + 1]; ++p)
        put(columns_.entry[p].source, place[names_.label[columns_.entry[p].other]]);
    }
    plan_.entry_ptr.push_back(filled_);
  }

 private:
  void put(Index source, Index row) {
    const Index position = static_cast<Index>(top_ + row);
    plan_.value_position[source] = position;
    plan_.entry[filled_] = source;
    plan_.entry_place[filled_++] = position;
  }

  Plan& plan_;
  const EntryLists& columns_;
  const Relabelling names_;
  const Index* indptr_;
  Offset top_ = 0;    // of the column
  Index filled_ = 0;  // entries so far
};

// Levels, and the division of the tree among threads.
void divide(Plan& plan, const Partition& groups, double task_cost) {
  plan.level.assign(plan.num_supernodes, 0);
  for (Index s = plan.num_supernodes - 1; s >= 0; --s) {
    if (plan.parent[s] >= 0) plan.level[s] = 1 - plan.level[plan.parent[s]];
    plan.cost += node_cost(groups.width[s], groups.below[s]);
  }
  const Tree tree{plan.schedule, plan.parent, groups.width, groups.below, plan.level};
  plan.whole = undivided(tree);
  plan.parts = divided(tree, task_cost);
}

// The tree, its schedule, and where each below row is in its parent. visit: see relative_indices.
template <typename Visit>
void take_tree(Plan& plan, Partition&& groups, RowLists&& lists, double task_cost, Visit&& visit) {
  chain_twins(groups.parent, groups.below, lists);
  Schedule schedule = postorder_schedule(groups.parent, groups.below);
  plan.relative =
      relative_indices(lists, plan.first_column, plan.below_ptr, schedule.children, visit);
  plan.parent = std::move(groups.parent);
  plan.row_ptr = std::move(lists.ptr);
  plan.rows = std::move(lists.rows);
  plan.schedule = std::move(schedule.order);
  plan.child_ptr = std::move(schedule.children.ptr);
  plan.child = std::move(schedule.children.child);
  divide(plan, groups, task_cost);
}

template <class T>
std::int64_t bytes(const std::vector<T>& x) {
  return static_cast<std::int64_t>(x.size() * sizeof(T));
}

std::int64_t bytes(const Division& division) {
  return bytes(division.begin) + bytes(division.tasks.parent) + bytes(division.tasks.num_children) +
         bytes(division.passage);
}

}  // namespace

std::int64_t Plan::memory() const {
  std::int64_t total = bytes(level) + bytes(whole) + bytes(parts);
  for (const auto* x : {&perm, &iperm, &first_column, &rows, &parent, &child_ptr, &child, &schedule,
                        &relative, &value_position, &entry_ptr, &entry, &entry_place})
    total += bytes(*x);
  for (const auto* x : {&row_ptr, &panel_ptr, &below_ptr}) total += bytes(*x);
  return total;
}

std::shared_ptr<const Plan> analyze(Index n, const Index* indptr, const Index* indices,
                                    const Index* perm, const AnalyzeOptions& options) {
  auto plan = std::make_shared<Plan>();
  begin(*plan, n, indptr, indices, perm);
  ColumnTree tree = column_tree(*plan, indptr, indices);
  check_size(plan->nnz_factor);
  Relabelling names = settle_labels(*plan, tree, options.postorder);
  Partition groups = options.supernodal ? amalgamated_columns(tree.parent, tree.count,
                                                              options.relax, !options.postorder)
                                        : single_columns(tree.parent, tree.count);
  RowLists lists = arrange(*plan, groups, tree, names, options.postorder);
  if (options.supernodal &&
      merge_twins(groups, plan->first_column, lists, options.relax, !options.postorder))
    lists = arrange(*plan, groups, tree, names, options.postorder);
  plan->iperm = inverse(plan->perm);
  take_tree(*plan, std::move(groups), std::move(lists), options.task_cost,
            EntryPlacer(*plan, tree.columns, column_names(tree, names), indptr));
  return plan;
}

FactorCost factor_cost(Index n, const Index* indptr, const Index* indices, const Index* perm) {
  Plan plan;
  begin(plan, n, indptr, indices, perm);
  column_tree(plan, indptr, indices);
  return {plan.nnz_factor, plan.flops};
}

std::shared_ptr<const Plan> plan_from_factor(Index n, const Index* indptr, const Index* indices) {
  auto plan = std::make_shared<Plan>();
  begin(*plan, n, indptr, indices, nullptr);
  std::vector<Index> parent, counts;
  for (Index j = 0; j < n; ++j) {
    const Index count = indptr[j + 1] - indptr[j];
    counts.push_back(count);
    parent.push_back(count > 1 ? indices[indptr[j] + 1] : -1);
    plan->flops += double(count) * double(count);
  }
  plan->nnz_factor = indptr[n];
  Partition groups = single_columns(parent, counts);
  lay_out(*plan, groups);
  RowLists lists{std::vector<Offset>(indptr, indptr + n + 1),
                 std::vector<Index>(indices, indices + indptr[n])};
  take_tree(*plan, std::move(groups), std::move(lists), kTaskCost, [](Index, const Index*) {});
  plan->value_position = identity(indptr[n]);
  plan->entry = plan->entry_place = plan->value_position;
  plan->entry_ptr.assign(indptr, indptr + n + 1);
  plan->closed =
      std::find(plan->relative.begin(), plan->relative.end(), -1) == plan->relative.end();
  return plan;
}

}  // namespace cholax
