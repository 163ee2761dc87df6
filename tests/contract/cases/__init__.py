"""One case file per primitive; each maps the names of its variants to makers of settings."""

import importlib
import pkgutil
from collections.abc import Callable

from tests.contract.cases._setting import Setting, Variable
from tests.contract.patterns import Problem

FILES = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def _collect() -> dict[str, Callable[[Problem], Setting]]:
    found = {}
    for name in FILES:
        variants = importlib.import_module(f"{__name__}.{name}").VARIANTS
        for variant, make in variants.items():
            found[f"{name}-{variant}" if variant else name] = make
    return found


CASES = _collect()

__all__ = ["CASES", "FILES", "Setting", "Variable"]
