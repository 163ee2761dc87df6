// What every symbolic factor answers, whatever is eliminated over its tree. Its digest and what an
// exported program stores of it belong to the caller that named it (analysis/symbolic_factor.py).
#pragma once
#include <cstdint>
#include <vector>

#include "index.h"

namespace cholax {

enum class FactorKind { kLlt };

inline const char* name_of(FactorKind kind) {
  switch (kind) {
    case FactorKind::kLlt:
      return "llt";
  }
  return "";
}

struct SymbolicFactor {
  explicit SymbolicFactor(FactorKind its_kind) : kind(its_kind) {}
  virtual ~SymbolicFactor() = default;

  // Bytes of its index arrays.
  virtual std::int64_t memory() const = 0;

  FactorKind kind;
  Index n = 0;
  std::vector<Index> perm;   // perm[i] = old index now at place i
  std::vector<Index> iperm;  // inverse
  Offset size = 0;           // length of the factor vector
};

}  // namespace cholax
