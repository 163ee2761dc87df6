// The factor kernels against their formulas on dense matrices: every instruction set this machine
// has, alone and with several threads.
#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "../core/plain_threads.h"
#include "../cpu/kernels.h"
#include "../cpu/log_determinant.h"
#include "../cpu/node.h"
#include "../symbolic/amd.h"
#include "problem.h"

using namespace cholax;
using namespace cholax::testing;

namespace {

constexpr double kTaskCost = 50;  // so that small trees are divided as well

template <class T>
void poison(T* data, std::size_t size) {
  std::fill_n(data, size, std::numeric_limits<T>::quiet_NaN());
}

// How the kernels are run: from which table and by how many threads.
struct Manner {
  int target = 0;  // place in available_kernels()
  int threads = 1;
};
Manner manner;

template <class T>
const PlanKernels<T>& table() {
  return *available_kernels<T>()[manner.target];
}

// A session whose scratch memory is full of NaN: whatever a kernel reads without having written it
// shows.
template <class T>
class Poisoned {
 public:
  explicit Poisoned(const Plan& plan, int columns = 0)
      : team_(plain_threads(manner.threads), 0), session_(manner.threads > 1 ? &team_ : nullptr) {
    const std::size_t work = square(std::max(plan.max_front, columns) + 64);
    for (int t = 0; t < manner.threads; ++t) {
      Scratch<T>& scratch = session_.scratch(t);
      for (int side : {0, 1}) {
        const auto size = std::max(plan.whole.stack[side], plan.parts.stack[side]);
        poison(scratch.stack[side].reserve(size), size);
      }
      for (Buffer<T>& buffer : scratch.work) poison(buffer.reserve(work), work);
    }
  }
  operator Work<T>() { return {&session_, 0, manner.threads > 1}; }  // NOLINT: implicit

 private:
  Team team_;
  Session<T> session_;
};

template <class T>
using BinaryKernel = void(const Plan&, const Work<T>&, const T*, const T*, T*);

template <class T>
std::vector<T> apply(BinaryKernel<T>* kernel, const Plan& plan, const std::vector<T>& l,
                     const Values& x) {
  Poisoned<T> session(plan);
  std::vector<T> out = unset<T>(plan.size);
  kernel(plan, session, l.data(), as<T>(x).data(), out.data());
  return out;
}

template <class T>
void test_factor(const Problem& p) {
  Poisoned<T> session(*p.plan);
  std::vector<T> l = unset<T>(p.plan->size);
  CHECK(table<T>().cholesky(*p.plan, session, as<T>(p.values).data(), l.data()) == 0);
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
  const std::vector<T> c = apply<T>(table<T>().cholesky_tangent, plan, l, p.w);
  CHECK_CLOSE(c, p.truth.tangent);
  const std::vector<T> ct = apply<T>(table<T>().cholesky_cotangent, plan, l, p.x);
  CHECK_CLOSE(ct, p.truth.cotangent);
  CHECK_CLOSE((std::vector<T>{T(inner(c, p.x))}), (Values{inner(ct, p.w)}));
  const std::vector<T> s = apply<T>(table<T>().symmetric_product, plan, l, p.x);
  CHECK_CLOSE(s, p.truth.product);
  const std::vector<T> st = apply<T>(table<T>().symmetric_product_transpose, plan, l, p.w);
  CHECK_CLOSE(st, p.truth.product_transpose);
  CHECK_CLOSE((std::vector<T>{T(inner(s, p.w))}), (Values{inner(st, p.x)}));

  Poisoned<T> session(plan);
  std::vector<T> z = unset<T>(plan.size);
  table<T>().selected_inverse(plan, session, l.data(), z.data());
  CHECK_CLOSE(z, p.truth.weighted_inverse);
  std::vector<T> in_place = l;
  table<T>().selected_inverse(plan, session, in_place.data(), in_place.data());
  CHECK(in_place == z);
}

// Needs no closed pattern: any lower triangular L will do.
template <class T>
void test_right_hand_sides(const Plan& plan, const Layout& layout, const Matrix& dense_l,
                           const Matrix& inverse, int k) {
  Random random(13);
  const Values u = random.vector(std::size_t(plan.n) * k), v = random.vector(u.size());
  const Matrix dense_u = rows_of(u, plan.n, k), dense_v = rows_of(v, plan.n, k);
  const std::vector<T> l = as<T>(layout.panels(dense_l));
  Poisoned<T> session(plan, k);
  std::vector<T> x = as<T>(u);
  table<T>().solve_lower(plan, session, l.data(), k, x.data());
  CHECK_CLOSE(x, flat(inverse * dense_u));
  x = as<T>(u);
  table<T>().solve_lower_transposed(plan, session, l.data(), k, x.data());
  CHECK_CLOSE(x, flat(inverse.transpose() * dense_u));
  std::vector<T> y = unset<T>(u.size());
  table<T>().multiply_lower(plan, session, l.data(), k, as<T>(u).data(), y.data());
  CHECK_CLOSE(y, flat(dense_l * dense_u));
  y = unset<T>(u.size());
  table<T>().multiply_lower_transposed(plan, session, l.data(), k, as<T>(u).data(), y.data());
  CHECK_CLOSE(y, flat(dense_l.transpose() * dense_u));
  std::vector<T> outer = unset<T>(plan.size);
  table<T>().outer_on_factor(plan, session, k, as<T>(u).data(), as<T>(v).data(), outer.data());
  CHECK_CLOSE(outer, layout.panels(dense_u * dense_v.transpose()));
}

// A factor that is NaN, as after a failure, makes every result NaN.
template <class T>
void test_failure_spreads(const Problem& p) {
  const Plan& plan = *p.plan;
  const std::vector<T> l = unset<T>(plan.size);
  CHECK(plan.n == 0 || std::isnan(log_determinant(plan, l.data())));
  Poisoned<T> session(plan);
  std::vector<T> x(plan.n, T(1)), z(plan.size);
  table<T>().solve_lower(plan, session, l.data(), 1, x.data());
  table<T>().solve_lower_transposed(plan, session, l.data(), 1, x.data());
  table<T>().selected_inverse(plan, session, l.data(), z.data());
  CHECK(all_nan(x));
  for (std::size_t i = 0; i < z.size(); ++i) CHECK(std::isnan(z[i]) != p.layout.padding(i));
}

template <class T>
void test_one_bad_entry(const Problem& p, Index entry, double bad, Index column) {
  std::vector<T> values = as<T>(p.values), l(p.plan->size);
  values[entry] = T(bad);
  Poisoned<T> session(*p.plan);
  const std::int32_t status = table<T>().cholesky(*p.plan, session, values.data(), l.data());
  CHECK(status == column + 1);
  CHECK(all_nan(l));
  // The same scratch serves the next member of a batch.
  CHECK(table<T>().cholesky(*p.plan, session, as<T>(p.values).data(), l.data()) == 0);
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

// Of two bad pivots the first is reported.
template <class T>
void test_first_of_two_bad_pivots() {
  check::where = "two bad pivots";
  const Lower a = make_lower(60, [](Index, Index) { return true; });
  Problem p(a, analyze(a.n, a.ptr.data(), a.row.data(), nullptr));
  p.values[a.ptr[40]] = -1;
  p.values[a.ptr[20]] = std::numeric_limits<double>::infinity();
  std::vector<T> l(p.plan->size);
  Poisoned<T> session(*p.plan);
  CHECK(table<T>().cholesky(*p.plan, session, as<T>(p.values).data(), l.data()) ==
        p.plan->perm[20] + 1);
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
  Poisoned<T> session(*plan);
  const char* reason = "closed under fill";
  CHECK_THROWS(table<T>().cholesky(*plan, session, panels.data(), out.data()),
               std::invalid_argument, reason);
  CHECK_THROWS(table<T>().selected_inverse(*plan, session, panels.data(), out.data()),
               std::invalid_argument, reason);
  for (BinaryKernel<T>* kernel :
       {table<T>().cholesky_tangent, table<T>().cholesky_cotangent, table<T>().symmetric_product,
        table<T>().symmetric_product_transpose})
    CHECK_THROWS(apply(kernel, *plan, panels, Values(plan->size)), std::invalid_argument, reason);
}

// Both dtypes, every instruction set, one thread and three.
template <class Test>
void in_every_manner(Test&& test) {
  for (int target = 0; target < static_cast<int>(available_kernels<double>().size()); ++target)
    for (const int threads : {1, 3}) {
      manner = {target, threads};
      test(double());
      test(float());
    }
}

// Threads change nothing, not even the last bit.
template <class T>
void test_threads_agree(const Problem& p) {
  const std::vector<T> values = as<T>(p.values), w = as<T>(p.w);
  std::vector<std::vector<T>> seen;
  for (const int threads : {1, 2, 3}) {
    manner.threads = threads;
    Poisoned<T> session(*p.plan);
    std::vector<T> l(p.plan->size), z(l.size()), c(l.size()), ct(l.size());
    table<T>().cholesky(*p.plan, session, values.data(), l.data());
    table<T>().selected_inverse(*p.plan, session, l.data(), z.data());
    table<T>().cholesky_tangent(*p.plan, session, l.data(), w.data(), c.data());
    table<T>().cholesky_cotangent(*p.plan, session, l.data(), w.data(), ct.data());
    for (const auto* part : {&z, &c, &ct}) l.insert(l.end(), part->begin(), part->end());
    seen.push_back(l);
    CHECK(seen.front() == seen.back());
  }
}

std::vector<Problem> problems(const Lower& a) {
  const Index *ptr = a.ptr.data(), *row = a.row.data();
  const std::vector<Index> random = shuffled(a.n, 11), reduced = amd(a.n, ptr, row);
  std::vector<Problem> out;
  for (const Index* perm : {static_cast<const Index*>(nullptr), random.data(), reduced.data()})
    for (const bool to_postorder : {false, true})
      for (const bool supernodal : {false, true})
        out.emplace_back(a,
                         analyze(a.n, ptr, row, perm, {to_postorder, supernodal, {}, kTaskCost}));
  const Lower l = exact_pattern(*analyze(a.n, ptr, row, nullptr, {false, false, {}}));
  out.emplace_back(l, plan_from_factor(l.n, l.ptr.data(), l.row.data()));
  return out;
}

void test_case(const Case& c) {
  check::where = c.name;
  for (const Problem& p : problems(c.a))
    in_every_manner([&](auto zero) {
      test_problem<decltype(zero)>(p);
      test_threads_agree<decltype(zero)>(p);
    });
  in_every_manner([&](auto zero) { test_open<decltype(zero)>(c.a); });
}

// Two dense blocks of `left` and `right` columns under a dense separator that ends at column n.
void test_large_fronts(Index left, Index right, Index n) {
  check::where = "large fronts";
  const auto block = [&](Index i) { return i < left ? 0 : i < left + right ? 1 : 2; };
  const Lower a =
      make_lower(n, [&](Index i, Index j) { return block(i) == 2 || block(i) == block(j); });
  const Problem p(a,
                  analyze(a.n, a.ptr.data(), a.row.data(), nullptr, {true, true, {}, kTaskCost}));
  in_every_manner([&](auto zero) {
    test_factor<decltype(zero)>(p);
    test_derivatives<decltype(zero)>(p);
    test_threads_agree<decltype(zero)>(p);
  });
}

}  // namespace

int main() {
  for (const Case& c : cases(10)) test_case(c);
  test_large_fronts(150, 150, 450);  // packed products, several blocks to a supernode
  test_large_fronts(560, 40, 660);   // several blocks of the selected inverse
  in_every_manner([](auto zero) { test_first_of_two_bad_pivots<decltype(zero)>(); });
  return check::finish();
}
