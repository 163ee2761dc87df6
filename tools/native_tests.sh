#!/usr/bin/env bash
# Configure, build and run the C++ tests in FOLDER. Needs CMake, Ninja and Eigen (cmeel-eigen).
# Usage: tools/native_tests.sh FOLDER [CMAKE_OPTION]...
set -euo pipefail
folder=${1:?usage: tools/native_tests.sh FOLDER [CMAKE_OPTION]...}
cmake --fresh -S "$(dirname "${BASH_SOURCE[0]}")/.." -B "$folder" -G Ninja \
  -DCHOLAX_NATIVE_TESTS=ON -DCHOLAX_WERROR=ON "${@:2}"
cmake --build "$folder"
ctest --test-dir "$folder" --output-on-failure --no-tests=error
