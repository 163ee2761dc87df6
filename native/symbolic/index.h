// The two integer types of the symbolic layer.
#pragma once
#include <cstdint>

namespace cholax {

using Index =
    std::int32_t;  // rows, columns, positions inside a factor (a factor holds < 2^31 entries)
using Offset = std::int64_t;  // counts that may exceed 2^31

}  // namespace cholax
