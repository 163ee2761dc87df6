"""Checks of sizes that several models share."""

import operator
from typing import Any

from cholax._core.errors import ArgumentError


def check_size(n: Any, least: int, where: str) -> int:
    """Return n as an integer of at least `least`, or raise `ArgumentError`."""
    try:
        size = operator.index(n)
    except TypeError:
        size = -1
    if size < least:
        raise ArgumentError(f"{where}: need an integer n >= {least}, got {n!r}.")
    return size
