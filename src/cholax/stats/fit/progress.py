"""One line that tells how a long fit is doing."""

import sys
import time
from collections.abc import Callable
from typing import Any

from cholax.stats.fit._optimize import Outcome


class Reporter:
    """Writes iteration, objective, gradient and time, over and over on one line."""

    def __init__(self, where: str, write: Callable[[str], None] | None) -> None:
        self._where = where
        self._write = write
        self._begin = time.perf_counter()
        self._shown = 0

    def __call__(self, outcome: Outcome) -> None:
        """Show where the search is."""
        value, gradient = outcome.trace[-1]
        line = (
            f"{self._where}: iteration {outcome.iterations}, objective {-value:.8g}, "
            f"gradient {gradient:.1e}, {time.perf_counter() - self._begin:.1f} s"
        )
        if self._write is not None:
            self._write(line)
            return
        sys.stderr.write("\r" + line.ljust(self._shown))
        sys.stderr.flush()
        self._shown = len(line)

    def done(self) -> None:
        """End the line."""
        if self._write is None:
            sys.stderr.write("\n")


def reporter(where: str, progress: Any) -> Reporter | None:
    """A reporter for the `progress` option: False, True, or a function that gets each line."""
    if progress is False:
        return None
    return Reporter(where, None if progress is True else progress)
