"""Linear constraints that hold exactly, null spaces, and factorisations under both.

`constrained_cholesky` is the way in; docs/explanation/constraints.md walks through it. The second
list is for the other parts of `cholax.stats`.
"""

from cholax.stats.constraints._cholesky import constrained_cholesky as constrained_cholesky
from cholax.stats.constraints._constraints import Constraints as Constraints
from cholax.stats.constraints._factor import ConstrainedFactor as ConstrainedFactor

# isort: split
from cholax.stats.constraints._cholesky import ConstrainedPlan as ConstrainedPlan
from cholax.stats.constraints._constraints import as_constraints as as_constraints
from cholax.stats.constraints._intrinsic import intrinsic as intrinsic
from cholax.stats.constraints._null_space import EMPTY as EMPTY
from cholax.stats.constraints._null_space import NullSpace as NullSpace
from cholax.stats.constraints._null_space import as_null_space as as_null_space
from cholax.stats.constraints._null_space import observed_null_space as observed_null_space
from cholax.stats.constraints._null_space import read_null_space as read_null_space
from cholax.stats.constraints._null_space import support_of as support_of
from cholax.stats.constraints._null_space import support_rows as support_rows
from cholax.stats.constraints._rows import Rows as Rows
from cholax.stats.constraints._rows import stacked as stacked
from cholax.stats.constraints._rows import widened as widened
