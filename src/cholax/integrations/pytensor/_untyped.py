"""PyTensor without its annotations, which do not describe how its variables are used."""

from typing import Any

import pytensor.tensor
from pytensor.graph import op

pt: Any = pytensor.tensor
# Its methods are named and typed for one output and return lists for several.
Op: Any = op.Op
