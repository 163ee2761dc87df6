// Random numbers, conversions and comparisons for kernels of either dtype.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "check.h"

namespace cholax::testing {

using Values = std::vector<double>;

// Uniform in (-1, 1) and exact in float, so that both dtypes are given the same numbers.
class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  double number() { return std::uniform_real_distribution<float>(-1, 1)(engine_); }
  Values vector(std::size_t size) {
    Values out(size);
    for (double& x : out) x = number();
    return out;
  }

 private:
  std::mt19937 engine_;
};

template <class T>
std::vector<T> as(const Values& x) {
  return std::vector<T>(x.begin(), x.end());
}

// Results start as NaN: an entry that a kernel forgets, or reads before writing, is seen.
template <class T>
std::vector<T> unset(std::size_t size) {
  return std::vector<T>(size, std::numeric_limits<T>::quiet_NaN());
}

template <class T>
inline constexpr double kTolerance = sizeof(T) == 4 ? 2e-5 : 1e-12;

// Largest difference relative to the largest wanted magnitude (at least 1); infinite for a NaN.
template <class T>
double error(const std::vector<T>& got, const Values& want) {
  if (got.size() != want.size()) return std::numeric_limits<double>::infinity();
  double worst = 0, scale = 1;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double difference = std::abs(double(got[i]) - want[i]);
    if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, difference);
    scale = std::max(scale, std::abs(want[i]));
  }
  return worst / scale;
}

template <class T>
bool all_nan(const std::vector<T>& x) {
  return std::all_of(x.begin(), x.end(), [](T value) { return std::isnan(value); });
}

}  // namespace cholax::testing

// Equal up to rounding in the dtype of `got`, a std::vector; `want` is a Values.
#define CHECK_CLOSE(got, want)                                                                  \
  do {                                                                                          \
    using Scalar = typename std::decay_t<decltype(got)>::value_type;                            \
    const double difference = cholax::testing::error(got, want);                                \
    if (!(difference <= cholax::testing::kTolerance<Scalar>) && ++check::failures <= 20)        \
      std::printf("%s:%d: [%s] failed: %s = %s in %zu bytes, error %.3g\n", __FILE__, __LINE__, \
                  check::where, #got, #want, sizeof(Scalar), difference);                       \
  } while (false)
