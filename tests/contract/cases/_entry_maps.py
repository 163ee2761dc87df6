"""Entry maps with missing, repeated and unread positions, with and without weights."""

import numpy as np

from cholax.primitives import EntryMap
from tests.contract.patterns import Problem


def entry_map(problem: Problem, *, weighted: bool) -> EntryMap:
    rng, size = problem.rng, problem.n + 2
    positions = rng.integers(-1, size, 2 * problem.n + 1)
    # One more value than float32 holds exactly would blur the float32 comparison: use eighths.
    weights = rng.integers(-8, 9, positions.size) / np.float64(8) if weighted else None
    return EntryMap(positions, size, weights)
