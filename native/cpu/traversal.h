// The two traversals every kernel is made of: up the supernodal tree (children's update matrices
// are added into the parent's front) and down it (children read theirs out of the parent's front).
// A front of supernode s is the m x m symmetric matrix over its rows: the first w columns live in
// a panel, the trailing r x r block in an update matrix (column-major, lower triangle).
//
// Each thread keeps the update matrices of its task on two stacks, one for even and one for odd
// levels of the tree, so that a supernode fills its own while its children's are still there. Those
// that pass from task to task have buffers of their own. What happens at a supernode and in which
// order children are added depends on the plan only, so results do not depend on the threads.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>

#include "cpu/node.h"
#include "cpu/product.h"
#include "cpu/session.h"

namespace cholax::CHOLAX_TARGET {

// Wide supernodes are worked through in blocks of this many columns, so that triangles stay small.
inline constexpr int kNodeBlock = 64;

// visit(first, columns) for blocks of n columns, from the last on; all but that have `most`
// columns.
template <class F>
void blocks_backward(int n, int most, F&& visit) {
  for (int c = (n - 1) / most * most; c >= 0; c -= most) visit(c, std::min(most, n - c));
}

namespace detail {

// Runs of consecutive places, so that rows move as vectors.
struct Runs {
  const Index* place;
  int count;

  // End of the run that starts at i.
  int end(int i) const {
    int e = i + 1;
    while (e < count && place[e] == place[e - 1] + 1) ++e;
    return e;
  }
  bool long_enough() const {
    if (count < 8) return false;
    int runs = 1;
    for (int i = 1; i < count; ++i) runs += place[i] != place[i - 1] + 1;
    return runs * 5 <= count;
  }
};

template <class T>
inline void add_run(int n, const T* from, T* to) {
  using S = Simd<T>;
  int i = 0;
  const auto one = S::broadcast(T(1));
  for (; i + S::width <= n; i += S::width)
    S::store(to + i, S::multiply_add(S::load(from + i), one, S::load(to + i)));
  if (i == n) return;
  const auto mask = S::first(n - i);
  S::store(to + i, S::multiply_add(S::load(from + i, mask), one, S::load(to + i, mask)), mask);
}

template <class T>
inline void copy_run(int n, const T* from, T* to) {
  using S = Simd<T>;
  int i = 0;
  for (; i + S::width <= n; i += S::width) S::store(to + i, S::load(from + i));
  if (i < n) S::store(to + i, S::load(from + i, S::first(n - i)), S::first(n - i));
}

// Column `column` of a front, addressed by place: column[place] is the entry in that row.
template <class T>
inline T* front_column(const Node& node, int column, T* panel, T* update) {
  return column < node.w ? panel + Stride(column) * node.m
                         : update + Stride(column - node.w) * node.r - node.w;
}

// visit(child column j, from row i, to row e, parent column, place of row i) for runs of rows of
// the child's columns first .. last − 1.
template <class T, class Visit>
inline void for_each_run(const Plan& plan, int c, int first, int last, const Node& parent, T* panel,
                         T* update, Visit&& visit) {
  const Runs runs{plan.relative.data() + plan.below_ptr[c], below_count(plan, c)};
  int end = first;
  for (int j = first; j < last; ++j) {
    if (j == end) end = runs.end(j);
    T* column = front_column(parent, runs.place[j], panel, update);
    for (int i = j, e = end; i < runs.count; i = e, e = i < runs.count ? runs.end(i) : i)
      visit(j, i, e, column + runs.place[i]);
  }
}

// Columns of child c's update matrix that lie in the parent's panel; the others lie in its update
// matrix.
inline int columns_in_panel(const Plan& plan, int c, const Node& parent) {
  const Index* place = plan.relative.data() + plan.below_ptr[c];
  return static_cast<int>(std::lower_bound(place, place + below_count(plan, c), parent.w) - place);
}

// move(first, last) for all columns of an update matrix of order r from `first` on, a strip of them
// at a time where threads can share the work.
template <class Move>
inline void in_strips(const Crew& crew, int r, int first, int last, Move&& move) {
  constexpr int kStrip = 64, kShared = 256;
  if (crew.team == nullptr || r < kShared) return move(first, last);
  crew.parallel_for((last - first + kStrip - 1) / kStrip, [&](int strip, int) {
    const int begin = first + strip * kStrip;
    move(begin, std::min(begin + kStrip, last));
  });
}

// Adds columns first .. last − 1 of child c's update matrix into its parent's front.
template <class T>
void extend_add(const Plan& plan, int c, const T* child, int first, int last, const Node& parent,
                T* panel, T* update) {
  const int rc = below_count(plan, c);
  const Index* place = plan.relative.data() + plan.below_ptr[c];
  if (Runs{place, rc}.long_enough()) {
    for_each_run(plan, c, first, last, parent, panel, update, [&](int j, int i, int e, T* to) {
      add_run(e - i, child + Stride(j) * rc + i, to);
    });
    return;
  }
  for (int j = first; j < last; ++j) {
    const T* from = child + Stride(j) * rc;
    T* to = front_column(parent, place[j], panel, update);
    for (int i = j; i < rc; ++i) to[place[i]] += from[i];
  }
}

// Reads columns first .. last − 1 of child c's update matrix (lower triangle) out of its parent's
// front.
template <class T>
void read_from_parent(const Plan& plan, int c, T* child, int first, int last, const Node& parent,
                      const T* panel, const T* update) {
  const int rc = below_count(plan, c);
  const Index* place = plan.relative.data() + plan.below_ptr[c];
  if (Runs{place, rc}.long_enough()) {
    for_each_run(plan, c, first, last, parent, panel, update,
                 [&](int j, int i, int e, const T* from) {
                   copy_run(e - i, from, child + Stride(j) * rc + i);
                 });
    return;
  }
  for (int j = first; j < last; ++j) {
    T* to = child + Stride(j) * rc;
    const T* from = front_column(parent, place[j], panel, update);
    for (int i = j; i < rc; ++i) to[i] = from[place[i]];
  }
}

// The tasks of one traversal and the update matrices that pass between them.
template <class T>
struct Tasks {
  Tasks(const Plan& p, const Work<T>& w)
      : plan(p),
        work(w),
        division(w.team() != nullptr ? p.parts : p.whole),
        passing(division.num_passages) {
    require_closed(plan);
  }

  // body(task, worker), children first or parents first.
  template <class F>
  void run(bool children_first, F&& body) {
    const int worker = work.worker;
    if (division.tasks.size() == 1) return body(0, worker);
    work.team()->run(division.tasks, children_first, body);
  }

  // The threads for supernode s: all of them where it is a task of its own.
  Crew crew(int task, int worker) const {
    const bool alone = division.begin[task + 1] - division.begin[task] == 1;
    return {alone ? work.team() : nullptr, worker};
  }

  const Plan& plan;
  const Work<T>& work;
  const Division& division;
  std::vector<Buffer<T>> passing;
};

// use(child, its update matrix) for the children of s, last first; `top` is the top of the stack
// they are on. Returns its top below them.
template <class T, class Use>
T* for_each_child(Tasks<T>& tasks, Index s, T* top, Use&& use) {
  const Plan& plan = tasks.plan;
  for (int k = plan.child_ptr[s + 1] - 1; k >= plan.child_ptr[s]; --k) {
    const int c = plan.child[k];
    if (tasks.division.passes(c)) {
      use(c, tasks.passing[tasks.division.passage[c]].data());
    } else {
      top -= square(below_count(plan, c));
      use(c, top);
    }
  }
  return top;
}

// Up one task. Returns false when visit did; `position` is then that of the supernode.
template <class T, class Begin, class Visit>
bool task_up(Tasks<T>& tasks, int task, int worker, T* out, Index& position, Begin&& begin,
             Visit&& visit) {
  const Plan& plan = tasks.plan;
  const Division& division = tasks.division;
  Scratch<T>& scratch = tasks.work.session->scratch(worker);
  T* top[2];
  for (int side : {0, 1}) top[side] = scratch.stack[side].reserve(division.stack[side]);
  const Crew crew = tasks.crew(task, worker);
  for (position = division.begin[task]; position < division.begin[task + 1]; ++position) {
    const Index s = plan.schedule[position];
    const Node node = node_at(plan, s);
    T* panel = out + node.panel;
    const bool passes = division.passes(s);
    T*& own = top[plan.level[s]];
    T*& below = top[1 - plan.level[s]];
    T* update = passes ? tasks.passing[division.passage[s]].reserve(square(node.r)) : own;
    const auto add = [&](int c, const T* child, int first, int last) {
      in_strips(crew, below_count(plan, c), first, last, [&](int from, int to) {
        extend_add(plan, c, child, from, to, node, panel, update);
      });
    };
    begin(node, panel);
    for_each_child(tasks, s, below, [&](int c, const T* child) {
      add(c, child, 0, columns_in_panel(plan, c, node));
    });
    if (!visit(node, panel, update, crew, scratch)) return false;
    below = for_each_child(tasks, s, below, [&](int c, const T* child) {
      add(c, child, columns_in_panel(plan, c, node), below_count(plan, c));
      if (division.passes(c)) tasks.passing[division.passage[c]].release();
    });
    if (!passes) own += square(node.r);
  }
  return true;
}

// Down one task.
template <class T, class Visit, class Finish>
void task_down(Tasks<T>& tasks, int task, int worker, const T* source, Visit&& visit,
               Finish&& finish) {
  const Plan& plan = tasks.plan;
  const Division& division = tasks.division;
  Scratch<T>& scratch = tasks.work.session->scratch(worker);
  T* top[2];
  for (int side : {0, 1}) top[side] = scratch.stack[side].reserve(division.stack[side]);
  const Crew crew = tasks.crew(task, worker);
  for (Index position = division.begin[task + 1] - 1; position >= division.begin[task];
       --position) {
    const Index s = plan.schedule[position];
    const Node node = node_at(plan, s);
    T*& own = top[plan.level[s]];
    T*& below = top[1 - plan.level[s]];
    const bool passes = division.passes(s);
    if (!passes) own -= square(node.r);
    // A root has no rows below and no room anywhere.
    T* update = passes ? tasks.passing[division.passage[s]].data() : own;
    visit(node, update, crew, scratch);
    for (int k = plan.child_ptr[s]; k < plan.child_ptr[s + 1]; ++k) {
      const int c = plan.child[k];
      const int rc = below_count(plan, c);
      const Stride size = square(rc);
      T* child = below;
      if (division.passes(c))
        child = tasks.passing[division.passage[c]].reserve(size);
      else
        below += size;
      in_strips(crew, rc, 0, rc, [&](int from, int to) {
        read_from_parent(plan, c, child, from, to, node, source + node.panel, update);
      });
    }
    finish(node);
    if (passes) tasks.passing[division.passage[s]].release();
  }
}

}  // namespace detail

// Children before parents. `begin(node, panel)` puts the supernode's own entries into its panel of
// `out`; `visit(node, panel, update, crew, scratch)` gets the panel with the children's part added
// and fills the update matrix with the supernode's own part of what the parent receives (the
// children's part is added afterwards, so that it need not be cleared before). Where visit returns
// false the traversal stops; the answer is then the place in plan.schedule of the first
// such supernode, otherwise −1.
template <class T, class Begin, class Visit>
Index traverse_up(const Plan& plan, const Work<T>& work, T* out, Begin&& begin, Visit&& visit) {
  constexpr Index kNone = std::numeric_limits<Index>::max();
  detail::Tasks<T> tasks(plan, work);
  std::atomic<Index> stopped{kNone};
  tasks.run(true, [&](int task, int worker) {
    // Tasks before the failed supernode go on: whichever of them fails first is the answer.
    if (tasks.division.begin[task] > stopped.load()) return;
    Index position = 0;
    if (detail::task_up(tasks, task, worker, out, position, begin, visit)) return;
    Index best = stopped.load();
    while (position < best && !stopped.compare_exchange_weak(best, position)) {
    }
  });
  return stopped.load() == kNone ? -1 : stopped.load();
}

// Parents before children. `visit(node, update, crew, scratch)` gets the update matrix read from
// the parent's front; children then read theirs from `source` panels and that update matrix.
// `finish(node)` runs once the children have read.
template <class T, class Visit, class Finish>
void traverse_down(const Plan& plan, const Work<T>& work, const T* source, Visit&& visit,
                   Finish&& finish) {
  detail::Tasks<T> tasks(plan, work);
  tasks.run(false, [&](int task, int worker) {
    detail::task_down(tasks, task, worker, source, visit, finish);
  });
}

}  // namespace cholax::CHOLAX_TARGET
