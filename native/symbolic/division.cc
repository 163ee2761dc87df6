#include "division.h"

#include <algorithm>

namespace cholax {
namespace {

constexpr double kPieces = 48;  // subtrees cost at most this part of the whole

// Peaks of the two stacks over all tasks.
void measure_stacks(const Tree& tree, Division& division) {
  std::vector<Offset> held(tree.parent.size());  // by supernode: what its children left, by level
  Offset size[2] = {0, 0};
  const auto room = [&](Index s) {
    return division.passes(s) ? Offset{0} : Offset{tree.below[s]} * tree.below[s];
  };
  for (Index t = 0; t + 1 < static_cast<Index>(division.begin.size()); ++t)
    for (Index i = division.begin[t]; i < division.begin[t + 1]; ++i) {
      const Index s = tree.schedule[i], p = tree.parent[s];
      Offset& own = size[tree.level[s]];
      own += room(s);
      division.stack[tree.level[s]] = std::max(division.stack[tree.level[s]], own);
      size[1 - tree.level[s]] -= held[s];
      if (p >= 0) held[p] += room(s);
    }
}

std::vector<double> subtree_costs(const Tree& tree) {
  std::vector<double> cost(tree.parent.size(), 0.0);
  for (const Index s : tree.schedule) {
    cost[s] += node_cost(tree.width[s], tree.below[s]);
    if (tree.parent[s] >= 0) cost[tree.parent[s]] += cost[s];
  }
  return cost;
}

// Supernodes whose subtree is dear stand alone; cheap subtrees next to each other under one parent
// join. Fills division.begin and returns the task of each supernode.
std::vector<Index> cut(const Tree& tree, const std::vector<double>& cost, double grain,
                       Division& division) {
  const Index num = static_cast<Index>(tree.schedule.size());
  std::vector<Index> place(num), task_of(num);
  for (Index i = 0; i < num; ++i) place[tree.schedule[i]] = i;
  double joined = grain;    // cost of the cheap subtrees in the task that is open
  Index joined_under = -1;  // their common parent
  for (Index i = 0; i < num;) {
    Index top = tree.schedule[i];
    const bool dear = cost[top] > grain;
    while (!dear && tree.parent[top] >= 0 && cost[tree.parent[top]] <= grain)
      top = tree.parent[top];
    if (dear || joined >= grain / 4 || tree.parent[top] != joined_under) {
      division.begin.push_back(i);
      joined = 0;
    }
    joined = dear ? grain : joined + cost[top];
    joined_under = tree.parent[top];
    const Index task = static_cast<Index>(division.begin.size()) - 1;
    for (; i <= place[top]; ++i) task_of[tree.schedule[i]] = task;
  }
  division.begin.push_back(num);
  return task_of;
}

// The forest of tasks, and the update matrices that pass between them.
void connect(const Tree& tree, const std::vector<Index>& task_of, Division& division) {
  const std::size_t tasks = division.begin.size() - 1;
  division.tasks.parent.assign(tasks, -1);
  division.tasks.num_children.assign(tasks, 0);
  division.passage.assign(task_of.size(), -1);
  for (std::size_t s = 0; s < task_of.size(); ++s) {
    const Index p = tree.parent[s];
    if (p < 0 || task_of[p] == task_of[s]) continue;
    division.passage[s] = division.num_passages++;
    division.tasks.parent[task_of[s]] = task_of[p];
  }
  for (const int p : division.tasks.parent)
    if (p >= 0) ++division.tasks.num_children[p];
}

}  // namespace

double node_cost(Index width, Index below) {
  const double w = width, r = below;
  return w * w * w / 6 + w * w * r / 2 + w * r * r / 2 + r * r + 50 * w;
}

Division undivided(const Tree& tree) {
  Division out;
  out.begin = {0, static_cast<Index>(tree.schedule.size())};
  out.tasks = {{-1}, {0}};
  measure_stacks(tree, out);
  return out;
}

Division divided(const Tree& tree, double least_cost) {
  const std::vector<double> cost = subtree_costs(tree);
  double total = 0;
  for (std::size_t s = 0; s < cost.size(); ++s)
    if (tree.parent[s] < 0) total += cost[s];
  const double grain = std::max(total / kPieces, least_cost);
  if (total < 2 * grain) return undivided(tree);
  Division out;
  const std::vector<Index> task_of = cut(tree, cost, grain, out);
  connect(tree, task_of, out);
  measure_stacks(tree, out);
  return out;
}

}  // namespace cholax
