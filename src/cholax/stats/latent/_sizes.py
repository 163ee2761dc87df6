"""Checks of sizes that several models share."""

from typing import Any

from cholax._core import options


def check_size(n: Any, least: int, where: str, name: str = "n") -> int:
    """Return n as an integer of at least `least`, or raise `ArgumentError`."""
    return options.count(n, where, name, least=least)
