// A panel of L against right-hand sides, a few of its columns at a time: those stream from memory
// side by side, once, while the rows they act on lie in a small block v.
//
// v holds one right-hand side as a plain vector; more lie row by row, each row filled up with zeros
// to whole vector registers (Columns::ld), so that the kernels need masks for single ones only.
#pragma once
#include <algorithm>

#include "cpu/node.h"
#include "cpu/product.h"
#include "cpu/traversal.h"

namespace cholax::CHOLAX_TARGET {

// Columns of L at a time, and the most registers per row of v.
inline constexpr int kGroup = kTileColumns;
inline constexpr int kRowVectors = 2;

// Right-hand sides beyond this many are taken in turns, so that v stays in the cache.
inline constexpr int kMostColumns = 64;

namespace detail {

// Panels lie one after another in the order of the sweep, so what is needed soon is near what is
// needed now: most panels are too small for the processor to notice by itself.
template <Sweep kSweep, class T>
[[gnu::always_inline]] inline void fetch_ahead(const T* p) {
  constexpr std::ptrdiff_t distance = 8192 / sizeof(T);
  __builtin_prefetch(kSweep == Sweep::kForward ? p + distance : p - distance);
}

template <Sweep kSweep, int G, class T>
[[gnu::always_inline]] inline void fetch_group(const T* l, Stride ldl) {
#pragma GCC unroll 8
  for (int p = 0; p < G; ++p) fetch_ahead<kSweep>(l + p * ldl);
}

// A register of one number: what Simd is for a row of several right-hand sides.
template <class T>
struct Scalar {
  using V = T;
  static constexpr int width = 1;
  static V broadcast(T x) { return x; }
  static V zero() { return T(0); }
  static V load(const T* p) { return *p; }
  static void store(T* p, V v) { *p = v; }
  static V multiply_add(V a, V b, V c) { return a * b + c; }
  static V subtract_multiply(V a, V b, V c) { return c - a * b; }
};

// MV = 0 stands for a single right-hand side.
template <class T, int MV>
struct RowOf {
  using S = Simd<T>;
  static constexpr int vectors = MV;
};
template <class T>
struct RowOf<T, 0> {
  using S = Scalar<T>;
  static constexpr int vectors = 1;
};

// Triangle (G × G) against the first G rows of v: v := L⁻¹ v, or L⁻ᵀ v. Rows of a single right-hand
// side are scaled first, which leaves one operation per row on the path from the first to the last.
template <class T, int MV, int G, Sweep kSweep>
[[gnu::always_inline]] inline void solve_triangle(const T* l, Stride ldl, T* v, Stride ldv) {
  using S = typename RowOf<T, MV>::S;
  constexpr int vectors = RowOf<T, MV>::vectors;
  constexpr bool forward = kSweep == Sweep::kForward;
  constexpr bool scaled = MV == 0;
  typename S::V row[G][vectors];
  T reciprocal[G];
#pragma GCC unroll 8
  for (int p = 0; p < G; ++p) {
    fetch_ahead<kSweep>(l + p * ldl);
    reciprocal[p] = T(1) / l[p + p * ldl];
#pragma GCC unroll 2
    for (int c = 0; c < vectors; ++c) {
      row[p][c] = S::load(v + p * ldv + c * S::width);
      if (scaled) row[p][c] = row[p][c] * S::broadcast(reciprocal[p]);
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < G; ++t) {
    const int p = forward ? t : G - 1 - t;
#pragma GCC unroll 2
    for (int c = 0; c < vectors; ++c) {
      if (!scaled) row[p][c] = row[p][c] * S::broadcast(reciprocal[p]);
      S::store(v + p * ldv + c * S::width, row[p][c]);
    }
#pragma GCC unroll 8
    for (int u = t + 1; u < G; ++u) {
      const int q = forward ? u : G - 1 - u;
      const T given = forward ? l[q + p * ldl] : l[p + q * ldl];
      const auto entry = S::broadcast(scaled ? given * reciprocal[q] : given);
#pragma GCC unroll 2
      for (int c = 0; c < vectors; ++c)
        row[q][c] = S::subtract_multiply(row[p][c], entry, row[q][c]);
    }
  }
}

// --- v −= L y, and y −= Lᵀ v, for L of `rows` × G ---

// sum −= L y over one register of rows of a single right-hand side.
template <int G, class T, class... Mask>
[[gnu::always_inline]] inline void subtract_rows(const T* l, Stride ldl,
                                                 const typename Simd<T>::V (&y)[G], T* v,
                                                 Mask... mask) {
  using S = Simd<T>;
  fetch_group<Sweep::kForward, G>(l, ldl);
  auto sum = S::load(v, mask...);
#pragma GCC unroll 8
  for (int p = 0; p < G; ++p) sum = S::subtract_multiply(S::load(l + p * ldl, mask...), y[p], sum);
  S::store(v, sum, mask...);
}

template <class T, int G>
[[gnu::always_inline]] inline void subtract_product(int rows, const T* l, Stride ldl, const T* y,
                                                    T* v) {
  using S = Simd<T>;
  typename S::V factor[G];
#pragma GCC unroll 8
  for (int p = 0; p < G; ++p) factor[p] = S::broadcast(y[p]);
  int i = 0;
  for (; i + S::width <= rows; i += S::width) subtract_rows<G>(l + i, ldl, factor, v + i);
  if (i < rows) subtract_rows<G>(l + i, ldl, factor, v + i, S::first(rows - i));
}

template <class T, int MV, int G>
[[gnu::always_inline]] inline void subtract_product(int rows, const T* l, Stride ldl, const T* y,
                                                    T* v, Stride ldv) {
  using S = Simd<T>;
  typename S::V factor[G][MV];
#pragma GCC unroll 8
  for (int p = 0; p < G; ++p)
#pragma GCC unroll 2
    for (int c = 0; c < MV; ++c) factor[p][c] = S::load(y + p * ldv + c * S::width);
  for (int i = 0; i < rows; ++i) {
    if (i % 8 == 0) fetch_group<Sweep::kForward, G>(l + i, ldl);
#pragma GCC unroll 2
    for (int c = 0; c < MV; ++c) {
      T* to = v + i * ldv + c * S::width;
      auto sum = S::load(to);
#pragma GCC unroll 8
      for (int p = 0; p < G; ++p)
        sum = S::subtract_multiply(S::broadcast(l[i + p * ldl]), factor[p][c], sum);
      S::store(to, sum);
    }
  }
}

// sum += Lᵀ v over one register of rows of a single right-hand side.
template <int G, class T, class... Mask>
[[gnu::always_inline]] inline void add_rows(const T* l, Stride ldl, const T* v,
                                            typename Simd<T>::V (&sum)[G], Mask... mask) {
  using S = Simd<T>;
  fetch_group<Sweep::kBackward, G>(l, ldl);
  const auto x = S::load(v, mask...);
#pragma GCC unroll 8
  for (int p = 0; p < G; ++p) sum[p] = S::multiply_add(S::load(l + p * ldl, mask...), x, sum[p]);
}

template <class T, int G>
[[gnu::always_inline]] inline void subtract_transposed(int rows, const T* l, Stride ldl, const T* v,
                                                       T* y) {
  using S = Simd<T>;
  typename S::V sum[G];
#pragma GCC unroll 8
  for (int p = 0; p < G; ++p) sum[p] = S::zero();
  int i = 0;
  for (; i + S::width <= rows; i += S::width) add_rows<G>(l + i, ldl, v + i, sum);
  if (i < rows) add_rows<G>(l + i, ldl, v + i, sum, S::first(rows - i));
#pragma GCC unroll 8
  for (int p = 0; p < G; ++p) y[p] -= S::sum(sum[p]);
}

template <class T, int MV, int G>
[[gnu::always_inline]] inline void subtract_transposed(int rows, const T* l, Stride ldl, const T* v,
                                                       T* y, Stride ldv) {
  using S = Simd<T>;
  typename S::V sum[G][MV];
#pragma GCC unroll 8
  for (int p = 0; p < G; ++p)
#pragma GCC unroll 2
    for (int c = 0; c < MV; ++c) sum[p][c] = S::zero();
  for (int i = 0; i < rows; ++i) {
    if (i % 8 == 0) fetch_group<Sweep::kBackward, G>(l + i, ldl);
#pragma GCC unroll 2
    for (int c = 0; c < MV; ++c) {
      const auto x = S::load(v + i * ldv + c * S::width);
#pragma GCC unroll 8
      for (int p = 0; p < G; ++p)
        sum[p][c] = S::multiply_add(S::broadcast(l[i + p * ldl]), x, sum[p][c]);
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < G; ++p)
#pragma GCC unroll 2
    for (int c = 0; c < MV; ++c) {
      T* to = y + p * ldv + c * S::width;
      S::store(to, S::load(to) - sum[p][c]);
    }
}

// The kernels by registers per row and columns of the group.
template <class T>
struct PanelKernels {
  using Solve = void(int rows, const T* l, Stride ldl, T* v, Stride ldv);
  using Subtract = void(int rows, const T* l, Stride ldl, const T* from, T* to, Stride ldv);
  Solve* forward[kRowVectors + 1][kGroup];
  Solve* backward[kRowVectors + 1][kGroup];
  Subtract* product[kRowVectors + 1][kGroup];
  Subtract* transposed[kRowVectors + 1][kGroup];

  constexpr PanelKernels() : forward{}, backward{}, product{}, transposed{} { fill<0, 1>(); }

 private:
  template <int MV, int G>
  static void forward_group(int rows, const T* l, Stride ldl, T* v, Stride ldv) {
    solve_triangle<T, MV, G, Sweep::kForward>(l, ldl, v, ldv);
    product_group<MV, G>(rows - G, l + G, ldl, v, v + G * ldv, ldv);
  }
  template <int MV, int G>
  static void backward_group(int rows, const T* l, Stride ldl, T* v, Stride ldv) {
    transposed_group<MV, G>(rows - G, l + G, ldl, v + G * ldv, v, ldv);
    solve_triangle<T, MV, G, Sweep::kBackward>(l, ldl, v, ldv);
  }
  template <int MV, int G>
  static void product_group(int rows, const T* l, Stride ldl, const T* y, T* v, Stride ldv) {
    if constexpr (MV == 0)
      subtract_product<T, G>(rows, l, ldl, y, v);
    else
      subtract_product<T, MV, G>(rows, l, ldl, y, v, ldv);
  }
  template <int MV, int G>
  static void transposed_group(int rows, const T* l, Stride ldl, const T* v, T* y, Stride ldv) {
    if constexpr (MV == 0)
      subtract_transposed<T, G>(rows, l, ldl, v, y);
    else
      subtract_transposed<T, MV, G>(rows, l, ldl, v, y, ldv);
  }
  template <int MV, int G>
  constexpr void fill() {
    forward[MV][G - 1] = forward_group<MV, G>;
    backward[MV][G - 1] = backward_group<MV, G>;
    product[MV][G - 1] = product_group<MV, G>;
    transposed[MV][G - 1] = transposed_group<MV, G>;
    if constexpr (G < kGroup)
      fill<MV, G + 1>();
    else if constexpr (MV < kRowVectors)
      fill<MV + 1, 1>();
  }
};

template <class T>
inline constexpr PanelKernels<T> panel_kernels{};

}  // namespace detail

// k right-hand sides: columns of an array x whose rows are `step` apart; v holds rows of them `ld`
// apart. L is given by its first entry and leading dimension, g ≤ kGroup columns wide.
template <class T>
class Columns {
 public:
  using S = Simd<T>;
  const int k;
  const Stride step, ld;

  Columns(int columns, Stride row_step)
      : k(columns),
        step(row_step),
        ld(columns == 1 ? 1 : (columns + S::width - 1) / S::width * S::width) {}

  // First g rows of v := L⁻¹ of them by L's leading triangle; the other rows −= L times those.
  void forward(int g, int rows, const T* l, Stride ldl, T* v) const {
    each([&](int vectors, int c) {
      detail::panel_kernels<T>.forward[vectors][g - 1](rows, l, ldl, v + c, ld);
    });
  }
  // First g rows of v −= Lᵀ times the other rows, then := L⁻ᵀ of them by the leading triangle.
  void backward(int g, int rows, const T* l, Stride ldl, T* v) const {
    each([&](int vectors, int c) {
      detail::panel_kernels<T>.backward[vectors][g - 1](rows, l, ldl, v + c, ld);
    });
  }
  // v (rows) −= L y (g rows)
  void product(int g, int rows, const T* l, Stride ldl, const T* y, T* v) const {
    each([&](int vectors, int c) {
      detail::panel_kernels<T>.product[vectors][g - 1](rows, l, ldl, y + c, v + c, ld);
    });
  }
  // y (g rows) −= Lᵀ v (rows)
  void transposed(int g, int rows, const T* l, Stride ldl, const T* v, T* y) const {
    each([&](int vectors, int c) {
      detail::panel_kernels<T>.transposed[vectors][g - 1](rows, l, ldl, v + c, y + c, ld);
    });
  }

  // v := consecutive rows of x
  void read(int rows, const T* x, T* v) const {
    if (k == 1 && step == 1) return detail::copy_run(rows, x, v);
    for (int i = 0; i < rows; ++i) read_row(x + i * step, v + i * ld);
  }
  // v := 0, up to a register beyond the last row
  void clear(int rows, T* v) const {
    for (Stride i = 0; i < rows * ld; i += S::width) S::store(v + i, S::zero());
  }
  // Room for v of that many rows.
  std::size_t room(int rows) const { return std::size_t(rows) * ld + S::width; }
  // v := listed rows of x
  void gather(int rows, const Index* list, const T* x, T* v) const {
    if (k == 1 && step == 1) {
      for (int i = 0; i < rows; ++i) v[i] = x[list[i]];
      return;
    }
    for (int i = 0; i < rows; ++i) read_row(x + list[i] * step, v + i * ld);
  }
  // consecutive rows of x := v
  void write(int rows, const T* v, T* x) const {
    if (k == 1 && step == 1) return detail::copy_run(rows, v, x);
    for (int i = 0; i < rows; ++i) {
      int c = 0;
      for (; c + S::width <= k; c += S::width) S::store(x + i * step + c, S::load(v + i * ld + c));
      if (c < k) {
        const auto mask = S::first(k - c);
        S::store(x + i * step + c, S::load(v + i * ld + c, mask), mask);
      }
    }
  }
  // listed rows of x += v
  void scatter(int rows, const Index* list, const T* v, T* x) const {
    for (int i = 0; i < rows; ++i)
      for (int c = 0; c < k; ++c) x[list[i] * step + c] += v[i * ld + c];
  }
  // rows of v listed += those of another such block
  void add(int rows, const Index* list, const T* from, T* v) const {
    if (k == 1) {
      for (int i = 0; i < rows; ++i) v[list[i]] += from[i];
      return;
    }
    const auto one = S::broadcast(T(1));
    for (int i = 0; i < rows; ++i)
      for (Stride c = 0; c < ld; c += S::width) {
        T* to = v + list[i] * ld + c;
        S::store(to, S::multiply_add(S::load(from + i * ld + c), one, S::load(to)));
      }
  }

 private:
  template <class F>
  void each(F&& f) const {
    if (k == 1) return f(0, 0);
    constexpr int most = kRowVectors * S::width;
    for (int c = 0; c < ld; c += most) f(ld - c >= most ? kRowVectors : 1, c);
  }
  void read_row(const T* x, T* v) const {
    int c = 0;
    for (; c + S::width <= k; c += S::width) S::store(v + c, S::load(x + c));
    if (c == k) return;
    if (k == 1)
      *v = *x;
    else
      S::store(v + c, S::load(x + c, S::first(k - c)));
  }
};

// Panels from this size on are worked through in blocks of columns, whose rows below are shared
// among threads. A matter of the plan alone: sums come out the same whoever works on them.
inline constexpr Stride kWidePanel = 1 << 15;
inline constexpr int kWideBlock = 64;
inline constexpr int kWideRows = 256;

inline bool is_wide(const Node& node) { return Stride(node.m) * node.w >= kWidePanel; }

// visit(j, g): groups of columns first .. last−1, from the first on or from the last on.
template <class F>
inline void groups_forward(int first, int last, F&& visit) {
  for (int j = first; j < last; j += kGroup) visit(j, std::min(kGroup, last - j));
}
template <class F>
inline void groups_backward(int first, int last, F&& visit) {
  for (int j = first + (last - first - 1) / kGroup * kGroup; j >= first; j -= kGroup)
    visit(j, std::min(kGroup, last - j));
}

// v (m rows): own rows := L⁻¹ of them, rows below −= L times those.
template <class T>
void forward_panel(const Columns<T>& b, const Node& node, const T* l, T* v, const Crew& crew) {
  const int m = node.m;
  const auto triangle = [&](int first, int last, int end) {
    groups_forward(first, last, [&](int j, int g) {
      b.forward(g, end - j, l + j + Stride(j) * m, m, v + j * b.ld);
    });
  };
  if (!is_wide(node) || (crew.team == nullptr && b.k == 1)) return triangle(0, node.w, m);
  for (int j0 = 0; j0 < node.w; j0 += kWideBlock) {
    const int j1 = std::min(node.w, j0 + kWideBlock);
    triangle(j0, j1, j1);
    crew.parallel_for((m - j1 + kWideRows - 1) / kWideRows, [&](int piece, int) {
      const int i = j1 + piece * kWideRows;
      groups_forward(j0, j1, [&](int j, int g) {
        b.product(g, std::min(kWideRows, m - i), l + i + Stride(j) * m, m, v + j * b.ld,
                  v + i * b.ld);
      });
    });
  }
}

// v (m rows): own rows −= Lᵀ times the rows below, then := L⁻ᵀ of them.
template <class T>
void backward_panel(const Columns<T>& b, const Node& node, const T* l, T* v, const Crew& crew) {
  const int m = node.m;
  const auto triangle = [&](int first, int last, int end) {
    groups_backward(first, last, [&](int j, int g) {
      b.backward(g, end - j, l + j + Stride(j) * m, m, v + j * b.ld);
    });
  };
  if (!is_wide(node)) return triangle(0, node.w, m);
  for (int j0 = (node.w - 1) / kWideBlock * kWideBlock; j0 >= 0; j0 -= kWideBlock) {
    const int j1 = std::min(node.w, j0 + kWideBlock);
    crew.parallel_for((j1 - j0 + kGroup - 1) / kGroup, [&](int group, int) {
      const int j = j0 + group * kGroup;
      b.transposed(std::min(kGroup, j1 - j), m - j1, l + j1 + Stride(j) * m, m, v + j1 * b.ld,
                   v + j * b.ld);
    });
    triangle(j0, j1, j1);
  }
}

}  // namespace cholax::CHOLAX_TARGET
