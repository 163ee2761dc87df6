// Structures rebuilt from the attributes of an exported program (portable=True).
#pragma once
#include <memory>

#include "core/structure.h"
#include "xla/ffi/api/ffi.h"

namespace cholax::ffi {

// Reads the structure that `portable` (a dictionary attribute) describes; throws std::exception.
std::shared_ptr<const Structure> structure_from_attributes(::xla::ffi::Dictionary attributes);

}  // namespace cholax::ffi
