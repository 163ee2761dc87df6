// log|A| = 2 Σ log L_ii, as the logarithm of a running product: one rounding per factor instead of
// one per partial sum, so the error does not grow with |log|A||, and no logarithm per column.
#pragma once
#include <cmath>
#include <cstdint>

#include "cpu/traversal.h"

namespace cholax {

// Π x as mantissa · 2^exponent.
class ScaledProduct {
 public:
  void multiply(double x) {
    int exponent = 0;
    mantissa_ *= std::frexp(x, &exponent);  // in [1/2, 1), so 512 of them cannot underflow
    exponent_ += exponent;
    if (++pending_ == 512) normalise();
  }

  double log() {
    normalise();
    return std::log(mantissa_) + static_cast<double>(exponent_) * 0.693147180559945309417232;
  }

 private:
  void normalise() {
    int exponent = 0;
    mantissa_ = std::frexp(mantissa_, &exponent);
    exponent_ += exponent;
    pending_ = 0;
  }

  double mantissa_ = 1.0;
  std::int64_t exponent_ = 0;
  int pending_ = 0;
};

template <class T>
T log_determinant(const Plan& plan, const T* l) {
  ScaledProduct product;
  for (Index s = 0; s < plan.num_supernodes; ++s) {
    const Node node = node_at(plan, s);
    for (int j = 0; j < node.w; ++j)
      product.multiply(static_cast<double>(l[node.panel + j + std::ptrdiff_t(j) * node.m]));
  }
  return static_cast<T>(2 * product.log());
}

}  // namespace cholax
