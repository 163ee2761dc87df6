"""Verifiers for users and for our own tests."""

from cholax._core.public import publish as _publish
from cholax.testing.coloring import check_acyclic_coloring as check_acyclic_coloring
from cholax.testing.coloring import (
    check_bidirectional_coloring as check_bidirectional_coloring,
)
from cholax.testing.coloring import check_coloring as check_coloring
from cholax.testing.coloring import check_column_coloring as check_column_coloring
from cholax.testing.coloring import check_row_coloring as check_row_coloring
from cholax.testing.coloring import check_star_coloring as check_star_coloring
from cholax.testing.counting import count_kernel_calls as count_kernel_calls
from cholax.testing.derivatives import InconclusiveError as InconclusiveError
from cholax.testing.derivatives import WrongDerivativeError as WrongDerivativeError
from cholax.testing.derivatives import check_derivatives as check_derivatives

_publish(globals())
