"""Linear and generalised linear mixed models from formulas."""

from cholax.stats.lmm.compare import Comparison as Comparison
from cholax.stats.lmm.effects import RandomEffects as RandomEffects
from cholax.stats.lmm.effects import VarianceComponent as VarianceComponent
from cholax.stats.lmm.fit import LMMFit as LMMFit
from cholax.stats.lmm.fit import lmm as lmm
from cholax.stats.lmm.generalized import (
    GeneralizedLinearMixedModel as GeneralizedLinearMixedModel,
)
from cholax.stats.lmm.glmm import GLMMFit as GLMMFit
from cholax.stats.lmm.glmm import glmm as glmm
from cholax.stats.lmm.model import LinearMixedModel as LinearMixedModel
from cholax.stats.lmm.prediction import Prediction as Prediction
from cholax.stats.lmm.status import FitStatus as FitStatus
