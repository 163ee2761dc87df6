#include "python/calls.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/unordered_map.h>
#include <nanobind/stl/vector.h>

#include <new>
#include <stdexcept>
#include <string>
#include <unordered_map>

#include "calls/table.h"
#include "calls/traced.h"
#include "core/plain_threads.h"
#include "python/arrays.h"
#include "python/handle.h"

namespace cholax {
namespace {

using namespace nb::literals;
using Operand = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using Result = nb::ndarray<nb::c_contig, nb::device::cpu>;

calls::ValueType value_type(const nb::dlpack::dtype& dtype) {
  if (dtype == nb::dtype<double>()) return calls::ValueType::kDouble;
  if (dtype == nb::dtype<float>()) return calls::ValueType::kSingle;
  throw std::invalid_argument("cholax: kernels take float32 or float64 values only.");
}

template <class Array>
std::int64_t fill_slot(const Array& array, int rank, calls::Slot& slot) {
  const int ndim = static_cast<int>(array.ndim());
  if (ndim < rank) throw std::invalid_argument("cholax: an array has too few dimensions.");
  std::vector<std::int64_t> dims;
  for (int d = 0; d < ndim; ++d) dims.push_back(static_cast<std::int64_t>(array.shape(d)));
  return calls::fill_slot(const_cast<void*>(static_cast<const void*>(array.data())), dims.data(),
                          ndim, rank, slot);
}

// The batch is that of the results; operands have the same or none.
void lay_out(const calls::Signature& signature, const std::vector<Operand>& operands,
             const std::vector<Result>& results, calls::Call& call) {
  if (operands.size() != call.in.size() || results.size() != call.out.size())
    throw std::invalid_argument("cholax: a kernel was given the wrong number of arrays.");
  for (std::size_t i = 0; i < results.size(); ++i) {
    const std::int64_t members = fill_slot(results[i], signature.results[i], call.out[i]);
    if (i > 0 && members != call.batch)
      throw std::invalid_argument("cholax: the results of a kernel have different batches.");
    call.batch = members;
  }
  for (std::size_t i = 0; i < operands.size(); ++i) {
    const std::int64_t members = fill_slot(operands[i], signature.operands[i], call.in[i]);
    if (call.in[i].step != 0 && members != call.batch)
      throw std::invalid_argument("cholax: the operands of a kernel have different batches.");
    if (operands[i].dtype() != operands[0].dtype())
      throw std::invalid_argument("cholax: the operands of a kernel have different dtypes.");
  }
}

void call_kernel(const std::string& name, const Handle& structure,
                 const std::vector<Operand>& operands, const std::vector<Result>& results,
                 const std::unordered_map<std::string, bool>& flags,
                 const std::unordered_map<std::string, std::vector<int>>& lists,
                 std::uint64_t linear) {
  const calls::Kernel* kernel = calls::find_kernel(name);
  if (kernel == nullptr) throw std::invalid_argument("cholax: there is no kernel " + name + ".");
  calls::Call call(*kernel->signature);
  lay_out(*kernel->signature, operands, results, call);
  if (flags.size() != kernel->signature->flags.size() ||
      lists.size() != kernel->signature->lists.size())
    throw std::invalid_argument("cholax: a kernel was given too many or too few attributes.");
  for (const auto& [flag, value] : flags) call.set_flag(flag, value);
  for (const auto& [list, value] : lists) call.set_list(list, value);
  call.linear = linear;
  call.threads = own_threads();
  const calls::ValueType type = value_type(operands.at(0).dtype());
  calls::Status ended;
  {
    nb::gil_scoped_release release;
    ended = kernel->run(*structure.structure, call, type);
  }
  switch (ended.code) {
    case calls::Status::kOk:
      return;
    case calls::Status::kOutOfMemory:
      throw std::bad_alloc();
    case calls::Status::kInvalid:
      throw std::invalid_argument(ended.message);
    default:
      throw std::runtime_error(ended.message);
  }
}

calls::Indices indices_of(const InIndices& a) { return {a.data(), a.shape(0)}; }

template <class T>
std::shared_ptr<const Structure> unnamed(T structure) {
  return std::make_shared<const Structure>(std::move(structure));
}

PlanHandle traced_plan(const InIndices& indptr, const InIndices& indices, std::int64_t size,
                       bool is_factor) {
  nb::gil_scoped_release release;
  return {{unnamed(calls::traced_plan(indices_of(indptr), indices_of(indices), size, is_factor))}};
}

Handle traced_entry_map(const InIndices& positions, std::int64_t size) {
  return {unnamed(calls::traced_entry_map(indices_of(positions), size))};
}

Handle traced_csc(const InIndices& indptr, const InIndices& indices, Index rows, Index columns,
                  bool symmetric) {
  return {unnamed(
      calls::traced_csc(indices_of(indptr), indices_of(indices), rows, columns, symmetric))};
}

nb::tuple symbolic(const PlanHandle& self) {
  const Plan& plan = self.plan();
  std::vector<Index> indptr(plan.n + 1), indices(plan.size), positions(plan.value_position.size());
  calls::symbolic(plan, indptr.data(), indices.data(), positions.data());
  return nb::make_tuple(to_numpy(std::move(indptr)), to_numpy(std::move(indices)),
                        to_numpy(std::move(positions)));
}

OutArray<Index> locate(const InIndices& indptr, const InIndices& indices,
                       const InIndices& out_indptr, const InIndices& out_indices) {
  std::vector<Index> positions(out_indices.shape(0));
  calls::locate_entries(indices_of(indptr), indices_of(indices), indices_of(out_indptr),
                        indices_of(out_indices), positions.data());
  return to_numpy(std::move(positions));
}

// name -> (ranks of operands, ranks of results, names of flags, names of lists)
nb::dict signatures() {
  nb::dict out;
  for (const auto& kernel : calls::kernels()) {
    const calls::Signature& s = *kernel.signature;
    out[kernel.name] = nb::make_tuple(s.operands, s.results, s.flags, s.lists);
  }
  return out;
}

nb::dict call_counts() {
  nb::dict out;
  const auto counts = calls::call_counts();
  for (std::size_t i = 0; i < counts.size(); ++i) out[calls::kernels()[i].name] = counts[i];
  return out;
}

}  // namespace

void bind_calls(nb::module_& m) {
  m.def("call", &call_kernel, "kernel"_a, "structure"_a, "operands"_a, "results"_a.noconvert(),
        "flags"_a, "lists"_a, "linear"_a);
  m.def("traced_plan", &traced_plan, "indptr"_a, "indices"_a, "size"_a, "is_factor"_a);
  m.def("traced_entry_map", &traced_entry_map, "positions"_a, "size"_a);
  m.def("traced_csc", &traced_csc, "indptr"_a, "indices"_a, "rows"_a, "columns"_a, "symmetric"_a);
  m.def("traced_symbolic", &symbolic, "plan"_a);
  m.def("traced_locate", &locate, "indptr"_a, "indices"_a, "out_indptr"_a, "out_indices"_a);
  m.def("signatures", &signatures);
  m.def("call_counts", &call_counts);
}

}  // namespace cholax
