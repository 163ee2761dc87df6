// What a kernel call knows before any values arrive: a plan, entry map, triples or CSC pattern.
#pragma once
#include <memory>
#include <variant>

#include "core/registry.h"
#include "cpu/entries.h"
#include "cpu/matvec.h"
#include "symbolic/plan.h"

namespace cholax {

using Structure = std::variant<std::shared_ptr<const Plan>, EntryMap, Triples, Csc>;
using StructureRegistry = Registry<Structure>;

}  // namespace cholax
