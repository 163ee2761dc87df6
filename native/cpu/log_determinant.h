// log|A| = 2 Σ log L_ii, accumulated in double.
#pragma once
#include <cmath>

#include "cpu/traversal.h"

namespace cholax {

template <class T>
T log_determinant(const Plan& plan, const T* l) {
  double sum = 0;
  for (Index s = 0; s < plan.num_supernodes; ++s) {
    const Node node = node_at(plan, s);
    for (int j = 0; j < node.w; ++j)
      sum += std::log(static_cast<double>(l[node.panel + j + std::ptrdiff_t(j) * node.m]));
  }
  return static_cast<T>(2 * sum);
}

}  // namespace cholax
