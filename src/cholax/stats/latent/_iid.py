"""Independent effects."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

from cholax._core.pickling import recipe
from cholax.stats.latent._combination import combination
from cholax.stats.latent._model import LatentModel, with_precision
from cholax.stats.latent._sizes import check_size


@recipe
def iid(n: int) -> LatentModel:
    """Independent effects x_i ~ N(0, 1/τ), Q = τ I.

    Hyperparameters: `precision` τ > 0, or `sd`.

    Args:
        n: number of effects.

    Returns:
        A `LatentModel`.

    Raises:
        ArgumentError: a negative number.

    Example:
        >>> from cholax.stats import iid
        >>> iid(3).precision(sd=0.5).diagonal().tolist()
        [4.0, 4.0, 4.0]
    """
    n = check_size(n, 0, "iid")
    pattern, values = combination([sp.eye_array(n)], lambda precision: (precision,))

    def log_det(precision: jax.Array) -> jax.Array:
        return n * jnp.log(precision)

    return LatentModel(
        "iid",
        pattern,
        with_precision(),
        values,
        null_space=np.zeros((n, 0)),
        cheap_log_det=log_det,
    )
