"""Linear constraints that hold exactly, and factorisations on their plane."""

from cholax.stats.constraints.constraints import Constraints as Constraints
from cholax.stats.constraints.factor import ConstrainedFactor as ConstrainedFactor
from cholax.stats.constraints.restrict import constrained_cholesky as constrained_cholesky
