// Structures given by operands of the call: index arrays that are traced values.
#pragma once
#include <memory>

#include "core/structure.h"
#include "xla/ffi/api/ffi.h"

namespace cholax::ffi {

namespace xf = ::xla::ffi;

// How a structure type is read from leading index operands. Not offered unless specialised.
template <class S>
struct DynamicStructure {
  static constexpr bool offered = false;
};

// (indptr, indices): a lower-triangular CSC pattern, natural order, one column per supernode, so
// that the factor vector is the CSC value vector of L. Attribute `is_factor`: the pattern is L's
// own and taken as it is; attribute `size`: the length the caller expects.
template <>
struct DynamicStructure<std::shared_ptr<const Plan>> {
  static constexpr bool offered = true;
  static constexpr int num_operands = 2;
  static xf::ErrorOr<std::shared_ptr<const Plan>> make(const xf::RemainingArgs& args,
                                                       const xf::Dictionary& attributes);
};

// (positions): attribute `size` is the length of the vector read.
template <>
struct DynamicStructure<EntryMap> {
  static constexpr bool offered = true;
  static constexpr int num_operands = 1;
  static xf::ErrorOr<EntryMap> make(const xf::RemainingArgs& args,
                                    const xf::Dictionary& attributes);
};

// (indptr, indices): attributes `rows`, `columns`, `symmetric`.
template <>
struct DynamicStructure<Csc> {
  static constexpr bool offered = true;
  static constexpr int num_operands = 2;
  static xf::ErrorOr<Csc> make(const xf::RemainingArgs& args, const xf::Dictionary& attributes);
};

// Analysis at run time: (indptr, indices) -> (L_indptr, L_indices, positions of A's entries in L).
xf::Error symbolic(xf::RemainingArgs args, xf::RemainingRets rets, xf::Dictionary attributes);

// (indptr, indices, out_indptr, out_indices) -> position of each out entry in the first pattern, or
// an error naming one that is absent.
xf::Error locate_entries(xf::Buffer<xf::S32> indptr, xf::Buffer<xf::S32> indices,
                         xf::Buffer<xf::S32> out_indptr, xf::Buffer<xf::S32> out_indices,
                         xf::Result<xf::Buffer<xf::S32>> positions);

}  // namespace cholax::ffi
