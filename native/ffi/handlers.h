// The FFI handlers as function pointers, for the extension module to wrap in capsules.
#pragma once
#include <vector>

#include "xla/ffi/api/c_api.h"

namespace cholax::ffi {

struct KernelEntry {
  const char* name;
  XLA_FFI_Handler* execute;          // structure named by a digest
  XLA_FFI_Handler* execute_dynamic;  // structure in the leading operands; null where not offered
};

// Every line of calls/kernels.def, in its order.
const std::vector<KernelEntry>& kernels();

// Handlers on index arrays alone, for traced patterns: name and function.
struct IndexEntry {
  const char* name;
  XLA_FFI_Handler* execute;
};
const std::vector<IndexEntry>& index_handlers();

// The instantiate stage all kernels with a static structure share.
XLA_FFI_Handler* instantiate_handler();

// The state type of that stage, for registration with XLA.
XLA_FFI_TypeId* state_type_id();
const XLA_FFI_TypeInfo* state_type_info();

}  // namespace cholax::ffi
