"""Likelihoods from any JAX log-density, elementwise or by small blocks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from cholax._core.dtypes import check_values
from cholax._core.errors import ShapeError
from cholax._core.pickling import recipe
from cholax.stats.likelihoods._likelihood import Likelihood, Parameter
from cholax.stats.likelihoods._response import REALS, Distribution, ResponseSupport
from cholax.stats.support import Support


@recipe
def elementwise(
    log_density: Callable[..., jax.Array],
    *,
    parameters: Mapping[str, Support] | None = None,
    neutral: float = 1.0,
    name: str = "elementwise",
    support: ResponseSupport = REALS,
    mean: Callable[..., jax.Array] | None = None,
    variance: Callable[..., jax.Array] | None = None,
    sample: Callable[..., jax.Array] | None = None,
    cdf: Callable[..., jax.Array] | None = None,
) -> Likelihood:
    """A likelihood from a log-density of one response, with missing responses taken care of.

    Args:
        log_density: `log_density(y, eta, **parameters)`, elementwise in JAX, constants included.
        parameters: their names and supports.
        neutral: a response at which the density is finite for every η, in the place of missing
            ones, for which it is evaluated but not used.
        name: for messages.
        support: of the response; all finite numbers when left out.
        mean: `mean(eta, **parameters)`, E y; elementwise in JAX as well.
        variance: `variance(eta, **parameters)`, Var y.
        sample: `sample(key, eta, **parameters)`, of eta's shape.
        cdf: `cdf(y, eta, **parameters)`, P(Y <= y), for y in the support.

    Returns:
        A `Likelihood`. What was not given it cannot say: `mean`, `variance`, `sample` and `cdf`
        then raise `UnsupportedError`, as they do not follow from a log-density at no cost.

    Example:
        >>> import jax.numpy as jnp
        >>> from cholax.stats import likelihoods
        >>> laplace = likelihoods.elementwise(lambda y, eta: -jnp.abs(y - eta) - jnp.log(2.0))
        >>> laplace.log_prob(jnp.array([jnp.nan, 0.0]), jnp.zeros(2)).round(4).tolist()
        [0.0, -0.6931]
    """
    declared = tuple(Parameter(key, support) for key, support in (parameters or {}).items())
    known = Distribution(mean, variance, sample, cdf)
    return Likelihood(name, "given", declared, log_density, support, known, neutral=neutral)


@dataclass(frozen=True, eq=False)
class BlockLikelihood:
    """Log-densities of small blocks of responses; made by `blockwise`."""

    density: Callable[..., jax.Array]

    def log_prob(self, y: ArrayLike, eta: ArrayLike, **parameters: Any) -> jax.Array:
        """Log-density of every block.

        Args:
            y: `(n, b)` responses, one block to a row. A row of NaN is missing and contributes 0; a
                row with some NaN gives NaN, as the density of a part does not follow.
            eta: `(n, c)` linear predictors of each block.
            **parameters: passed to every block as they are.

        Returns:
            `(n,)` log-densities.

        Raises:
            ShapeError: other ranks, or different numbers of rows.
        """
        y, eta = jnp.asarray(y), check_values(jnp.asarray(eta), "blockwise: eta")
        if y.ndim != 2 or eta.ndim != 2 or len(y) != len(eta):
            raise ShapeError(
                f"blockwise: y and eta must have one row per block, got {y.shape} and {eta.shape}."
            )
        if len(y) == 0:
            return jnp.zeros(0, eta.dtype)
        missing = jnp.all(jnp.isnan(y), axis=1)
        # Any block that is there will do in the place of those that are not.
        spare = y[jnp.argmin(missing)]
        rows = jnp.where(missing[:, None], jnp.where(jnp.isnan(spare), 0.0, spare), y)
        etas = jnp.where(missing[:, None], 0.0, eta)
        density = jax.vmap(lambda row, e: self.density(row, e, **parameters))(rows, etas)
        return jnp.where(missing, 0.0, density)


def blockwise(log_density: Callable[..., jax.Array]) -> BlockLikelihood:
    """A likelihood from the log-density of a small block of responses that depend on each other.

    Args:
        log_density: `log_density(y, eta, **parameters)` of one block, `(b,)` and `(c,)` to a
            scalar, constants included.

    Returns:
        A `BlockLikelihood`.

    Example:
        >>> import jax.numpy as jnp
        >>> from cholax.stats import likelihoods
        >>> pair = likelihoods.blockwise(lambda y, eta: -0.5 * jnp.sum((y - eta) ** 2))
        >>> pair.log_prob(jnp.ones((3, 2)), jnp.zeros((3, 2))).tolist()
        [-1.0, -1.0, -1.0]
    """
    return BlockLikelihood(log_density)
