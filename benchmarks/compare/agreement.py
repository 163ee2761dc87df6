"""Do the engines agree? A wrong number fails the run."""

import math
import statistics
from collections.abc import Iterator
from typing import Any

from problems import Reference

EPS = 2.2e-16
BACKWARD_ERROR = 1e-12
IDENTITY = 1e-9
LOG_DET = 1e-11  # relative; a plain sum of a million logarithms loses five digits at worst


def disagreements(
    records: list[dict[str, Any]], n: int, reference: Reference | None
) -> Iterator[str]:
    """Yield a line for every result of one problem that is wrong."""
    agreed = _agreed(records, reference)
    # How far rounding may move what depends on the inverse.
    slack = IDENTITY if reference is None else IDENTITY + 100 * EPS * reference.sensitivity
    for record in records:
        for what, wrong in _faults(record["results"], agreed, n, slack):
            if wrong:
                who = f"{record['engine']} {record['ordering']} {record['threads']}T"
                yield f"{record['problem']}: {who}: {what}"


def _agreed(records: list[dict[str, Any]], reference: Reference | None) -> dict[str, Any]:
    """The reference's values, or the medians over the engines."""
    results = [record["results"] for record in records]
    names = ("log_det", "gradient_value")
    values = [r[name] for r in results for name in names if name in r]
    diagonals = [r["inverse_diagonal"] for r in results if "inverse_diagonal" in r]
    found: dict[str, Any] = {"sensitivity": reference.sensitivity if reference else 0.0}
    if reference:
        found["log_det"] = reference.log_det
    elif values:
        found["log_det"] = statistics.median(values)
    if diagonals:
        found["inverse_diagonal"] = [statistics.median(d) for d in zip(*diagonals, strict=True)]
    return found


def _faults(
    results: dict[str, Any], agreed: dict[str, Any], n: int, slack: float
) -> Iterator[tuple[str, bool]]:
    """Each check as (what, whether it fails); NaN fails every one."""
    for name, found in results.items():
        if name in ("log_det", "gradient_value"):
            error = abs(found - agreed["log_det"])
            allowed = LOG_DET * (n + abs(agreed["log_det"])) + 50 * EPS * agreed["sensitivity"]
            yield f"{name} is off by {error:.3g}", not error <= allowed
        elif name.startswith("residual_"):
            yield f"{name} is {found:.3g}", not found <= BACKWARD_ERROR
        elif name == "inverse_diagonal":
            error = _relative(found, agreed["inverse_diagonal"])
            yield f"selected inverse is off by {error:.3g}", not error <= slack
        elif name == "gradient_trace":
            yield f"tr(A^-1 A) / n - 1 = {found - 1:.3g}", not abs(found - 1) <= slack
        elif name.startswith("defect_"):
            yield f"{name} is {found:.3g}", not found <= slack


def _relative(found: list[float], expected: list[float]) -> float:
    errors = [abs(f - e) / abs(e) for f, e in zip(found, expected, strict=True)]
    return max(errors, key=lambda error: math.inf if math.isnan(error) else error)
