#include <cstdlib>
#include <cstring>
#include <vector>

#include "cpu/kernels.h"

namespace cholax {

#if defined(__x86_64__)
namespace avx512 {
template <class T>
const PlanKernels<T>& table();
}
namespace avx2 {
template <class T>
const PlanKernels<T>& table();
}
#endif
namespace baseline {
template <class T>
const PlanKernels<T>& table();
}

template <class T>
std::vector<const PlanKernels<T>*> available_kernels() {
  std::vector<const PlanKernels<T>*> out;
#if defined(__x86_64__)
  const bool fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (fma && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
    out.push_back(&avx512::table<T>());
  if (fma) out.push_back(&avx2::table<T>());
#endif
  out.push_back(&baseline::table<T>());
  return out;
}

template <class T>
const PlanKernels<T>& kernels() {
  static const PlanKernels<T>* const chosen = [] {
    const auto tables = available_kernels<T>();
    const char* wanted = std::getenv("CHOLAX_TARGET");
    for (const PlanKernels<T>* table : tables)
      if (wanted != nullptr && std::strcmp(wanted, table->target) == 0) return table;
    return tables.front();
  }();
  return *chosen;
}

template const PlanKernels<double>& kernels<double>();
template const PlanKernels<float>& kernels<float>();
template std::vector<const PlanKernels<double>*> available_kernels<double>();
template std::vector<const PlanKernels<float>*> available_kernels<float>();

}  // namespace cholax
