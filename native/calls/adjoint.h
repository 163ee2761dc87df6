// Adjoint calls: results are zero wherever a linear operand is, whatever the others hold.
//
// The factor of a batch member that failed is NaN, and 0 x NaN is NaN: a member that is discarded
// would spoil the gradients of what all members share. A look at the operands costs next to
// nothing, as it ends at the first number in each column.
#pragma once
#include <algorithm>
#include <vector>

#include "calls/call.h"

namespace cholax::calls {

// Whether there is anything but zeros in each column of a member of an operand, an n x columns
// block; an operand without columns is one. NaN is not zero.
template <class T>
std::vector<char> live_columns(const Call& call, int operand, int rank, std::int64_t member) {
  const Slot& slot = call.in[operand];
  const std::int64_t columns = rank == 2 ? slot.last : 1;
  const T* x = call.operand<T>(operand, member);
  std::vector<char> live(static_cast<std::size_t>(columns), 0);
  std::int64_t dead = columns;
  for (std::int64_t row = 0; row < slot.core && dead > 0; row += columns)
    for (std::int64_t c = 0; c < columns; ++c)
      if (!live[c] && x[row + c] != T(0)) {
        live[c] = 1;
        --dead;
      }
  return live;
}

inline bool all(const std::vector<char>& flags) {
  return std::all_of(flags.begin(), flags.end(), [](char flag) { return flag != 0; });
}

inline bool any(const std::vector<char>& flags) {
  return std::any_of(flags.begin(), flags.end(), [](char flag) { return flag != 0; });
}

// a <- a and b, where one entry stands for all.
inline void both(std::vector<char>& a, const std::vector<char>& b) {
  for (std::size_t c = 0; c < a.size(); ++c) a[c] = a[c] && b[b.size() == 1 ? 0 : c];
}

// A sum over columns: leaves out those in which one operand is zero, in copies of the operands.
template <class Kernel, class T>
Status sum_of_live_columns(const typename Kernel::Structure& structure, const Call& call) {
  std::vector<std::vector<char>> live;
  bool complete = true;
  for (std::int64_t b = 0; b < call.batch; ++b) {
    std::vector<char> flags(static_cast<std::size_t>(call.in[0].last), 1);
    for (int i = 0; i < call.num_operands(); ++i)
      if (call.is_linear(i)) both(flags, live_columns<T>(call, i, 2, b));
    complete = complete && all(flags);
    live.push_back(std::move(flags));
  }
  if (complete) return Kernel::template run<T>(structure, call);
  Call masked = call;
  std::vector<std::vector<T>> copies;
  for (int i = 0; i < call.num_operands(); ++i) {
    if (!call.is_linear(i)) continue;
    const std::int64_t core = call.in[i].core, columns = call.in[i].last;
    std::vector<T> copy(static_cast<std::size_t>(core * call.batch), T(0));
    for (std::int64_t b = 0; b < call.batch; ++b)
      for (std::int64_t k = 0; k < core; ++k)
        if (live[b][k % columns]) copy[b * core + k] = call.operand<T>(i, b)[k];
    copies.push_back(std::move(copy));
    masked.in[i].data = copies.back().data();
    masked.in[i].step = core;
  }
  return Kernel::template run<T>(structure, masked);
}

// Any other operation: its result is set to zero afterwards, in the columns of a matrix or whole.
// The operands are looked at first, as the result may be built in their memory.
template <class Kernel, class T>
Status zero_where_linear_is(const typename Kernel::Structure& structure, const Call& call) {
  const bool matrix = Kernel::signature.results[0] == 2;
  const std::int64_t columns = matrix ? call.out[0].last : 1;
  std::vector<std::vector<char>> live;
  bool nothing = true;
  for (std::int64_t b = 0; b < call.batch; ++b) {
    std::vector<char> flags(static_cast<std::size_t>(columns), 1);
    for (int i = 0; i < call.num_operands(); ++i)
      if (call.is_linear(i))
        both(flags, live_columns<T>(call, i, Kernel::signature.operands[i], b));
    nothing = nothing && !any(flags);
    live.push_back(std::move(flags));
  }
  if (!nothing) {
    const Status error = Kernel::template run<T>(structure, call);
    if (!error.ok()) return error;
  }
  for (std::int64_t b = 0; b < call.batch; ++b)
    if (!all(live[b]))
      for (std::int64_t k = 0; k < call.out[0].core; ++k)
        if (!live[b][k % columns]) call.result<T>(0, b)[k] = T(0);
  return Status{};
}

template <class Kernel, class T>
Status run_adjoint(const typename Kernel::Structure& structure, const Call& call) {
  if (Kernel::signature.results.size() != 1)
    return {Status::kInternal, "cholax: no adjoint call has several results."};
  bool blocks = true;
  for (int i = 0; i < call.num_operands(); ++i)
    blocks = blocks && (!call.is_linear(i) || Kernel::signature.operands[i] == 2);
  if (blocks && Kernel::signature.results[0] < 2)
    return sum_of_live_columns<Kernel, T>(structure, call);
  return zero_where_linear_is<Kernel, T>(structure, call);
}

}  // namespace cholax::calls
