"""Small C and C++ files of the benchmarks, compiled with the local compiler when first needed."""

import ctypes
import hashlib
import os
import subprocess
from pathlib import Path

import numpy as np

CACHE = Path(__file__).resolve().parents[1] / ".cache" / "native"


def library(source: Path, *options: str) -> ctypes.CDLL:
    """Compile `source` into a shared library and load it."""
    compiler = os.environ.get("CXX", "g++") if source.suffix == ".cpp" else "gcc"
    command = [compiler, "-O3", "-march=native", "-shared", "-fPIC", *options]
    digest = hashlib.blake2b(source.read_bytes() + " ".join(command).encode(), digest_size=8)
    target = CACHE / f"{source.stem}-{digest.hexdigest()}.so"
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_suffix(f".{os.getpid()}.tmp")
        subprocess.run([*command, str(source), "-o", str(unfinished)], check=True)
        unfinished.rename(target)
    return ctypes.CDLL(str(target))


def address(array: np.ndarray) -> ctypes.c_void_p:
    """Where an array's data begin."""
    return array.ctypes.data_as(ctypes.c_void_p)
