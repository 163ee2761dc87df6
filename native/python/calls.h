// The kernels for Python: calls on NumPy arrays, outside of compiled programs.
#pragma once
#include <nanobind/nanobind.h>

namespace cholax {

void bind_calls(nanobind::module_& m);

}  // namespace cholax
