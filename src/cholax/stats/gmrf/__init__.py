"""Gaussian Markov random fields: densities, moments, draws, conditioning."""

from cholax.stats.gmrf._gmrf import GMRF as GMRF
from cholax.stats.gmrf._gmrf import Moments as Moments
