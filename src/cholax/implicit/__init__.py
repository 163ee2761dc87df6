"""Implicit functions: solve an equation, differentiate its solution by the implicit theorem."""

from cholax.implicit._bisect import bisect as bisect
from cholax.implicit._fixed_point import fixed_point as fixed_point
from cholax.implicit._minimize import minimize as minimize
from cholax.implicit._root import root as root
from cholax.implicit.status import Status as Status

__all__ = ["Status", "bisect", "fixed_point", "minimize", "root"]
