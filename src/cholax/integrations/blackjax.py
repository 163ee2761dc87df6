"""NUTS by BlackJAX: joint and whitened by a sparse precision, or over hyperparameters alone.

`sparse_nuts` samples latents and hyperparameters together, in coordinates that the sparse joint
precision at the mode makes nearly white. `laplace_nuts` samples hyperparameters from the Laplace
approximation of their marginal posterior and draws the latents afterwards. `nuts` is the plain
sampler both run on: several chains side by side, warmed up and compiled as one program. The page
`docs/how-to/samplers.md` shows each at work.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
from blackjax.adaptation.step_size import dual_averaging_adaptation
from jax.flatten_util import ravel_pytree

from cholax._core.errors import ArgumentError
from cholax.linalg.matrix import SparseMatrix
from cholax.stats.sampling import Whitening, sample_latents

__all__ = ["Draws", "laplace_nuts", "nuts", "sparse_nuts"]

METRICS = ("identity", "diagonal", "dense")


class Draws(NamedTuple):
    """What a sampler returns.

    Attributes:
        positions: pytree of draws; every leaf has leading axes (chain, draw).
        stats: `lp`, `energy`, `acceptance_rate`, `diverging`, `n_steps` (gradients) and
            `tree_depth` of every draw, `step_size` and `warmup_steps` (gradients) of every chain.
    """

    positions: Any
    stats: dict[str, jax.Array]


def nuts(
    key: jax.Array,
    log_density: Callable[[Any], jax.Array],
    start: Any,
    *,
    chains: int = 4,
    warmup: int = 500,
    draws: int = 1000,
    metric: str = "diagonal",
    target_acceptance: float = 0.8,
    max_tree_depth: int = 10,
    keep: Callable[[Any], Any] = lambda position: position,
) -> Draws:
    """Sample a density by the No-U-Turn sampler, chains side by side.

    Args:
        key: a JAX random key.
        log_density: function of a position; NaN is rejected as a divergence.
        start: the position where all chains start, or a function from a key to one.
        chains: how many.
        warmup: transitions that adapt step size and metric, and are dropped.
        draws: transitions kept, per chain.
        metric: `"diagonal"` or `"dense"`, adapted in windows as Stan does; `"identity"` adapts the
            step size alone.
        target_acceptance: acceptance rate that the step size is adapted to.
        max_tree_depth: at most 2 to this power gradients per draw.
        keep: function of a position that is stored in its place.

    Returns:
        `Draws`.

    Raises:
        ArgumentError: an unknown metric.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from cholax.integrations.blackjax import nuts
        >>> key, start = jax.random.key(0), jnp.zeros(2)
        >>> run = nuts(key, lambda x: -0.5 * x @ x, start, chains=2, warmup=50, draws=20)
        >>> run.positions.shape
        (2, 20, 2)

    Reference:
        Hoffman & Gelman, *The No-U-Turn Sampler* (2014).
    """
    if metric not in METRICS:
        raise ArgumentError(f"nuts: metric must be one of {METRICS}, got {metric!r}.")
    adapt = partial(
        _adapt_step_size if metric == "identity" else _adapt_windows,
        log_density,
        steps=warmup,
        metric=metric,
        options={"target": target_acceptance, "depth": max_tree_depth},
    )

    def chain(key: jax.Array) -> Draws:
        first, second, third = jax.random.split(key, 3)
        state, parameters, warmup_steps = adapt(second, start(first) if callable(start) else start)
        positions, stats = _run(log_density, third, state, parameters, draws, max_tree_depth, keep)
        stats |= {"step_size": parameters["step_size"], "warmup_steps": warmup_steps}
        return Draws(positions, stats)

    return jax.jit(jax.vmap(chain))(jax.random.split(key, chains))


def sparse_nuts(
    key: jax.Array,
    log_density: Callable[[Any], jax.Array],
    mode: Any,
    precision: SparseMatrix,
    *,
    ordering: Any = "auto",
    metric: str = "diagonal",
    warmup: int = 200,
    **options: Any,
) -> Draws:
    """Sample latents and hyperparameters together, whitened by the sparse precision at the mode.

    x = x̂ + Pᵀ L⁻ᵀ z with L Lᵀ = P Q Pᵀ; NUTS moves z, which is nearly white where the posterior is
    nearly Gaussian, at the cost of one sparse substitution per gradient. Little is left to adapt,
    so the warm-up is short. It does not help where the scale of the latents varies much over the
    posterior (funnels).

    Args:
        key: a JAX random key.
        log_density: log posterior, of a position of the mode's structure.
        mode: where it is largest.
        precision: symmetric `SparseMatrix`: minus the Hessian of the log-density at the mode, in
            the order of `ravel_pytree`, such as a fit's joint precision; any positive definite one
            gives exact draws.
        ordering: as for `cholax.cholesky`.
        metric: as for `nuts`, of z; `"identity"` trusts the precision.
        warmup: as for `nuts`.
        **options: of `nuts`.

    Returns:
        `Draws` of x, started from the Gaussian approximation.

    Raises:
        NotPositiveDefiniteError: the precision is not positive definite.

    Example:
        >>> import cholax as cx, jax, jax.numpy as jnp
        >>> from cholax.integrations.blackjax import sparse_nuts
        >>> key, mode, Q = jax.random.key(0), jnp.zeros(3), 4.0 * cx.eye(3)
        >>> run = sparse_nuts(key, lambda x: -2.0 * x @ x, mode, Q, chains=2, warmup=20, draws=10)
        >>> run.positions.shape
        (2, 10, 3)

    Reference:
        Monnahan, Kristensen, Thorson & Carpenter, *Sparse NUTS* (2026), arXiv:2603.02437.
    """
    white = Whitening(mode, precision, ordering=ordering)

    def start(key: jax.Array) -> jax.Array:
        return jax.random.normal(key, (white.n,), white.mode.dtype)

    return nuts(
        key,
        white.log_density(log_density),
        start,
        metric=metric,
        warmup=warmup,
        keep=white.point,
        **options,
    )


def laplace_nuts(
    key: jax.Array,
    model: Any,
    theta: Any,
    log_prior: Callable[[Any], jax.Array],
    *args: Any,
    **options: Any,
) -> Draws:
    """Sample hyperparameters by their Laplace marginal posterior, and the latents afterwards.

    The density is `model.log_marginal(theta, *args) + log_prior(theta)`; then u | θ is drawn from
    the Gaussian at the mode of each θ. As good as the Laplace approximation.

    Args:
        key: a JAX random key.
        model: a `cholax.stats.laplace` model.
        theta: where all chains start, a pytree of unconstrained parameters.
        log_prior: log-density of theta, the Jacobians of its transformations included.
        *args: the model's other arguments, the data.
        **options: of `nuts`.

    Returns:
        `Draws` whose positions are `{"theta": ..., "u": ...}`.

    Example:
        >>> import cholax.stats as cs, jax, jax.numpy as jnp
        >>> from cholax.integrations.blackjax import laplace_nuts
        >>> y = jnp.array([2.0, 1.0, 0.0, 3.0])
        >>> def log_joint(u, theta):
        ...     return jnp.sum(y * u - jnp.exp(u)) - 0.5 * jnp.exp(theta) * u @ u + 2.0 * theta
        >>> model, key = cs.laplace(log_joint, y), jax.random.key(0)
        >>> def log_prior(theta):
        ...     return -0.5 * theta**2
        >>> run = laplace_nuts(key, model, 0.0 * y[0], log_prior, chains=2, warmup=20, draws=10)
        >>> run.positions["u"].shape
        (2, 10, 4)
    """
    first, second = jax.random.split(key)

    def log_density(theta: Any) -> jax.Array:
        return model.log_marginal(theta, *args) + log_prior(theta)

    draws = nuts(first, log_density, theta, **options)
    shape = draws.stats["lp"].shape
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), draws.positions)
    u = jax.jit(lambda key, theta: sample_latents(key, model, theta, *args))(second, flat)
    u = jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), u)
    return Draws({"theta": draws.positions, "u": u}, draws.stats)


# --- one chain ------------------------------------------------------------------------------------


def _adapt_windows(
    log_density: Any, key: Any, position: Any, *, steps: int, metric: str, options: Any
) -> Any:
    """Step size and metric, in windows; the gradients spent."""
    warmup: Any = blackjax.window_adaptation(
        blackjax.nuts,
        log_density,
        is_mass_matrix_diagonal=metric == "diagonal",
        target_acceptance_rate=options["target"],
        adaptation_info_fn=lambda _, info, __: info.num_integration_steps,
        max_num_doublings=options["depth"],
    )
    (state, parameters), spent = warmup.run(key, position, steps)
    kept = {name: parameters[name] for name in ("step_size", "inverse_mass_matrix")}
    return state, kept, jnp.sum(spent)


def _adapt_step_size(
    log_density: Any, key: Any, position: Any, *, steps: int, metric: str, options: Any
) -> Any:
    """The step size alone, by dual averaging; the gradients spent."""
    del metric
    init, update, final = dual_averaging_adaptation(options["target"])
    kernel = blackjax.nuts.build_kernel()
    flat, _ = ravel_pytree(position)
    unit = jnp.ones_like(flat)

    def step(carry: Any, key: Any) -> Any:
        state, adaptation = carry
        size = jnp.exp(adaptation.log_step_size)
        state, info = kernel(key, state, log_density, size, unit, options["depth"])
        return (state, update(adaptation, info.acceptance_rate)), info.num_integration_steps

    # White Gaussians of dimension n are sampled with steps of the order of n^(−1/4).
    first = jnp.asarray(flat.size**-0.25, flat.dtype)
    begin = blackjax.nuts.init(position, log_density), init(first)
    (state, adaptation), spent = jax.lax.scan(step, begin, jax.random.split(key, steps))
    parameters = {"step_size": final(adaptation), "inverse_mass_matrix": unit}
    return state, parameters, jnp.sum(spent)


def _run(
    log_density: Any, key: Any, state: Any, parameters: Any, draws: int, depth: int, keep: Any
) -> tuple[Any, dict[str, jax.Array]]:
    """The transitions that are kept."""
    kernel = blackjax.nuts.build_kernel()

    def step(state: Any, key: Any) -> Any:
        state, info = kernel(key, state, log_density, **parameters, max_num_doublings=depth)
        stats = {
            "lp": state.logdensity,
            "energy": info.energy,
            "acceptance_rate": info.acceptance_rate,
            "diverging": info.is_divergent,
            "n_steps": info.num_integration_steps,
            "tree_depth": info.num_trajectory_expansions,
        }
        return state, (keep(state.position), stats)

    return jax.lax.scan(step, state, jax.random.split(key, draws))[1]
