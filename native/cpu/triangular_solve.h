// x := L⁻¹ x or L⁻ᵀ x for k right-hand sides, products L x, Lᵀ x and lower(u vᵀ) on the filled
// pattern. Right-hand sides are stored row by row (n × k row-major).
//
// Going up the tree, what a supernode adds to rows of its ancestors is handed to its parent as a
// vector over its rows below, like the update matrices of a factorisation, and added there in the
// order of the children: every thread count makes the same additions. Going down, rows of ancestors
// are only read. A pattern not closed under fill has no such tree: its columns are taken in their
// own order, by one thread.
#pragma once
#include "cpu/dense.h"
#include "cpu/panel_sweep.h"
#include "cpu/traversal.h"

namespace cholax::CHOLAX_TARGET {

namespace detail {

// Entries of L times right-hand sides from which a sweep is shared among threads.
inline constexpr double kSharedSweep = 3e5;

// A stack of vectors; it grows by moving into the other of two buffers.
template <class T>
class VectorStack {
 public:
  explicit VectorStack(Scratch<T>& scratch) : buffer_{&scratch.work[1], &scratch.work[2]} {}

  T* push(std::size_t size) {
    if (top_ + size > room_) grow(top_ + size);
    T* place = data_ + top_;
    top_ += size;
    return place;
  }
  const T* pop(std::size_t size) {
    top_ -= size;
    return data_ + top_;
  }

 private:
  void grow(std::size_t size) {
    room_ = std::max<std::size_t>(2 * size, 1 << 12);
    T* larger = buffer_[1]->reserve(room_);
    std::copy_n(data_, top_, larger);
    std::swap(buffer_[0], buffer_[1]);
    data_ = larger;
  }

  Buffer<T>* buffer_[2];
  T* data_ = nullptr;
  std::size_t top_ = 0, room_ = 0;
};

// One supernode on its way up: `add_children(v)` adds what they pass, `pass_on(below)` takes what
// the supernode passes.
template <class T, class AddChildren, class Visit, class PassOn>
inline void node_up(const Columns<T>& b, const Node& node, T* x, T* v, const Crew& crew,
                    AddChildren&& add_children, Visit&& visit, PassOn&& pass_on) {
  T* own = x + node.first * b.step;
  b.read(node.w, own, v);
  b.clear(node.r, v + node.w * b.ld);
  add_children(v);
  visit(node, v, crew);
  b.write(node.w, v, own);
  pass_on(v + node.w * b.ld);
}

template <class T, class Visit>
void sweep_task_up(Tasks<T>& tasks, int task, int worker, const Columns<T>& b, T* x,
                   Visit&& visit) {
  const Plan& plan = tasks.plan;
  const Division& division = tasks.division;
  Scratch<T>& scratch = tasks.work.session->scratch(worker);
  T* v = scratch.work[0].reserve(b.room(plan.max_front));
  VectorStack<T> stack(scratch);
  const Crew crew = tasks.crew(task, worker);
  for (Index i = division.begin[task]; i < division.begin[task + 1]; ++i) {
    const Index s = plan.schedule[i];
    const auto add_children = [&](T* front) {
      for (Index k = plan.child_ptr[s + 1] - 1; k >= plan.child_ptr[s]; --k) {
        const Index c = plan.child[k];
        const int rows = below_count(plan, c);
        const bool passed = division.passes(c);
        const T* from = passed ? tasks.passing[division.passage[c]].data() : stack.pop(rows * b.ld);
        b.add(rows, plan.relative.data() + plan.below_ptr[c], from, front);
        if (passed) tasks.passing[division.passage[c]].release();
      }
    };
    const auto pass_on = [&](const T* below) {
      const int size = static_cast<int>(below_count(plan, s) * b.ld);
      copy_run(
          size, below,
          division.passes(s) ? tasks.passing[division.passage[s]].reserve(size) : stack.push(size));
    };
    node_up(b, node_at(plan, s), x, v, crew, add_children, visit, pass_on);
  }
}

// visit(node, v, crew) for children before parents: v holds the node's own rows of x plus all that
// descendants added to them, then its rows below, zero plus what children added to those; it leaves
// there the new own rows and what is to be added to the rows below.
template <class T, class Visit>
void sweep_up(const Plan& plan, Work<T> work, const Columns<T>& b, T* x, Visit&& visit) {
  work.shared = work.shared && double(plan.size) * b.k >= kSharedSweep;
  if (plan.closed) {
    Tasks<T> tasks(plan, work);
    return tasks.run(
        true, [&](int task, int worker) { sweep_task_up(tasks, task, worker, b, x, visit); });
  }
  T* v = work.scratch().work[0].reserve(b.room(plan.max_front));
  for (Index s = 0; s < plan.num_supernodes; ++s) {
    const Node node = node_at(plan, s);
    node_up(
        b, node, x, v, Crew{}, [](T*) {}, visit,
        [&](const T* below) { b.scatter(node.r, node.rows + node.w, below, x); });
  }
}

// visit(node, v, crew) for parents before children: v holds the node's rows of x, own and below,
// and then in the own rows those of y, which may be x.
template <class T, class Visit>
void sweep_down(const Plan& plan, Work<T> work, const Columns<T>& b, const T* x, T* y,
                Visit&& visit) {
  work.shared = work.shared && double(plan.size) * b.k >= kSharedSweep;
  const auto node_down = [&](Index s, T* v, const Crew& crew) {
    const Node node = node_at(plan, s);
    b.read(node.w, x + node.first * b.step, v);
    b.gather(node.r, node.rows + node.w, x, v + node.w * b.ld);
    visit(node, v, crew);
    b.write(node.w, v, y + node.first * b.step);
  };
  if (!plan.closed) {
    T* v = work.scratch().work[0].reserve(b.room(plan.max_front));
    for (Index s = plan.num_supernodes - 1; s >= 0; --s) node_down(s, v, Crew{});
    return;
  }
  Tasks<T> tasks(plan, work);
  tasks.run(false, [&](int task, int worker) {
    T* v = work.session->scratch(worker).work[0].reserve(b.room(plan.max_front));
    const Crew crew = tasks.crew(task, worker);
    for (Index i = tasks.division.begin[task + 1] - 1; i >= tasks.division.begin[task]; --i)
      node_down(plan.schedule[i], v, crew);
  });
}

// visit(columns, c) for the right-hand sides from column c on, as many as are taken at a time.
template <class T, class Visit>
void for_each_turn(int k, Visit&& visit) {
  for (int c = 0; c < k; c += kMostColumns) visit(Columns<T>(std::min(kMostColumns, k - c), k), c);
}

// First g rows of v := L of them or Lᵀ of them, L being the triangle g × g.
template <class S, class T>
void multiply_triangle(Stride ld, int g, const T* l, Stride ldl, bool transposed, T* v) {
  for (int t = 0; t < g; ++t) {
    const int i = transposed ? t : g - 1 - t;  // before any row that needs the old one
    const int first = transposed ? i : 0, last = transposed ? g : i + 1;
    for (Stride c = 0; c < ld; c += S::width) {
      auto sum = S::zero();
      for (int j = first; j < last; ++j)
        sum = S::multiply_add(S::broadcast(transposed ? l[j + i * ldl] : l[i + j * ldl]),
                              S::load(v + j * ld + c), sum);
      S::store(v + i * ld + c, sum);
    }
  }
}

template <class T>
void multiply_triangle(const Columns<T>& b, int g, const T* l, Stride ldl, bool transposed, T* v) {
  if (b.k == 1)
    multiply_triangle<Scalar<T>>(1, g, l, ldl, transposed, v);
  else
    multiply_triangle<Simd<T>>(b.ld, g, l, ldl, transposed, v);
}

template <class T>
void negate(Stride size, T* v) {
  for (Stride i = 0; i < size; ++i) v[i] = -v[i];
}

// v (m rows) += L x, x being the node's own rows of an array.
template <class T>
void add_product(const Columns<T>& b, const Node& node, const T* l, const T* x, T* v) {
  const int m = node.m;
  T group[kGroup * (kMostColumns + Simd<T>::width)];
  groups_forward(0, node.w, [&](int j, int g) {
    const T* triangle = l + j + Stride(j) * m;
    b.read(g, x + j * b.step, group);
    negate(g * b.ld, group);
    b.product(g, m - j - g, triangle + g, m, group, v + (j + g) * b.ld);
    multiply_triangle(b, g, triangle, m, false, group);
    for (Stride i = 0; i < g * b.ld; ++i) v[j * b.ld + i] -= group[i];
  });
}

// Own rows of v := Lᵀ v.
template <class T>
void transposed_product(const Columns<T>& b, const Node& node, const T* l, T* v) {
  const int m = node.m;
  groups_forward(0, node.w, [&](int j, int g) {
    const T* triangle = l + j + Stride(j) * m;
    T* rows = v + j * b.ld;
    multiply_triangle(b, g, triangle, m, true, rows);
    negate(g * b.ld, rows);
    b.transposed(g, m - j - g, triangle + g, m, rows + g * b.ld, rows);
    negate(g * b.ld, rows);
  });
}

// The same for single vectors: `rows` holds the node's rows of u.
template <class T>
void outer_panel(const Node& node, const T* rows, const T* own, T* panel) {
  for (int j = 0; j < node.w; ++j) {
    T* column = panel + Stride(j) * node.m;
    for (int i = 0; i < node.m; ++i) column[i] = i < j ? T(0) : rows[i] * own[j];
  }
}

// Panel := lower(u vᵀ) on the node's rows and columns, a turn of right-hand sides at a time, whose
// rows of u are gathered column by column.
template <class T>
void outer_panel(const Node& node, int k, const T* u, const T* v, T* rows, T* panel) {
  const int m = node.m;
  if (k == 1) {
    for (int i = 0; i < m; ++i) rows[i] = u[node.rows[i]];
    return outer_panel(node, rows, v + node.first, panel);
  }
  for (int c0 = 0; c0 < k; c0 += kMostColumns) {
    const int count = std::min(kMostColumns, k - c0);
    for (int i = 0; i < m; ++i)
      for (int c = 0; c < count; ++c)
        rows[i + Stride(c) * m] = u[Stride(node.rows[i]) * k + c0 + c];
    multiply({}, m, node.w, count, rows, m, v + Stride(node.first) * k + c0, k, panel, m,
             c0 == 0 ? Update::kAssign : Update::kAdd);
  }
  dense::clear_upper(node.w, panel, m);
}

// visit(s, worker) for all supernodes, in pieces of equal numbers of entries.
template <class T, class Visit>
void share_panels(const Plan& plan, const Work<T>& work, Visit&& visit) {
  constexpr int pieces = 64;
  const auto first = [&](int piece) {
    const Offset entry = plan.size * piece / pieces;
    return static_cast<Index>(
        std::lower_bound(plan.panel_ptr.begin(), plan.panel_ptr.end() - 1, entry) -
        plan.panel_ptr.begin());
  };
  work.team()->parallel_for(pieces, work.worker, [&](int piece, int worker) {
    const Index end = piece + 1 == pieces ? plan.num_supernodes : first(piece + 1);
    for (Index s = first(piece); s < end; ++s) visit(s, worker);
  });
}

}  // namespace detail

template <class T>
void solve_lower(const Plan& plan, const Work<T>& work, const T* l, int k, T* x) {
  detail::for_each_turn<T>(k, [&](const Columns<T>& b, int c) {
    detail::sweep_up(plan, work, b, x + c, [&](const Node& node, T* v, const Crew& crew) {
      forward_panel(b, node, l + node.panel, v, crew);
    });
  });
}

template <class T>
void solve_lower_transposed(const Plan& plan, const Work<T>& work, const T* l, int k, T* x) {
  detail::for_each_turn<T>(k, [&](const Columns<T>& b, int c) {
    detail::sweep_down(plan, work, b, x + c, x + c, [&](const Node& node, T* v, const Crew& crew) {
      backward_panel(b, node, l + node.panel, v, crew);
    });
  });
}

// y := L x
template <class T>
void multiply_lower(const Plan& plan, const Work<T>& work, const T* l, int k, const T* x, T* y) {
  std::fill_n(y, Stride(plan.n) * k, T(0));
  detail::for_each_turn<T>(k, [&](const Columns<T>& b, int c) {
    const auto visit = [&](const Node& node, T* v, const Crew&) {
      detail::add_product(b, node, l + node.panel, x + c + node.first * b.step, v);
    };
    detail::sweep_up(plan, work, b, y + c, visit);
  });
}

// y := Lᵀ x
template <class T>
void multiply_lower_transposed(const Plan& plan, const Work<T>& work, const T* l, int k, const T* x,
                               T* y) {
  detail::for_each_turn<T>(k, [&](const Columns<T>& b, int c) {
    const auto visit = [&](const Node& node, T* v, const Crew&) {
      detail::transposed_product(b, node, l + node.panel, v);
    };
    detail::sweep_down(plan, work, b, x + c, y + c, visit);
  });
}

// panels := lower(u vᵀ) on the filled pattern: entry (i, j) = Σ_c u_ic v_jc.
template <class T>
void outer_on_factor(const Plan& plan, const Work<T>& work, int k, const T* u, const T* v, T* l) {
  if (k == 0) return void(std::fill_n(l, plan.size, T(0)));
  const std::size_t room = std::size_t(plan.max_front) * std::min(k, kMostColumns);
  const auto visit = [&](Index s, int worker) {
    const Node node = node_at(plan, s);
    T* rows = work.session->scratch(worker).work[0].reserve(room);
    detail::outer_panel(node, k, u, v, rows, l + node.panel);
  };
  const Team* team = double(plan.size) * k < detail::kSharedSweep ? nullptr : work.team();
  if (team == nullptr)
    for (Index s = 0; s < plan.num_supernodes; ++s) visit(s, work.worker);
  else
    detail::share_panels(plan, work, visit);
}

}  // namespace cholax::CHOLAX_TARGET
