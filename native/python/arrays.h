// NumPy arrays in and out.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <memory>
#include <utility>
#include <vector>

#include "symbolic/index.h"

namespace cholax {

namespace nb = nanobind;

using InIndices = nb::ndarray<const Index, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using InDoubles = nb::ndarray<const double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using OutArray = nb::ndarray<nb::numpy, T, nb::ndim<1>>;

// A NumPy array owning `values`.
template <class T>
OutArray<T> to_numpy(std::vector<T> values) {
  auto owned = std::make_unique<std::vector<T>>(std::move(values));
  T* data = owned->data();
  const std::size_t size = owned->size();
  nb::capsule owner(owned.get(), [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  owned.release();
  return OutArray<T>(data, {size}, owner);
}

inline std::vector<Index> to_vector(const InIndices& a) {
  return {a.data(), a.data() + a.shape(0)};
}

}  // namespace cholax
