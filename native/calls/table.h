// Every kernel by name, as something that takes calls.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "calls/call.h"
#include "core/structure.h"

namespace cholax::calls {

struct Kernel {
  const char* name;
  const Signature* signature;
  std::size_t structure;  // index of the alternative of Structure that it takes
  // Runs the kernel and counts the call; no exception leaves.
  Status (*run)(const Structure& structure, const Call& call, ValueType type);
};

// Every line of kernels.def, in its order.
const std::vector<Kernel>& kernels();

// The kernel of that name, or null.
const Kernel* find_kernel(std::string_view name);

// Calls executed so far by each kernel, in the order of kernels().
std::vector<std::uint64_t> call_counts();

}  // namespace cholax::calls
