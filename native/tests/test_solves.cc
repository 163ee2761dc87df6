// Triangular solves and products with L for every instruction set of this machine: against dense
// matrices, and bit for bit the same with one, two and three threads.
#include <cmath>
#include <functional>
#include <vector>

#include "../core/plain_threads.h"
#include "../cpu/kernels.h"
#include "../cpu/log_determinant.h"
#include "../symbolic/amd.h"
#include "problem.h"

using namespace cholax;
using namespace cholax::testing;

namespace {

// run(work) with so many threads.
template <class T, class Run>
void with_threads(int threads, Run&& run) {
  if (threads == 1) {
    Session<T> session;
    return run(Work<T>{&session, 0, false});
  }
  Team team(plain_threads(threads), 0);
  Session<T> session(&team);
  run(Work<T>{&session, 0, true});
}

// A kernel that takes k vectors u to as many others, and what they should be.
template <class T>
struct Kernel {
  std::function<void(const Work<T>&, const T* l, const T* u, int k, T* out)> run;
  std::function<Matrix(const Matrix& l, const Matrix& inverse, const Matrix& u)> truth;
};

template <class T>
std::vector<Kernel<T>> solve_kernels(const PlanKernels<T>& table, const Plan& plan) {
  const auto in_place = [&plan](auto kernel) {
    return [&plan, kernel](const Work<T>& work, const T* l, const T* u, int k, T* out) {
      std::copy_n(u, std::size_t(plan.n) * k, out);
      kernel(plan, work, l, k, out);
    };
  };
  const auto product = [&plan](auto kernel) {
    return [&plan, kernel](const Work<T>& work, const T* l, const T* u, int k, T* out) {
      kernel(plan, work, l, k, u, out);
    };
  };
  using M = const Matrix&;
  return {{in_place(table.solve_lower), [](M, M i, M u) -> Matrix { return i * u; }},
          {in_place(table.solve_lower_transposed),
           [](M, M i, M u) -> Matrix { return i.transpose() * u; }},
          {product(table.multiply_lower), [](M l, M, M u) -> Matrix { return l * u; }},
          {product(table.multiply_lower_transposed),
           [](M l, M, M u) -> Matrix { return l.transpose() * u; }}};
}

template <class T>
std::vector<T> result_of(const Kernel<T>& kernel, const std::vector<T>& l, const std::vector<T>& u,
                         int k, int threads) {
  std::vector<T> out = unset<T>(u.size());
  with_threads<T>(
      threads, [&](const Work<T>& work) { kernel.run(work, l.data(), u.data(), k, out.data()); });
  return out;
}

template <class T>
std::vector<T> outer_of(const PlanKernels<T>& table, const Plan& plan, const std::vector<T>& u,
                        const std::vector<T>& v, int k, int threads) {
  std::vector<T> out = unset<T>(plan.size);
  with_threads<T>(threads, [&](const Work<T>& work) {
    table.outer_on_factor(plan, work, k, u.data(), v.data(), out.data());
  });
  return out;
}

template <class T>
void test_kernel(const Kernel<T>& kernel, const Plan& plan, const std::vector<T>& l,
                 const Matrix& dense_l, const Matrix& inverse, int k) {
  Random random(13);
  const Values u = random.vector(std::size_t(plan.n) * k);
  const std::vector<T> input = as<T>(u);
  const std::vector<T> one = result_of(kernel, l, input, k, 1);
  const Matrix dense_u = rows_of(u, plan.n, k);
  CHECK_CLOSE(one, flat(kernel.truth(dense_l, inverse, dense_u)));
  for (const int threads : {2, 3}) CHECK(result_of(kernel, l, input, k, threads) == one);
}

template <class T>
void test_outer(const PlanKernels<T>& table, const Plan& plan, const Layout& layout, int k) {
  Random random(14);
  const Values u = random.vector(std::size_t(plan.n) * k), v = random.vector(u.size());
  const std::vector<T> left = as<T>(u), right = as<T>(v);
  const std::vector<T> one = outer_of(table, plan, left, right, k, 1);
  const Matrix dense = rows_of(u, plan.n, k) * rows_of(v, plan.n, k).transpose();
  CHECK_CLOSE(one, layout.panels(dense));
  for (const int threads : {2, 3}) CHECK(outer_of(table, plan, left, right, k, threads) == one);
}

template <class T>
void test_log_determinant(const Plan& plan, const std::vector<T>& l, const Matrix& dense_l) {
  const double wanted = 2 * dense_l.diagonal().array().log().sum();
  CHECK_CLOSE((std::vector<T>{log_determinant(plan, l.data())}), (Values{wanted}));
}

template <class T>
void test_plan(const Plan& plan, const Layout& layout, const Matrix& dense_l,
               const std::vector<int>& columns) {
  const Matrix inverse = inverse_lower(dense_l);
  const std::vector<T> l = as<T>(layout.panels(dense_l));
  test_log_determinant(plan, l, dense_l);
  for (const PlanKernels<T>* table : available_kernels<T>())
    for (const int k : columns) {
      for (const Kernel<T>& kernel : solve_kernels(*table, plan))
        test_kernel(kernel, plan, l, dense_l, inverse, k);
      test_outer(*table, plan, layout, k);
    }
}

// A lower triangle with the pattern of the plan and values of either dtype.
Matrix random_factor(const Layout& layout, const Plan& plan) {
  Random random(17);
  Matrix l = layout.dense(random.vector(plan.size)) / 4;
  l.diagonal().array() += 2;
  return l.cast<float>().cast<double>();
}

void test_both(const Plan& plan, const std::vector<int>& columns) {
  const Layout layout(plan);
  const Matrix l = random_factor(layout, plan) / (plan.n > 200 ? 8 : 1);
  test_plan<double>(plan, layout, l, columns);
  test_plan<float>(plan, layout, l, columns);
}

const std::vector<int> kEveryWidth{0, 1, 2, 3, 5, 8, 17, 33, 65};

void test_case(const Case& c) {
  check::where = c.name;
  const Index *ptr = c.a.ptr.data(), *row = c.a.row.data();
  const std::vector<Index> reduced = amd(c.a.n, ptr, row);
  test_both(*analyze(c.a.n, ptr, row, nullptr, {false, false, {}}), {1, 3});
  test_both(*analyze(c.a.n, ptr, row, nullptr), {1, 3});
  test_both(*analyze(c.a.n, ptr, row, reduced.data()), kEveryWidth);
  test_both(*plan_from_factor(c.a.n, ptr, row), {1, 3});  // open, most of them
}

// --- plans large enough to be shared among threads, with panels wide enough for blocks
// ------------

// visit(row, column, entry) for L's stored entries, columns in ascending order.
template <class Visit>
void for_each_entry(const Plan& plan, const Values& l, Visit&& visit) {
  for (Index s = 0; s < plan.num_supernodes; ++s) {
    const Node node = node_at(plan, s);
    for (int j = 0; j < node.w; ++j)
      for (int i = j; i < node.m; ++i)
        visit(node.rows[i], node.first + j, l[node.panel + i + Offset(j) * node.m]);
  }
}

// L with a diagonal near two and rows small beside it; zero above the diagonal of the blocks.
Values large_factor(const Plan& plan) {
  Random random(19);
  Values l(plan.size, 0.0);
  const double scale = 1 / std::sqrt(double(plan.max_front));
  for (Index s = 0; s < plan.num_supernodes; ++s) {
    const Node node = node_at(plan, s);
    for (int j = 0; j < node.w; ++j)
      for (int i = j; i < node.m; ++i)
        l[node.panel + i + Offset(j) * node.m] =
            float(i == j ? 2 + random.number() / 2 : scale * random.number());
  }
  return l;
}

Values plain_product(const Plan& plan, const Values& l, bool transposed, int k, const Values& x) {
  Values y(x.size(), 0.0);
  for_each_entry(plan, l, [&](Index i, Index j, double entry) {
    if (transposed) std::swap(i, j);
    for (int c = 0; c < k; ++c) y[std::size_t(i) * k + c] += entry * x[std::size_t(j) * k + c];
  });
  return y;
}

template <class T>
void test_large_outer(const PlanKernels<T>& table, const Plan& plan, int k) {
  const std::vector<T> u = as<T>(Random(29).vector(std::size_t(plan.n) * k));
  const std::vector<T> v = as<T>(Random(31).vector(u.size()));
  const std::vector<T> one = outer_of(table, plan, u, v, k, 1);
  for (const T& entry : one) CHECK(!std::isnan(entry));
  for (const int threads : {2, 3}) CHECK(outer_of(table, plan, u, v, k, threads) == one);
}

// A solve is right when the product takes it back to where it came from.
template <class T>
void test_large(const Plan& plan, const Values& factor, int k) {
  const std::vector<T> l = as<T>(factor);
  const Values given = Random(23).vector(std::size_t(plan.n) * k);
  const Values products[2] = {plain_product(plan, factor, false, k, given),
                              plain_product(plan, factor, true, k, given)};
  for (const PlanKernels<T>* table : available_kernels<T>()) {
    const auto kernels = solve_kernels(*table, plan);
    for (int i = 0; i < 4; ++i) {
      const bool solve = i < 2;
      const std::vector<T> input = as<T>(solve ? products[i] : given);
      const std::vector<T> one = result_of(kernels[i], l, input, k, 1);
      CHECK_CLOSE(one, solve ? given : products[i - 2]);
      for (const int threads : {2, 3}) CHECK(result_of(kernels[i], l, input, k, threads) == one);
    }
    test_large_outer(*table, plan, k);
  }
}

void test_large_case(const char* name, const Lower& a) {
  check::where = name;
  const Index *ptr = a.ptr.data(), *row = a.row.data();
  const std::vector<Index> reduced = amd(a.n, ptr, row);
  const auto plan = analyze(a.n, ptr, row, reduced.data());
  CHECK(plan->parts.begin.size() > 2);
  const Values factor = large_factor(*plan);
  for (const int k : {1, 2, 17, 33, 70}) {
    test_large<double>(*plan, factor, k);
    test_large<float>(*plan, factor, k);
  }
}

}  // namespace

int main() {
  for (const Case& c : cases(6)) test_case(c);
  test_large_case("large 2-D grid", grid_lower(140, 130, 1));
  test_large_case("large 3-D grid", grid_lower(17, 16, 16));
  return check::finish();
}
