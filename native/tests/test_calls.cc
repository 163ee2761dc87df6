// Kernels by name, without XLA: attributes by name, batches, adjoint zeros, failures as statuses.
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "../calls/table.h"
#include "../calls/traced.h"
#include "../core/plain_threads.h"
#include "check.h"
#include "values.h"

using namespace cholax;
using namespace cholax::calls;
using cholax::testing::as;
using cholax::testing::unset;
using cholax::testing::Values;

namespace {

// The lower triangle of [[4, 2], [2, 5]], whose factor is [[2, 0], [1, 2]].
const std::vector<Index> kPtr = {0, 2, 3}, kRow = {0, 1, 1};
const Values kValues = {4, 2, 5}, kFactor = {2, 1, 2};

Structure plan() { return plan_from_factor(2, kPtr.data(), kRow.data()); }

template <class T>
struct Operand {
  std::vector<T> values;
  std::vector<std::int64_t> dims;
};

template <class T>
Call make_call(const Kernel& kernel, std::vector<Operand<T>>& operands) {
  Call call(*kernel.signature);
  call.threads = own_threads();
  for (std::size_t i = 0; i < operands.size(); ++i) {
    const auto& dims = operands[i].dims;
    fill_slot(operands[i].values.data(), dims.data(), static_cast<int>(dims.size()),
              kernel.signature->operands[i], call.in[i]);
  }
  return call;
}

template <class T>
constexpr ValueType type_of() {
  return sizeof(T) == 8 ? ValueType::kDouble : ValueType::kSingle;
}

template <class T>
void test_cholesky_names_the_member_that_failed() {
  check::where = "cholesky";
  const Kernel& kernel = *find_kernel("cholesky");
  std::vector<Operand<T>> operands = {{as<T>({4, 2, 5, 4, 2, -5}), {2, 3}}};
  std::vector<T> l = unset<T>(6);
  std::vector<std::int32_t> status(2, -1);
  for (bool raise : {false, true}) {
    Call call = make_call(kernel, operands);
    const std::int64_t members = 2, size = 3, wide[] = {members, size};
    call.batch = fill_slot(l.data(), wide, 2, 1, call.out[0]);
    fill_slot(status.data(), &members, 1, 0, call.out[1]);
    call.set_flag("throw", raise);
    const Status ended = kernel.run(plan(), call, type_of<T>());
    CHECK(ended.code == (raise ? Status::kFailed : Status::kOk));
    CHECK(!raise || ended.message.find("row 1") != std::string::npos);
    CHECK(!raise || ended.message.find("batch member 1") != std::string::npos);
    for (int k = 0; k < 3; ++k) CHECK(l[k] == T(kFactor[k]));
    CHECK(status[0] == 0 && status[1] == 2);
  }
}

template <class T>
void test_an_adjoint_is_zero_where_its_operand_is() {
  check::where = "adjoint";
  const Kernel& kernel = *find_kernel("triangular_solve");
  const T nan = std::numeric_limits<T>::quiet_NaN();
  std::vector<Operand<T>> operands = {{{nan, nan, nan}, {3}}, {as<T>({0, 1, 0, 2}), {2, 2}}};
  for (bool transpose : {false, true}) {
    std::vector<T> x = unset<T>(4);
    Call call = make_call(kernel, operands);
    const std::int64_t dims[] = {2, 2};
    call.batch = fill_slot(x.data(), dims, 2, 2, call.out[0]);
    call.set_flag("transpose", transpose);
    call.linear = 2;
    CHECK(kernel.run(plan(), call, type_of<T>()).ok());
    CHECK(x[0] == 0 && x[2] == 0 && std::isnan(x[1]) && std::isnan(x[3]));
  }
}

void test_roles_and_undeclared_attributes() {
  check::where = "attributes";
  const Kernel& kernel = *find_kernel("contract");
  CHECK(kernel.signature->flags.empty() && kernel.signature->lists.size() == 1);
  Triples triples;
  for (int i = 0; i < 3; ++i) triples.sizes[i] = 2;
  triples.index[0] = {0, 1};
  triples.index[1] = {1, 1};
  triples.index[2] = {1, 0};
  std::vector<Operand<double>> operands = {{{2, 3}, {2}}, {{5, 7}, {2}}};
  Values out(2, -1);
  Call call = make_call(kernel, operands);
  const std::int64_t dims[] = {2};
  fill_slot(out.data(), dims, 1, 1, call.out[0]);
  call.set_list("roles", {0, 1, 2});
  CHECK(kernel.run(triples, call, ValueType::kDouble).ok());
  CHECK(out[0] == 21 && out[1] == 14);
  CHECK_THROWS(call.set_flag("transpose", true), std::invalid_argument, "transpose");
  CHECK(kernel.run(plan(), call, ValueType::kDouble).code == Status::kInternal);
}

void test_kernels_have_names_and_counts() {
  check::where = "table";
  CHECK(find_kernel("nothing") == nullptr);
  CHECK(call_counts().size() == kernels().size());
  for (const Kernel& kernel : kernels()) CHECK(find_kernel(kernel.name) == &kernel);
}

void test_traced_index_arrays() {
  check::where = "traced";
  const Indices ptr{kPtr.data(), kPtr.size()}, row{kRow.data(), kRow.size()};
  const auto one = traced_plan(ptr, row, 3, true);
  CHECK(one == traced_plan(ptr, row, 3, true) && one->n == 2);
  CHECK_THROWS(traced_plan(ptr, row, 4, true), std::invalid_argument, "L_nse");
  CHECK_THROWS(traced_entry_map(row, 1), std::invalid_argument, "outside");
  std::vector<Index> places(3);
  locate_entries(ptr, row, ptr, row, places.data());
  CHECK(places == std::vector<Index>({0, 1, 2}));
}

void test_symbolic_factor() {
  check::where = "symbolic factor";
  const auto plan = plan_from_factor(2, kPtr.data(), kRow.data());
  const SymbolicFactor& factor = *plan;
  CHECK(factor.kind == FactorKind::kLlt && std::string(name_of(factor.kind)) == "llt");
  CHECK(factor.n == 2 && factor.size == 3 && factor.perm == std::vector<Index>({0, 1}));
  CHECK(factor.memory() >= std::int64_t(sizeof(Index) * (4 * 2 + 3 * 4)));
}

}  // namespace

int main() {
  test_cholesky_names_the_member_that_failed<double>();
  test_cholesky_names_the_member_that_failed<float>();
  test_an_adjoint_is_zero_where_its_operand_is<double>();
  test_an_adjoint_is_zero_where_its_operand_is<float>();
  test_roles_and_undeclared_attributes();
  test_kernels_have_names_and_counts();
  test_traced_index_arrays();
  test_symbolic_factor();
  return check::finish();
}
