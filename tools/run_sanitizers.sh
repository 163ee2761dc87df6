#!/usr/bin/env bash
# Run the C++ tests, then the extension module inside Python, under the address and undefined
# behaviour sanitizers. Builds in a temporary folder; the checkout stays untouched.
#
# Usage: tools/run_sanitizers.sh [native|python]     (both when nothing is named)
#
# Needs CMake, Ninja and cmeel-eigen; the second part also nanobind, jax and scipy; all in the Python
# on PATH. Only cholax is instrumented: Python, jaxlib and SciPy are not, so what they do with their
# own memory goes unseen, but every heap access of our code is checked, to their buffers as well.
# Leaks are not looked for in the second part: Python and jaxlib keep much until the process ends.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
part=${1:-both}
case $part in
  both | native | python) ;;
  *)
    echo "usage: tools/run_sanitizers.sh [native|python]" >&2
    exit 2
    ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(command -v python)

if [[ $part != python ]]; then
  "$root/tools/native_tests.sh" "$work/native" -DCHOLAX_SANITIZE=ON -DPython_EXECUTABLE="$python"
fi

if [[ $part != native ]]; then
  # Not Release: nanobind strips its modules there, and reports would name no functions.
  cmake -S "$root" -B "$work/module" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DCHOLAX_PYTHON_MODULE=ON -DCHOLAX_SANITIZE=ON -DPython_EXECUTABLE="$python"
  cmake --build "$work/module"
  # A package of its own, so that no other build of the module can be picked up.
  mkdir "$work/package"
  cp -R "$root/src/cholax" "$work/package/cholax"
  rm -f "$work"/package/cholax/_native/*.so
  cp "$work"/module/_cholax*.so "$work/package/cholax/_native/"

  compiler=$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "$work/module/CMakeCache.txt")
  # The runtime must come first in the process. libstdc++ too: ASan looks up its __cxa_throw at
  # start, and the interpreter does not link it.
  LD_PRELOAD="$("$compiler" -print-file-name=libasan.so) $("$compiler" -print-file-name=libstdc++.so)" \
    ASAN_OPTIONS=detect_leaks=0:abort_on_error=0 \
    UBSAN_OPTIONS=print_stacktrace=1 \
    PYTHONMALLOC=malloc PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$work/package" JAX_PLATFORMS=cpu \
    "$python" "$root/tools/sanitizer_smoke.py" "$work/package"
fi
