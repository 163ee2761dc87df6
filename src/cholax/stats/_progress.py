"""`progress=`: how a long fit is doing, on one line."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Called with a number, the objective or criterion, and the largest entry of its gradient.
Report = Callable[[int, float, float], None]


@contextmanager
def reporting(where: str, what: str, progress: Any) -> Iterator[Report | None]:
    """What to call after each step of a search.

    Args:
        where: the function that searches.
        what: what is counted, `"iteration"` or `"evaluation"`.
        progress: the user's option: True shows the line on stderr, by tqdm where that is
            installed; a function gets each line as a text; False or None shows nothing.
    """
    if not progress:
        yield None
        return
    begin = time.perf_counter()

    def line(count: int, value: float, gradient: float) -> str:
        seconds = time.perf_counter() - begin
        return f"{what} {count}, objective {value:.8g}, gradient {gradient:.1e}, {seconds:.1f} s"

    if progress is not True:
        yield lambda *state: progress(f"{where}: {line(*state)}")
        return
    with _shown() as show:
        yield lambda *state: show(f"{where}: {line(*state)}")


@contextmanager
def _shown() -> Iterator[Callable[[str], None]]:
    """Write a line over the one before it."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        width = 0

        def show(line: str) -> None:
            nonlocal width
            sys.stderr.write("\r" + line.ljust(width))
            sys.stderr.flush()
            width = len(line)

        yield show
        sys.stderr.write("\n")
        return
    with tqdm(bar_format="{desc}", file=sys.stderr) as bar:
        yield bar.set_description_str
