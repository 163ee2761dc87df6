#include "calls/table.h"

#include <atomic>
#include <exception>
#include <new>
#include <type_traits>

#include "calls/adjoint.h"
#include "calls/kernels.h"

namespace cholax::calls {

namespace {

enum KernelIndex {
#define CHOLAX_KERNEL(name, kernel) k_##name,
#include "calls/kernels.def"
#undef CHOLAX_KERNEL
  kNumKernels
};

std::atomic<std::uint64_t> counts[kNumKernels];

template <class S, std::size_t i = 0>
constexpr std::size_t alternative() {
  if constexpr (std::is_same_v<S, std::variant_alternative_t<i, Structure>>)
    return i;
  else
    return alternative<S, i + 1>();
}

template <class Kernel, class T>
Status run_as(const typename Kernel::Structure& structure, const Call& call) {
  if (call.linear != 0) return run_adjoint<Kernel, T>(structure, call);
  return Kernel::template run<T>(structure, call);
}

template <class Kernel, int index>
Status run(const Structure& structure, const Call& call, ValueType type) {
  counts[index].fetch_add(1, std::memory_order_relaxed);
  try {
    const auto* mine = std::get_if<typename Kernel::Structure>(&structure);
    if (mine == nullptr)
      return {Status::kInternal, "cholax: a kernel was given the structure of another one."};
    return type == ValueType::kDouble ? run_as<Kernel, double>(*mine, call)
                                      : run_as<Kernel, float>(*mine, call);
  } catch (const std::bad_alloc&) {
    return {Status::kOutOfMemory, "cholax: out of memory in a kernel."};
  } catch (const std::exception& e) {
    return {Status::kInternal, e.what()};
  }
}

}  // namespace

const std::vector<Kernel>& kernels() {
  static const std::vector<Kernel> list = {
#define CHOLAX_KERNEL(name, kernel) \
  {#name, &kernel::signature, alternative<kernel::Structure>(), run<kernel, k_##name>},
#include "calls/kernels.def"
#undef CHOLAX_KERNEL
  };
  return list;
}

const Kernel* find_kernel(std::string_view name) {
  for (const Kernel& kernel : kernels())
    if (kernel.name == name) return &kernel;
  return nullptr;
}

std::vector<std::uint64_t> call_counts() {
  std::vector<std::uint64_t> out;
  for (const auto& count : counts) out.push_back(count.load(std::memory_order_relaxed));
  return out;
}

}  // namespace cholax::calls
