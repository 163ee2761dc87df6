"""Likelihoods: responses given a linear predictor, their log-densities, moments and draws.

`LIKELIHOODS` lists them; a family is one object in a file and one line here. Tests run every entry
against SciPy, finite differences, missing responses and extreme predictors.
"""

from cholax.stats.likelihoods._likelihood import Likelihood as Likelihood
from cholax.stats.likelihoods._likelihood import Parameter as Parameter
from cholax.stats.likelihoods._response import ResponseSupport as ResponseSupport
from cholax.stats.likelihoods.binary import bernoulli as bernoulli
from cholax.stats.likelihoods.binary import binomial as binomial
from cholax.stats.likelihoods.continuous import gamma as gamma
from cholax.stats.likelihoods.continuous import gaussian as gaussian
from cholax.stats.likelihoods.continuous import student_t as student_t
from cholax.stats.likelihoods.counts import negative_binomial as negative_binomial
from cholax.stats.likelihoods.counts import negative_binomial1 as negative_binomial1
from cholax.stats.likelihoods.counts import poisson as poisson
from cholax.stats.likelihoods.counts import zero_inflated_poisson as zero_inflated_poisson
from cholax.stats.likelihoods.custom import BlockLikelihood as BlockLikelihood
from cholax.stats.likelihoods.custom import blockwise as blockwise
from cholax.stats.likelihoods.custom import elementwise as elementwise
from cholax.stats.likelihoods.survival import Survival as Survival
from cholax.stats.likelihoods.survival import exponential_survival as exponential_survival
from cholax.stats.likelihoods.survival import surv as surv
from cholax.stats.likelihoods.survival import weibull_survival as weibull_survival

LIKELIHOODS = {
    likelihood.name: likelihood
    for likelihood in (
        gaussian,
        student_t,
        poisson,
        binomial,
        bernoulli,
        negative_binomial,
        negative_binomial1,
        zero_inflated_poisson,
        gamma,
        exponential_survival,
        weibull_survival,
    )
}
