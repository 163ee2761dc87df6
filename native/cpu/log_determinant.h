// log|A| = 2 Σ log L_ii, as the logarithm of a running product: one rounding per factor instead of
// one per partial sum, so the error does not grow with |log|A||, and no logarithm per column.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "cpu/node.h"

namespace cholax {

// Π x as mantissa · 2^exponent.
class ScaledProduct {
 public:
  void multiply(double x) {
    mantissa_ *= fraction(x);  // in [1/2, 1), so 512 of them cannot underflow
    if (++pending_ == 512) normalise();
  }

  double log() {
    normalise();
    return std::log(mantissa_) + static_cast<double>(exponent_) * 0.693147180559945309417232;
  }

 private:
  // std::frexp, without a call for ordinary numbers; the exponent goes to exponent_.
  double fraction(double x) {
    std::uint64_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    const int field = static_cast<int>(bits >> 52 & 0x7ff);
    if (field == 0 || field == 0x7ff) {
      int exponent = 0;
      const double out = std::frexp(x, &exponent);
      exponent_ += exponent;
      return out;
    }
    exponent_ += field - 1022;
    bits = (bits & ~(std::uint64_t{0x7ff} << 52)) | std::uint64_t{1022} << 52;
    std::memcpy(&x, &bits, sizeof bits);
    return x;
  }

  void normalise() {
    mantissa_ = fraction(mantissa_);
    pending_ = 0;
  }

  double mantissa_ = 1.0;
  std::int64_t exponent_ = 0;
  int pending_ = 0;
};

// Each diagonal entry is on a cache line of its own: they are asked for this many supernodes ahead.
inline constexpr Index kDiagonalsAhead = 16;

template <class T>
T log_determinant(const Plan& plan, const T* l) {
  const auto diagonal = [&](const Node& node, int j) {
    return l + node.panel + j + std::ptrdiff_t(j) * node.m;
  };
  ScaledProduct product;
  for (Index s = -kDiagonalsAhead; s < plan.num_supernodes; ++s) {
    if (s + kDiagonalsAhead < plan.num_supernodes) {
      const Node ahead = node_at(plan, s + kDiagonalsAhead);
      for (int j = 0; j < ahead.w; ++j) __builtin_prefetch(diagonal(ahead, j));
    }
    if (s < 0) continue;
    const Node node = node_at(plan, s);
    for (int j = 0; j < node.w; ++j) product.multiply(static_cast<double>(*diagonal(node, j)));
  }
  return static_cast<T>(2 * product.log());
}

}  // namespace cholax
