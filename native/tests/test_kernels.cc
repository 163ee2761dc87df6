// The factor kernels against their formulas on dense matrices, with their own loops and with BLAS.
#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "../cpu/cholesky.h"
#include "../cpu/cholesky_cotangent.h"
#include "../cpu/cholesky_tangent.h"
#include "../cpu/log_determinant.h"
#include "../cpu/selected_inverse.h"
#include "../cpu/symmetric_product.h"
#include "../cpu/symmetric_product_transpose.h"
#include "../cpu/triangular_solve.h"
#include "../symbolic/amd.h"
#include "naive_blas.h"
#include "problem.h"

using namespace cholax;
using namespace cholax::testing;

namespace {

template <class T>
void poison(T* data, std::size_t size) {
  std::fill_n(data, size, std::numeric_limits<T>::quiet_NaN());
}

// Scratch memory full of NaN: whatever a kernel reads without having written it shows.
template <class T>
struct PoisonedScratch : Scratch<T> {
  explicit PoisonedScratch(const Plan& plan, int columns = 0) : Scratch<T>(plan) {
    poison(this->stack.data(), plan.stack_size);
    poison(this->front.data(), square(plan.max_below));
    const std::size_t work = square(std::max(plan.max_front, columns));
    for (Buffer<T>& buffer : this->work) poison(buffer.reserve(work), work);
  }
};

template <class T>
using BinaryKernel = void(const Plan&, Scratch<T>&, const T*, const T*, T*);

template <class T>
std::vector<T> apply(BinaryKernel<T>* kernel, const Plan& plan, const std::vector<T>& l,
                     const Values& x) {
  PoisonedScratch<T> scratch(plan);
  std::vector<T> out = unset<T>(plan.size);
  kernel(plan, scratch, l.data(), as<T>(x).data(), out.data());
  return out;
}

template <class T>
void test_factor(const Problem& p) {
  PoisonedScratch<T> scratch(*p.plan);
  std::vector<T> l = unset<T>(p.plan->size);
  CHECK(cholesky(*p.plan, scratch, as<T>(p.values).data(), l.data()) == 0);
  CHECK_CLOSE(l, p.truth.l);
  const double log_det = 2 * p.l.diagonal().array().log().sum();
  CHECK_CLOSE((std::vector<T>{log_determinant(*p.plan, l.data())}), (Values{log_det}));
}

template <class T>
double inner(const std::vector<T>& a, const Values& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += double(a[i]) * b[i];
  return sum;
}

template <class T>
void test_derivatives(const Problem& p) {
  const Plan& plan = *p.plan;
  const std::vector<T> l = as<T>(p.truth.l);
  const std::vector<T> c = apply<T>(cholesky_tangent, plan, l, p.w);
  CHECK_CLOSE(c, p.truth.tangent);
  const std::vector<T> ct = apply<T>(cholesky_cotangent, plan, l, p.x);
  CHECK_CLOSE(ct, p.truth.cotangent);
  CHECK_CLOSE((std::vector<T>{T(inner(c, p.x))}), (Values{inner(ct, p.w)}));
  const std::vector<T> s = apply<T>(symmetric_product, plan, l, p.x);
  CHECK_CLOSE(s, p.truth.product);
  const std::vector<T> st = apply<T>(symmetric_product_transpose, plan, l, p.w);
  CHECK_CLOSE(st, p.truth.product_transpose);
  CHECK_CLOSE((std::vector<T>{T(inner(s, p.w))}), (Values{inner(st, p.x)}));

  PoisonedScratch<T> scratch(plan);
  std::vector<T> z = unset<T>(plan.size);
  selected_inverse(plan, scratch, l.data(), z.data());
  CHECK_CLOSE(z, p.truth.weighted_inverse);
}

// Needs no closed pattern: any lower triangular L will do.
template <class T>
void test_right_hand_sides(const Plan& plan, const Layout& layout, const Matrix& dense_l,
                           const Matrix& inverse, int k) {
  Random random(13);
  const Values u = random.vector(std::size_t(plan.n) * k), v = random.vector(u.size());
  const Matrix dense_u = rows_of(u, plan.n, k), dense_v = rows_of(v, plan.n, k);
  const std::vector<T> l = as<T>(layout.panels(dense_l));
  PoisonedScratch<T> scratch(plan, k);
  std::vector<T> x = as<T>(u);
  solve_lower(plan, scratch, l.data(), k, x.data());
  CHECK_CLOSE(x, flat(inverse * dense_u));
  x = as<T>(u);
  solve_lower_transposed(plan, scratch, l.data(), k, x.data());
  CHECK_CLOSE(x, flat(inverse.transpose() * dense_u));
  std::vector<T> y = unset<T>(u.size());
  multiply_lower(plan, scratch, l.data(), k, as<T>(u).data(), y.data());
  CHECK_CLOSE(y, flat(dense_l * dense_u));
  y = unset<T>(u.size());
  multiply_lower_transposed(plan, scratch, l.data(), k, as<T>(u).data(), y.data());
  CHECK_CLOSE(y, flat(dense_l.transpose() * dense_u));
  std::vector<T> outer = unset<T>(plan.size);
  outer_on_factor(plan, scratch, k, as<T>(u).data(), as<T>(v).data(), outer.data());
  CHECK_CLOSE(outer, layout.panels(dense_u * dense_v.transpose()));
}

// A factor that is NaN, as after a failure, makes every result NaN.
template <class T>
void test_failure_spreads(const Problem& p) {
  const Plan& plan = *p.plan;
  const std::vector<T> l = unset<T>(plan.size);
  CHECK(plan.n == 0 || std::isnan(log_determinant(plan, l.data())));
  PoisonedScratch<T> scratch(plan);
  std::vector<T> x(plan.n, T(1)), z(plan.size);
  solve_lower(plan, scratch, l.data(), 1, x.data());
  solve_lower_transposed(plan, scratch, l.data(), 1, x.data());
  selected_inverse(plan, scratch, l.data(), z.data());
  CHECK(all_nan(x));
  for (std::size_t i = 0; i < z.size(); ++i) CHECK(std::isnan(z[i]) != p.layout.padding(i));
}

template <class T>
void test_one_bad_entry(const Problem& p, Index entry, double bad, Index column) {
  std::vector<T> values = as<T>(p.values), l(p.plan->size);
  values[entry] = T(bad);
  PoisonedScratch<T> scratch(*p.plan);
  const std::int32_t status = cholesky(*p.plan, scratch, values.data(), l.data());
  CHECK(status == column + 1);
  CHECK(all_nan(l));
  // The same scratch serves the next member of a batch.
  CHECK(cholesky(*p.plan, scratch, as<T>(p.values).data(), l.data()) == 0);
  CHECK_CLOSE(l, p.truth.l);
}

// Entry (i, j) bad: nothing fails before its later column (in the factor's order), which does.
template <class T>
void test_status(const Problem& p) {
  const double infinity = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Index step = 1 + p.a.n / 4;
  for (Index j = 0; j < p.a.n; j += step) {
    const Index diagonal = p.a.ptr[j], last = p.a.ptr[j + 1] - 1, i = p.a.row[last];
    for (const double bad : {0., -1., -infinity, infinity, nan})
      test_one_bad_entry<T>(p, diagonal, bad, j);
    if (last == diagonal) continue;
    const Index later = p.plan->iperm[i] > p.plan->iperm[j] ? i : j;
    for (const double bad : {1e4, infinity, nan}) test_one_bad_entry<T>(p, last, bad, later);
  }
}

// An infinite pivot before a negative one is reported, although LAPACK stops at the negative one.
template <class T>
void test_first_of_two_bad_pivots() {
  check::where = "two bad pivots";
  const Lower a = make_lower(60, [](Index, Index) { return true; });
  Problem p(a, analyse(a.n, a.ptr.data(), a.row.data(), nullptr));
  p.values[a.ptr[40]] = -1;
  p.values[a.ptr[20]] = std::numeric_limits<double>::infinity();
  std::vector<T> l(p.plan->size);
  PoisonedScratch<T> scratch(*p.plan);
  CHECK(cholesky(*p.plan, scratch, as<T>(p.values).data(), l.data()) == p.plan->perm[20] + 1);
}

template <class T>
void test_problem(const Problem& p) {
  test_factor<T>(p);
  test_derivatives<T>(p);
  for (const int k : {0, 1, 3, 33}) test_right_hand_sides<T>(*p.plan, p.layout, p.l, p.inverse, k);
  test_status<T>(p);
  test_failure_spreads<T>(p);
}

// A lower triangle that is not closed under fill: products and solves work, traversals refuse.
template <class T>
void test_open(const Lower& a) {
  const auto plan = plan_from_factor(a.n, a.ptr.data(), a.row.data());
  const Layout layout(*plan);
  Random random(17);
  Matrix l = layout.dense(random.vector(plan->size)) / 4;
  l.diagonal().array() += 2;
  l = l.cast<float>().cast<double>();
  for (const int k : {1, 3}) test_right_hand_sides<T>(*plan, layout, l, inverse_lower(l), k);
  if (plan->closed) return;
  const std::vector<T> panels = as<T>(layout.panels(l));
  std::vector<T> out(plan->size);
  PoisonedScratch<T> scratch(*plan);
  const char* reason = "closed under fill";
  CHECK_THROWS(cholesky(*plan, scratch, panels.data(), out.data()), std::invalid_argument, reason);
  CHECK_THROWS(selected_inverse(*plan, scratch, panels.data(), out.data()), std::invalid_argument,
               reason);
  for (BinaryKernel<T>* kernel : {cholesky_tangent<T>, cholesky_cotangent<T>, symmetric_product<T>,
                                  symmetric_product_transpose<T>})
    CHECK_THROWS(apply(kernel, *plan, panels, Values(plan->size)), std::invalid_argument, reason);
}

// Both dtypes, with the loops of dense.h and, where blocks are large enough, the stand-in BLAS.
template <class Test>
void for_every_dtype_and_blas(Index largest_block, Test&& test) {
  test(double());
  test(float());
  if (double(largest_block) * largest_block * largest_block <= dense::kBlasWork) return;
  NaiveBlas<double>::install();
  NaiveBlas<float>::install();
  test(double());
  test(float());
  NaiveBlas<double>::remove();
  NaiveBlas<float>::remove();
}

std::vector<Problem> problems(const Lower& a) {
  const Index *ptr = a.ptr.data(), *row = a.row.data();
  const std::vector<Index> random = shuffled(a.n, 11), reduced = amd(a.n, ptr, row);
  std::vector<Problem> out;
  for (const Index* perm : {static_cast<const Index*>(nullptr), random.data(), reduced.data()})
    for (const bool to_postorder : {false, true})
      for (const bool supernodal : {false, true})
        out.emplace_back(a, analyse(a.n, ptr, row, perm, {to_postorder, supernodal, {}}));
  const Lower l = exact_pattern(*analyse(a.n, ptr, row, nullptr, {false, false, {}}));
  out.emplace_back(l, plan_from_factor(l.n, l.ptr.data(), l.row.data()));
  return out;
}

void test_case(const Case& c) {
  check::where = c.name;
  for (const Problem& p : problems(c.a))
    for_every_dtype_and_blas(p.plan->max_front,
                             [&](auto zero) { test_problem<decltype(zero)>(p); });
  test_open<double>(c.a);
  test_open<float>(c.a);
}

// Fronts large enough for every BLAS call: two dense blocks under a dense separator.
Case large_fronts() {
  return {"large fronts",
          make_lower(110, [](Index i, Index j) { return i >= 70 || i / 35 == j / 35; })};
}

template <class T>
void test_blas_was_used() {
  check::where = "BLAS calls";
  for (const char* call : {"gemm NN", "gemm NT", "gemm TN", "symm LL", "syrk LN", "syr2k LN",
                           "trsm LN", "trsm RN", "trsm LT", "trsm RT", "potrf L"})
    CHECK(NaiveBlas<T>::calls.count(call) == 1);
  CHECK(NaiveBlas<T>::calls.size() == 11);
}

}  // namespace

int main() {
  for (const Case& c : cases(10)) test_case(c);
  test_case(large_fronts());
  for_every_dtype_and_blas(60, [](auto zero) { test_first_of_two_bad_pivots<decltype(zero)>(); });
  test_blas_was_used<double>();
  test_blas_was_used<float>();
  return check::finish();
}
