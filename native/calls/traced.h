// Structures made from index arrays that are known only when the call is made. All of these throw
// std::invalid_argument where the arrays are not what they should be.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/structure.h"

namespace cholax::calls {

// An index array somebody else owns.
struct Indices {
  const Index* data = nullptr;
  std::size_t size = 0;

  const Index* begin() const { return data; }
  const Index* end() const { return data + size; }
  Index operator[](std::size_t i) const { return data[i]; }
};

// The plan of a lower-triangular CSC pattern, natural order, one column per supernode, so that the
// factor vector is the CSC value vector of L; `size` is its length. With `is_factor` the pattern is
// L's own and taken as it is. The last few plans are remembered.
std::shared_ptr<const Plan> traced_plan(Indices indptr, Indices indices, std::int64_t size,
                                        bool is_factor);

// `size` is the length of the vector read.
EntryMap traced_entry_map(Indices positions, std::int64_t size);

Csc traced_csc(Indices indptr, Indices indices, Index rows, Index columns, bool symmetric);

// Pattern of L, and where each entry of A starts out in it; of a plan made by `traced_plan`.
void symbolic(const Plan& plan, Index* indptr, Index* indices, Index* positions);

// positions[k] := where entry k of the out pattern is in the first pattern.
void locate_entries(Indices indptr, Indices indices, Indices out_indptr, Indices out_indices,
                    Index* positions);

}  // namespace cholax::calls
