// Structures given by operands of the call: index arrays that are traced values.
#pragma once
#include <cstddef>

#include "core/structure.h"
#include "xla/ffi/api/ffi.h"

namespace cholax::ffi {

namespace xf = ::xla::ffi;

// How many leading operands stand for a structure of this kind (its place among the alternatives of
// Structure); 0 where it cannot be given by operands.
int num_index_operands(std::size_t kind);

// The structure in the leading operands. Plans and CSC patterns are (indptr, indices), the former
// with the attributes `size` and `is_factor`, the latter with `rows`, `columns` and `symmetric`;
// entry maps are (positions), with the attribute `size`.
xf::ErrorOr<Structure> traced_structure(std::size_t kind, const xf::RemainingArgs& args,
                                        const xf::Dictionary& attributes);

// Analysis at run time: (indptr, indices) -> (L_indptr, L_indices, positions of A's entries in L).
xf::Error symbolic(xf::RemainingArgs args, xf::RemainingRets rets, xf::Dictionary attributes);

// (indptr, indices, out_indptr, out_indices) -> position of each out entry in the first pattern, or
// an error naming one that is absent.
xf::Error locate_entries(xf::Buffer<xf::S32> indptr, xf::Buffer<xf::S32> indices,
                         xf::Buffer<xf::S32> out_indptr, xf::Buffer<xf::S32> out_indices,
                         xf::Result<xf::Buffer<xf::S32>> positions);

}  // namespace cholax::ffi
