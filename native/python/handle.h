// A Python object's share in a structure.
#pragma once
#include <memory>
#include <variant>

#include "core/structure.h"

namespace cholax {

struct Handle {
  std::shared_ptr<const Structure> structure;
};

struct PlanHandle : Handle {
  const Plan& plan() const { return *std::get<std::shared_ptr<const Plan>>(*structure); }
};

}  // namespace cholax
