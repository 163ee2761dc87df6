// The colouring algorithms for Python.
#pragma once
#include <nanobind/nanobind.h>

namespace cholax {

void bind_coloring(nanobind::module_& m);

}  // namespace cholax
