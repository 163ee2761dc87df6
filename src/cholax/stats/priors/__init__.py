"""Priors: normalised log-densities on a parameter's natural scale, with their unconstrained form.

`PRIORS` lists their constructors; a family is one function in a file and one line here. Tests run
every entry against quadrature and finite differences.
"""

from cholax.stats.priors._common import beta as beta
from cholax.stats.priors._common import exponential as exponential
from cholax.stats.priors._common import gamma as gamma
from cholax.stats.priors._common import half_normal as half_normal
from cholax.stats.priors._common import half_t as half_t
from cholax.stats.priors._common import normal as normal
from cholax.stats.priors._common import uniform as uniform
from cholax.stats.priors._lkj import lkj as lkj
from cholax.stats.priors._lkj import lkj_cholesky as lkj_cholesky
from cholax.stats.priors._pc_ar1 import pc_ar1 as pc_ar1
from cholax.stats.priors._pc_bym2_phi import pc_bym2_phi as pc_bym2_phi
from cholax.stats.priors._pc_matern import pc_matern as pc_matern
from cholax.stats.priors._pc_precision import pc_precision as pc_precision
from cholax.stats.priors._prior import Prior as Prior
from cholax.stats.priors._prior import UnconstrainedPrior as UnconstrainedPrior

PRIORS = {
    "normal": normal,
    "half_normal": half_normal,
    "half_t": half_t,
    "gamma": gamma,
    "exponential": exponential,
    "uniform": uniform,
    "beta": beta,
    "lkj": lkj,
    "lkj_cholesky": lkj_cholesky,
    "pc_precision": pc_precision,
    "pc_bym2_phi": pc_bym2_phi,
    "pc_matern": pc_matern,
    "pc_ar1": pc_ar1,
}
