"""Linear and generalised linear mixed models from formulas."""

from cholax.stats._lmm._glmm import GLMMFit as GLMMFit
from cholax.stats._lmm._glmm import glmm as glmm
from cholax.stats._lmm.compare import Comparison as Comparison
from cholax.stats._lmm.effects import RandomEffects as RandomEffects
from cholax.stats._lmm.effects import VarianceComponent as VarianceComponent
from cholax.stats._lmm.fit import LMMFit as LMMFit
from cholax.stats._lmm.fit import lmm as lmm
from cholax.stats._lmm.generalized import (
    GeneralizedLinearMixedModel as GeneralizedLinearMixedModel,
)
from cholax.stats._lmm.model import LinearMixedModel as LinearMixedModel
from cholax.stats._lmm.prediction import Prediction as Prediction
from cholax.stats._lmm.status import FitStatus as FitStatus
