"""The detection suite: one file per family of functions."""

import importlib
import pkgutil

from tests.sparsediff.detect.cases._case import Case

FILES = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
CASES: dict[str, Case] = {
    f"{file}-{case.name}": case
    for file in FILES
    for case in importlib.import_module(f"{__name__}.{file}").case.cases
}

__all__ = ["CASES", "Case"]
