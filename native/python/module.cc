// The extension module: analysis for Python, and the FFI handlers as capsules for JAX.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <stdexcept>
#include <string>

#include "core/structure.h"
#include "core/team.h"
#include "cpu/kernels.h"
#include "ffi/handlers.h"
#include "python/arrays.h"
#include "python/calls.h"
#include "python/coloring.h"
#include "python/handle.h"
#include "symbolic/amd.h"
#include "symbolic/plan.h"
#include "symbolic/plan_queries.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace cholax {
namespace {

template <class T>
std::shared_ptr<const Structure> add(const std::string& digest, T structure) {
  return StructureRegistry::global().add(digest, std::make_shared<Structure>(std::move(structure)));
}

PlanHandle make_plan(const std::string& digest, Index n, const InIndices& indptr,
                     const InIndices& indices, const std::optional<InIndices>& perm, bool postorder,
                     bool supernodal) {
  AnalyzeOptions options;
  options.postorder = postorder;
  options.supernodal = supernodal;
  nb::gil_scoped_release release;
  return {{add(digest,
               analyze(n, indptr.data(), indices.data(), perm ? perm->data() : nullptr, options))}};
}

PlanHandle make_factor_plan(const std::string& digest, Index n, const InIndices& indptr,
                            const InIndices& indices) {
  nb::gil_scoped_release release;
  return {{add(digest, plan_from_factor(n, indptr.data(), indices.data()))}};
}

Handle make_entry_map(const std::string& digest, std::int64_t size, const InIndices& positions,
                      const std::optional<InDoubles>& weights) {
  EntryMap map{size, to_vector(positions), {}};
  if (weights) map.weights.assign(weights->data(), weights->data() + weights->shape(0));
  return {add(digest, std::move(map))};
}

Handle make_triples(const std::string& digest, const std::vector<std::int64_t>& sizes,
                    const InIndices& left, const InIndices& right, const InIndices& out) {
  Triples triples;
  for (int i = 0; i < 3; ++i) triples.sizes[i] = sizes.at(i);
  triples.index[0] = to_vector(left);
  triples.index[1] = to_vector(right);
  triples.index[2] = to_vector(out);
  return {add(digest, std::move(triples))};
}

Handle make_csc(const std::string& digest, Index rows, Index columns, bool symmetric,
                const InIndices& indptr, const InIndices& indices) {
  return {add(digest, Csc{rows, columns, symmetric, to_vector(indptr), to_vector(indices)})};
}

OutArray<Index> locate_entries(const PlanHandle& self, const InIndices& indptr,
                               const InIndices& indices) {
  std::vector<Index> positions(indices.shape(0));
  {
    nb::gil_scoped_release release;
    locate(self.plan(), static_cast<Index>(indptr.shape(0)) - 1, indptr.data(), indices.data(),
           positions.data());
  }
  return to_numpy(std::move(positions));
}

nb::tuple exact_lower_pattern(const PlanHandle& self) {
  const Plan& plan = self.plan();
  std::vector<Index> indptr(plan.n + 1), indices(plan.nnz_factor), positions(plan.nnz_factor);
  lower_pattern(plan, indptr.data(), indices.data(), positions.data());
  return nb::make_tuple(to_numpy(std::move(indptr)), to_numpy(std::move(indices)),
                        to_numpy(std::move(positions)));
}

nb::capsule handler_capsule(XLA_FFI_Handler* handler) {
  return nb::capsule(reinterpret_cast<void*>(handler));
}

// name -> (execute, execute_dynamic or None)
nb::dict handler_capsules() {
  nb::dict out;
  for (const auto& kernel : ffi::kernels())
    out[kernel.name] = nb::make_tuple(
        handler_capsule(kernel.execute),
        kernel.execute_dynamic ? nb::object(handler_capsule(kernel.execute_dynamic)) : nb::none());
  return out;
}

nb::dict index_handler_capsules() {
  nb::dict out;
  for (const auto& entry : ffi::index_handlers()) out[entry.name] = handler_capsule(entry.execute);
  return out;
}

nb::dict state_type() {
  nb::dict out;
  out["type_id"] = nb::capsule(reinterpret_cast<void*>(ffi::state_type_id()));
  out["type_info"] =
      nb::capsule(const_cast<void*>(reinterpret_cast<const void*>(ffi::state_type_info())));
  return out;
}

// The arrays of a plan, by name, as views.
nb::dict layout(const PlanHandle& self) {
  const Plan& p = self.plan();
  nb::dict out;
  const auto add = [&](const char* name, const auto& values) {
    out[name] = view(values, self.structure);
  };
  add("perm", p.perm);
  add("iperm", p.iperm);
  add("first_column", p.first_column);
  add("row_ptr", p.row_ptr);
  add("rows", p.rows);
  add("panel_ptr", p.panel_ptr);
  add("parent", p.parent);
  add("value_position", p.value_position);
  return out;
}

using OrderingFunction = std::vector<Index>(Index, const Index*, const Index*);

void bind_ordering(nb::module_& m, const char* name, OrderingFunction* order) {
  m.def(name, [order](Index n, const InIndices& indptr, const InIndices& indices) {
    std::vector<Index> perm;
    {
      nb::gil_scoped_release release;
      perm = order(n, indptr.data(), indices.data());
    }
    return to_numpy(std::move(perm));
  });
}

void bind_plan(nb::module_& m) {
  nb::class_<PlanHandle, Handle>(m, "Plan")
      .def_prop_ro("n", [](const PlanHandle& p) { return p.plan().n; })
      .def_prop_ro("size", [](const PlanHandle& p) { return p.plan().size; })
      .def_prop_ro("nnz_factor", [](const PlanHandle& p) { return p.plan().nnz_factor; })
      .def_prop_ro("flops", [](const PlanHandle& p) { return p.plan().flops; })
      .def_prop_ro("num_supernodes", [](const PlanHandle& p) { return p.plan().num_supernodes; })
      .def_prop_ro(
          "stack_size",
          [](const PlanHandle& p) { return p.plan().whole.stack[0] + p.plan().whole.stack[1]; })
      .def_prop_ro("closed", [](const PlanHandle& p) { return p.plan().closed; })
      .def_prop_ro("kind", [](const PlanHandle& p) { return name_of(p.plan().kind); })
      .def_prop_ro("memory", [](const PlanHandle& p) { return p.plan().memory(); })
      .def("layout", &layout)
      .def("locate", &locate_entries, "indptr"_a, "indices"_a)
      .def("lower_pattern", &exact_lower_pattern);
}

}  // namespace
}  // namespace cholax

NB_MODULE(_cholax, m) {
  using namespace cholax;
  // JAX's caches hold plans until the interpreter is gone; nanobind would call that a leak.
  nb::set_leak_warnings(false);
  nb::class_<Handle>(m, "Structure");
  bind_plan(m);
  bind_ordering(m, "amd", amd);
  bind_ordering(m, "amf", amf);
  bind_coloring(m);
  bind_calls(m);
  m.def("analyze", &make_plan, "digest"_a, "n"_a, "indptr"_a, "indices"_a, "perm"_a.none(),
        "postorder"_a, "supernodal"_a);
  m.def(
      "factor_cost",
      [](Index n, const InIndices& indptr, const InIndices& indices, const InIndices& perm) {
        const FactorCost cost = factor_cost(n, indptr.data(), indices.data(), perm.data());
        return nb::make_tuple(cost.nnz, cost.flops);
      },
      "n"_a, "indptr"_a, "indices"_a, "perm"_a);
  m.def("plan_from_factor", &make_factor_plan, "digest"_a, "n"_a, "indptr"_a, "indices"_a);
  m.def("entry_map", &make_entry_map, "digest"_a, "size"_a, "positions"_a, "weights"_a.none());
  m.def("triples", &make_triples, "digest"_a, "sizes"_a, "left"_a, "right"_a, "out"_a);
  m.def("csc", &make_csc, "digest"_a, "rows"_a, "columns"_a, "symmetric"_a, "indptr"_a,
        "indices"_a);
  m.def("thread_limit", &thread_limit);
  m.def("set_thread_limit", &set_thread_limit, "limit"_a);
  m.def("target", [] { return kernels<double>().target; });
  m.def("handlers", &handler_capsules);
  m.def("index_handlers", &index_handler_capsules);
  m.def("instantiate_handler", [] { return handler_capsule(ffi::instantiate_handler()); });
  m.def("state_type", &state_type);
  m.def("num_structures", [] { return StructureRegistry::global().size(); });
}
