"""Detection of sparsity patterns from the tangent program.

The program that forward-mode AD makes of f is linear in the tangent. It is interpreted once, on
patterns instead of numbers:

| module        | what it holds                                                        |
|---------------|----------------------------------------------------------------------|
| `api`         | tracing, and the resulting `Pattern`                               |
| `rows`        | patterns of arrays: unions of selections from tables of rows       |
| `values`      | what is known of an array: its value, some facts, or its pattern   |
| `interpreter` | running a jaxpr; folding what depends on no input                  |
| `folding`, `facts` | known values in NumPy; zeros and bounds of coefficients       |
| `boxes`, `reach` | index arithmetic of uncertain windows; transitive closure          |

Rules by family: `elementwise`, `structural`, `indexed`, `reductions`, `windows`, `products`,
`solves`, `calls`, `loops`, `own_primitives`.
"""

import importlib

from cholax.sparsediff.detect.api import hessian_pattern as hessian_pattern
from cholax.sparsediff.detect.api import jacobian_pattern as jacobian_pattern

FAMILIES = (
    "folding",
    "facts",
    "elementwise",
    "structural",
    "indexed",
    "reductions",
    "windows",
    "products",
    "solves",
    "calls",
    "loops",
    "own_primitives",
)
for _family in FAMILIES:  # each enters its rules into the interpreter's tables
    importlib.import_module(f"{__name__}.{_family}")

__all__ = ["hessian_pattern", "jacobian_pattern"]
