#!/usr/bin/env python3
"""Install cholax into a fresh environment of every supported Python and run its tests there.

The proof that `pip install .` needs nothing but an interpreter and a C++ compiler, without nox.
Interpreters come from pyenv or from PATH (python3.11, ...); a missing one is an error.

Usage: tools/test_matrix.py [--python 3.12]... [--keep-going] [PYTEST_ARGUMENT]...
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The wheel each Python builds: version-specific before the stable ABI, abi3 from 3.12 on.
WHEEL_TAGS = {"3.11": "cp311-cp311", "3.12": "cp312-abi3", "3.13": "cp312-abi3"}
PRINT_TAG = (
    "from importlib.metadata import distribution as d; print(d('cholax').read_text('WHEEL'))"
)


def output_of(*command: str | Path) -> str:
    """Standard output of a command, or "" when it fails or does not exist."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return result.stdout if result.returncode == 0 else ""


def candidates(version: str) -> Iterator[Path]:
    """Paths that may be a Python of this version, best first."""
    listed = output_of("pyenv", "versions", "--bare").split()
    installed = [v for v in listed if "/" not in v and not v.endswith("t")]  # t: free-threaded
    for name in reversed(installed):
        if name == version or name.startswith(version + "."):
            yield Path(output_of("pyenv", "prefix", name).strip()) / "bin" / "python"
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield Path(on_path)


def find_python(version: str) -> Path | None:
    """The first candidate that runs and is of this version: a pyenv shim on PATH may be neither."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    good = (path for path in candidates(version) if output_of(path, "-c", code).strip() == version)
    return next(good, None)


def prove(version: str, folder: Path, arguments: list[str]) -> str:
    """Build, install and test under one Python; return "" or what failed."""
    python = find_python(version)
    if python is None:
        return "no interpreter found, neither by pyenv nor on PATH"
    venv_python = folder / "venv" / "bin" / "python"
    # An inherited PYTHONPATH would let the tests see something other than the installed package.
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    steps = {
        "venv": [python, "-m", "venv", folder / "venv"],
        "pip install": [venv_python, "-m", "pip", "install", "--quiet", f"{ROOT}[test]"],
        "pytest": [venv_python, "-m", "pytest", *arguments],
    }
    for name, command in steps.items():
        if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
            return f"{name} failed"
    if f"Tag: {WHEEL_TAGS[version]}-" not in output_of(venv_python, "-c", PRINT_TAG):
        return f"the wheel is not tagged {WHEEL_TAGS[version]}"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", action="append", choices=WHEEL_TAGS, help="only this version")
    parser.add_argument("--keep-going", action="store_true", help="go on after a failure")
    options, arguments = parser.parse_known_args()
    verdicts = {}
    for version in options.python or WHEEL_TAGS:
        print(f"=== Python {version}", flush=True)
        start = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix=f"cholax-{version}-") as folder:
            failure = prove(version, Path(folder), arguments or ["-n", "2"])
        verdicts[version] = failure
        print(f"=== Python {version}: {failure or 'passed'} ({time.perf_counter() - start:.0f} s)")
        if failure and not options.keep_going:
            break
    return 1 if any(verdicts.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
