"""Gaussian Markov random fields."""

from cholax.stats.gmrf.gmrf import GMRF as GMRF
from cholax.stats.gmrf.moments import Moments as Moments
