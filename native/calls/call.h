// One call of a kernel, whoever makes it: batch laid out, attributes read, threads at hand.
// Every operand has leading batch dimensions or none ("shared"); all batched ones agree.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/team.h"

namespace cholax::calls {

enum class ValueType { kSingle, kDouble };

// How a call ended.
struct Status {
  enum Code { kOk, kInvalid, kFailed, kOutOfMemory, kInternal };
  Code code = kOk;
  std::string message = {};

  bool ok() const { return code == kOk; }
};

// What a kernel declares: ranks without batch dimensions, and its attributes by name.
struct Signature {
  std::vector<int> operands;
  std::vector<int> results;
  std::vector<std::string> flags = {};
  std::vector<std::string> lists = {};  // of integers
};

// Data of one operand or result and how it steps from one batch member to the next.
struct Slot {
  void* data = nullptr;
  std::int64_t step = 0;  // elements; 0 where shared
  std::int64_t core = 1;  // elements of one member
  std::int64_t last = 1;  // last dimension (number of right-hand sides for rank-2 slots)
};

class Call {
 public:
  explicit Call(const Signature& signature)
      : in(signature.operands.size()),
        out(signature.results.size()),
        signature_(&signature),
        flags_(signature.flags.size()),
        lists_(signature.lists.size()) {}

  std::vector<Slot> in, out;
  std::int64_t batch = 1;
  std::uint64_t linear = 0;  // bit i: the result is zero where operand i is (adjoint.h)
  ThreadSource threads;

  int num_operands() const { return static_cast<int>(in.size()); }
  bool is_linear(int i) const { return (linear >> i & 1u) != 0; }

  // Attributes the signature declares; other names are a mistake of ours and throw.
  bool flag(std::string_view name) const { return flags_[place(signature_->flags, name)] != 0; }
  const std::vector<int>& list(std::string_view name) const {
    return lists_[place(signature_->lists, name)];
  }
  void set_flag(std::string_view name, bool value) {
    flags_[place(signature_->flags, name)] = value;
  }
  void set_list(std::string_view name, std::vector<int> value) {
    lists_[place(signature_->lists, name)] = std::move(value);
  }

  template <class T>
  const T* operand(int i, std::int64_t member) const {
    return static_cast<const T*>(in[i].data) + in[i].step * member;
  }
  template <class T>
  T* result(int i, std::int64_t member) const {
    return static_cast<T*>(out[i].data) + out[i].step * member;
  }

 private:
  static std::size_t place(const std::vector<std::string>& names, std::string_view name) {
    for (std::size_t i = 0; i < names.size(); ++i)
      if (names[i] == name) return i;
    throw std::invalid_argument("cholax: no attribute of this kernel is called " +
                                std::string(name) + ".");
  }

  const Signature* signature_;
  std::vector<char> flags_;
  std::vector<std::vector<int>> lists_;
};

// Fills the slot of an array of the given core rank; returns its number of batch members.
inline std::int64_t fill_slot(void* data, const std::int64_t* dims, int num_dims, int rank,
                              Slot& slot) {
  const int batch_dims = num_dims - rank;
  std::int64_t members = 1, core = 1;
  for (int d = 0; d < num_dims; ++d) (d < batch_dims ? members : core) *= dims[d];
  slot.data = data;
  slot.core = core;
  slot.step = batch_dims > 0 ? core : 0;
  slot.last = num_dims == 0 ? 1 : dims[num_dims - 1];
  return members;
}

}  // namespace cholax::calls
