"""Latent models: Gaussian Markov random fields with hyperparameters on fixed patterns.

`LATENT_MODELS` lists their constructors; a model is one file and one line here. Tests run every
entry against dense twins and finite differences.
"""

from cholax.stats.latent._autoregressive import ar1 as ar1
from cholax.stats.latent._besag import besag as besag
from cholax.stats.latent._bym2 import bym2 as bym2
from cholax.stats.latent._conditional import leroux as leroux
from cholax.stats.latent._conditional import proper_car as proper_car
from cholax.stats.latent._correlated import iidkd as iidkd
from cholax.stats.latent._generic import generic as generic
from cholax.stats.latent._iid import iid as iid
from cholax.stats.latent._kronecker import kronecker as kronecker
from cholax.stats.latent._matern import matern as matern
from cholax.stats.latent._model import Hyperparameter as Hyperparameter
from cholax.stats.latent._model import LatentModel as LatentModel
from cholax.stats.latent._model import Parametrization as Parametrization
from cholax.stats.latent._random_walk import rw1 as rw1
from cholax.stats.latent._random_walk import rw2 as rw2
from cholax.stats.latent._simultaneous import sar as sar
from cholax.stats.latent.graph import Graph as Graph

LATENT_MODELS = {
    "iid": iid,
    "rw1": rw1,
    "rw2": rw2,
    "ar1": ar1,
    "besag": besag,
    "proper_car": proper_car,
    "leroux": leroux,
    "bym2": bym2,
    "sar": sar,
    "matern": matern,
    "kronecker": kronecker,
    "iidkd": iidkd,
    "generic": generic,
}
