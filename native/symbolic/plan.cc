#include "plan.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>

#include "column_counts.h"
#include "columns.h"
#include "etree.h"
#include "plan_queries.h"
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

// Entries are node numbers (or -1): reorder and rename.
void reorder_nodes(std::vector<Index>& x, const std::vector<Index>& order) {
  const std::vector<Index> name = inverse(order);
  reorder(x, order);
  for (Index& v : x)
    if (v != -1) v = name[v];
}

// The elimination tree and column counts under plan.perm. With postorder, perm is postordered on
// the way.
struct ColumnTree {
  std::vector<Index> parent, count;
};

ColumnTree column_tree(Plan& plan, const Index* indptr, const Index* indices, bool to_postorder) {
  const Columns a = relabelled_columns(plan.n, plan.n, indptr, indices, plan.iperm.data());
  ColumnTree tree;
  tree.parent = elimination_tree(rows_of(a));
  const std::vector<Index> post = postorder(tree.parent, children_of(tree.parent));
  tree.count = column_counts(a, tree.parent, post);
  if (to_postorder) {
    reorder(plan.perm, post);
    reorder(tree.count, post);
    reorder_nodes(tree.parent, post);
  }
  for (const Index count : tree.count) {
    plan.nnz_factor += count;
    plan.flops += double(count) * double(count);
  }
  return tree;
}

// A plan that knows its permutation, nothing else yet.
void begin(Plan& plan, Index n, const Index* indptr, const Index* indices, const Index* perm) {
  check_pattern(n, indptr, indices);
  plan.n = n;
  plan.perm = perm ? std::vector<Index>(perm, perm + n) : identity(n);
  plan.iperm = inverse(plan.perm);
}

// Number the groups in schedule order and move the columns of each group together.
void gather_groups(Plan& plan, Partition& groups) {
  const Schedule schedule = postorder_schedule(groups.parent, groups.below);
  reorder(groups.width, schedule.order);
  reorder(groups.below, schedule.order);
  reorder_nodes(groups.parent, schedule.order);
  const std::vector<Index> number = inverse(schedule.order);
  std::vector<Index> next(groups.width.size() + 1, 0);
  for (std::size_t s = 0; s < groups.width.size(); ++s) next[s + 1] = next[s] + groups.width[s];
  std::vector<Index> perm(plan.n);
  for (Index j = 0; j < plan.n; ++j) perm[next[number[groups.group_of[j]]]++] = plan.perm[j];
  plan.perm.swap(perm);
  plan.iperm = inverse(plan.perm);
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
RowLists arrange(Plan& plan, Partition& groups, const Index* indptr, const Index* indices,
                 bool gather) {
  if (gather) gather_groups(plan, groups);
  lay_out(plan, groups);
  const Columns a = relabelled_columns(plan.n, plan.n, indptr, indices, plan.iperm.data());
  return supernode_rows(a, plan.first_column, groups.below, children_of(groups.parent));
}

// The tree, its schedule, and where each below row is in its parent.
void take_tree(Plan& plan, Partition&& groups, RowLists&& lists) {
  chain_twins(groups.parent, groups.below, lists);
  Schedule schedule = postorder_schedule(groups.parent, groups.below);
  plan.relative = relative_indices(lists, plan.first_column, plan.below_ptr, schedule.children);
  plan.parent = std::move(groups.parent);
  plan.row_ptr = std::move(lists.ptr);
  plan.rows = std::move(lists.rows);
  plan.schedule = std::move(schedule.order);
  plan.child_ptr = std::move(schedule.children.ptr);
  plan.child = std::move(schedule.children.child);
  plan.stack_size = schedule.stack_size;
}

}  // namespace

std::shared_ptr<const Plan> analyse(Index n, const Index* indptr, const Index* indices,
                                    const Index* perm, const AnalyseOptions& options) {
  auto plan = std::make_shared<Plan>();
  begin(*plan, n, indptr, indices, perm);
  const ColumnTree tree = column_tree(*plan, indptr, indices, options.postorder);
  check_size(plan->nnz_factor);
  Partition groups = options.supernodal ? amalgamated_columns(tree.parent, tree.count,
                                                              options.relax, !options.postorder)
                                        : single_columns(tree.parent, tree.count);
  RowLists lists = arrange(*plan, groups, indptr, indices, options.postorder);
  if (options.supernodal &&
      merge_twins(groups, plan->first_column, lists, options.relax, !options.postorder))
    lists = arrange(*plan, groups, indptr, indices, options.postorder);
  take_tree(*plan, std::move(groups), std::move(lists));
  plan->value_position.resize(indptr[n]);
  locate(*plan, n, indptr, indices, plan->value_position.data());
  return plan;
}

FactorCost factor_cost(Index n, const Index* indptr, const Index* indices, const Index* perm) {
  Plan plan;
  begin(plan, n, indptr, indices, perm);
  column_tree(plan, indptr, indices, false);
  return {plan.nnz_factor, plan.flops};
}

std::shared_ptr<const Plan> plan_from_factor(Index n, const Index* indptr, const Index* indices) {
  auto plan = std::make_shared<Plan>();
  begin(*plan, n, indptr, indices, nullptr);
  ColumnTree tree;
  for (Index j = 0; j < n; ++j) {
    const Index count = indptr[j + 1] - indptr[j];
    tree.count.push_back(count);
    tree.parent.push_back(count > 1 ? indices[indptr[j] + 1] : -1);
    plan->flops += double(count) * double(count);
  }
  plan->nnz_factor = indptr[n];
  Partition groups = single_columns(tree.parent, tree.count);
  lay_out(*plan, groups);
  RowLists lists{std::vector<Offset>(indptr, indptr + n + 1),
                 std::vector<Index>(indices, indices + indptr[n])};
  take_tree(*plan, std::move(groups), std::move(lists));
  plan->value_position = identity(indptr[n]);
  plan->closed =
      std::find(plan->relative.begin(), plan->relative.end(), -1) == plan->relative.end();
  return plan;
}

}  // namespace cholax
