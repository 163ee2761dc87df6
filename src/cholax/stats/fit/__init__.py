"""Fits on top of Laplace's method: maximum likelihood, REML, posterior mode, and what follows."""

from cholax.stats.fit.delta import Delta as Delta
from cholax.stats.fit.fit import fit_map as fit_map
from cholax.stats.fit.fit import fit_ml as fit_ml
from cholax.stats.fit.fit import fit_reml as fit_reml
from cholax.stats.fit.profile import Profile as Profile
from cholax.stats.fit.result import Fit as Fit
from cholax.stats.fit.status import FitStatus as FitStatus
