// One FFI call as the kernels see it: dtype chosen, batch laid out, attributes read.
// Every operand has leading batch dimensions or none ("shared"); all batched ones agree.
#pragma once
#include <cstdint>
#include <string>

#include "core/team.h"
#include "xla/ffi/api/ffi.h"

namespace cholax::ffi {

namespace xf = ::xla::ffi;

inline constexpr int kMaxOperands = 3;
inline constexpr int kMaxResults = 2;

// Ranks without batch dimensions, as declared by each kernel.
struct Signature {
  int operands[kMaxOperands];
  int num_operands;
  int results[kMaxResults];
  int num_results;
};

// Data of one operand or result and how it steps from one batch member to the next.
struct Slot {
  void* data = nullptr;
  std::int64_t step = 0;  // elements; 0 where shared
  std::int64_t core = 1;  // elements of one member
  std::int64_t last = 1;  // last dimension (number of right-hand sides for rank-2 slots)
};

struct Call {
  Slot in[kMaxOperands];
  Slot out[kMaxResults];
  std::int64_t batch = 1;
  bool flag = false;  // "transpose" and the like
  int roles[3] = {0, 1, 2};
  unsigned linear = 0;   // bit i: the result is zero where operand i is (adjoint.h)
  ThreadSource threads;  // XLA's pool

  bool is_linear(int i) const { return (linear >> i & 1u) != 0; }

  template <class T>
  const T* operand(int i, std::int64_t member) const {
    return static_cast<const T*>(in[i].data) + in[i].step * member;
  }
  template <class T>
  T* result(int i, std::int64_t member) const {
    return static_cast<T*>(out[i].data) + out[i].step * member;
  }
};

// Fills the slot of a buffer of the given core rank; returns its number of batch members.
inline std::int64_t fill_slot(const xf::AnyBuffer& buffer, int rank, Slot& slot) {
  const auto dims = buffer.dimensions();
  const int batch_dims = static_cast<int>(dims.size()) - rank;
  std::int64_t members = 1, core = 1;
  for (int d = 0; d < static_cast<int>(dims.size()); ++d)
    (d < batch_dims ? members : core) *= dims[d];
  slot.data = buffer.untyped_data();
  slot.core = core;
  slot.step = batch_dims > 0 ? core : 0;
  slot.last = dims.size() == 0 ? 1 : dims[dims.size() - 1];
  return members;
}

}  // namespace cholax::ffi
