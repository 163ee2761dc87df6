// The kernels that work on a plan, compiled once per instruction set and chosen at run time.
#pragma once
#include <cstdint>

#include "cpu/session.h"
#include "symbolic/plan.h"

namespace cholax {

template <class T>
struct PlanKernels {
  const char* target;  // name of the instruction set
#define CHOLAX_PLAN_KERNEL(name, result, ...) result (*name)(const Plan&, __VA_ARGS__);
#include "cpu/kernel_list.def"
#undef CHOLAX_PLAN_KERNEL
};

// The table for this machine: the best instruction set it has, or the one named by the environment
// variable CHOLAX_TARGET (avx512, avx2, baseline) where the machine has that.
template <class T>
const PlanKernels<T>& kernels();

// Every table this machine can run, best first.
template <class T>
std::vector<const PlanKernels<T>*> available_kernels();

}  // namespace cholax
