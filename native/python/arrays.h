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

// A read-only NumPy view of what `owner` keeps alive.
template <class T>
nb::ndarray<nb::numpy, const T, nb::ndim<1>> view(const std::vector<T>& values,
                                                  const std::shared_ptr<const void>& owner) {
  auto share = std::make_unique<std::shared_ptr<const void>>(owner);
  nb::capsule keeper(share.get(),
                     [](void* p) noexcept { delete static_cast<std::shared_ptr<const void>*>(p); });
  share.release();
  return {values.data(), {values.size()}, keeper};
}

inline std::vector<Index> to_vector(const InIndices& a) {
  return {a.data(), a.data() + a.shape(0)};
}

}  // namespace cholax
