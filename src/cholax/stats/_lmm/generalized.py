"""`GeneralizedLinearMixedModel`: formula, data and family as a differentiable log-likelihood."""

from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from cholax._core import options
from cholax._core.compilation import FEW_CALLS
from cholax._core.dtypes import check_values
from cholax._core.errors import ArgumentError, ShapeError
from cholax._core.pickling import Portable, reduce_tuple
from cholax.linalg.matrix import SparseMatrix
from cholax.stats._laplace import LaplaceResult, laplace
from cholax.stats._lmm.design import Design, build_design
from cholax.stats._lmm.layout import Layout, lay_out_terms
from cholax.stats._lmm.response import check_sizes
from cholax.stats.likelihoods import LIKELIHOODS, Likelihood

_LOG_2PI = float(np.log(2.0 * np.pi))
# Parameters of likelihoods that come with the rows instead of being estimated.
_DATA = ("trials", "exposure")


class Rows(NamedTuple):
    """The numbers of a model, columns of X and Z of unit mean square."""

    y: jax.Array
    Q: jax.Array
    Z: SparseMatrix
    offset: jax.Array
    weights: jax.Array
    known: dict[str, jax.Array]

    __reduce__ = reduce_tuple


class Program:
    """The likelihood of one structure and family; compiled once for all data that share them.

    Everything is in internal coordinates: one vector of β̃, θ̃ and the family's unconstrained
    parameters.

    Attributes:
        layout: the static structure.
        family: the likelihood.
        free: names of the family's parameters that are estimated.
        laplace: the Laplace approximation of the integral over U.
    """

    def __init__(self, layout: Layout, family: Likelihood) -> None:
        self.layout, self.family = layout, family
        self.free = tuple(p.name for p in family.parameters if p.name not in _DATA)
        zeros = jnp.zeros(int(layout.offsets[-1]))
        self.laplace = laplace(self.log_joint, zeros, sparsity=layout.pattern)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Numbers of fixed effects, of entries of θ, and of free parameters of the family."""
        return self.layout.fixed, sum(self.layout.theta_sizes), len(self.free)

    def log_joint(self, u: jax.Array, parameters: Any, rows: Rows) -> jax.Array:
        """Log p(y | u) + log p(u)."""
        beta, templates, natural = parameters
        eta = rows.offset + rows.Q @ beta + rows.Z @ self.layout.scale(templates, u[:, None])[:, 0]
        density = self.family.log_prob(rows.y, eta, **natural, **rows.known)
        return jnp.sum(rows.weights * density) - 0.5 * (u @ u + u.size * _LOG_2PI)

    def split(self, internal: Any) -> tuple[Any, Any, dict[str, Any]]:
        """β̃, θ̃ and the family's parameters on their natural scale."""
        p, k, _ = self.sizes
        supports = {parameter.name: parameter.support for parameter in self.family.parameters}
        natural = {
            name: supports[name].forward(internal[p + k + i]) for i, name in enumerate(self.free)
        }
        return internal[:p], internal[p : p + k], natural

    def deviance(self, internal: jax.Array, u0: Any, rows: Rows) -> tuple[jax.Array, jax.Array]:
        """−2 log L and the mode of U."""
        beta, theta, natural = self.split(internal)
        found = self.laplace((beta, self.layout.templates(theta), natural), rows, u0=u0)
        return -2.0 * found.log_marginal, found.flat_mode

    @partial(jax.jit, static_argnums=0)
    def value_and_gradient(self, internal: jax.Array, u0: jax.Array, rows: Rows) -> Any:
        """((−2 log L, mode), gradient)."""
        return jax.value_and_grad(self.deviance, has_aux=True)(internal, u0, rows)

    @partial(jax.jit, static_argnums=0, compiler_options=FEW_CALLS)
    def hessian_column(
        self, internal: jax.Array, direction: jax.Array, u0: jax.Array, rows: Rows
    ) -> jax.Array:
        """The Hessian of −2 log L times a direction."""
        gradient = jax.grad(lambda x: self.deviance(x, u0, rows)[0])
        return jax.jvp(gradient, (internal,), (direction,))[1]

    def _fixed(self, short: jax.Array, rows: Rows) -> jax.Array:
        p, k, _ = self.sizes
        beta, _, natural = self.split(jnp.concatenate([short[:p], jnp.zeros(k), short[p:]]))
        eta = rows.offset + rows.Q @ beta
        density = self.family.log_prob(rows.y, eta, **natural, **rows.known)
        return -2.0 * jnp.sum(rows.weights * density)

    @partial(jax.jit, static_argnums=0)
    def fixed_value_and_gradient(self, short: jax.Array, rows: Rows) -> Any:
        """−2 log L without random effects, in β̃ and the family's parameters, and its gradient."""
        return jax.value_and_grad(self._fixed)(short, rows)

    @partial(jax.jit, static_argnums=0)
    def fixed_hessian(self, short: jax.Array, rows: Rows) -> jax.Array:
        """Its Hessian."""
        return jax.hessian(self._fixed)(short, rows)


@lru_cache(maxsize=16)
def program_for(layout: Layout, family: Likelihood) -> Program:
    """The program of a structure and family, remembered."""
    return Program(layout, family)


class GeneralizedLinearMixedModel(Portable):
    """y_i ~ family(η_i),  η = offset + Xβ + Zb,  b = ΛU,  U ~ N(0, I): log L by Laplace's method.

    θ holds the lower triangles of the factors T_t, column by column, term by term in the order of
    the formula: Cov(b_level) = T_t T_tᵀ, so that a single θ is a standard deviation. U is
    integrated out by the Laplace approximation; the likelihood does not depend on how the effects
    are scaled for it, and stays smooth where a variance is zero.

    Args:
        formula: in lme4's notation.
        data: a pandas, polars or pyarrow table, or a mapping of columns.
        family: a name in `LIKELIHOODS` or a `Likelihood`.
        weights: column name or vector, multiplies the rows' log-densities.
        offset: column name or vector.
        trials: column name or vector, for the binomial family.
        exposure: column name or vector, for families of counts.

    Attributes:
        design: y, X and the terms, rows with missing values left out.
        family: the likelihood.
        call: the data and options that were given.
        program: the compiled likelihood; `program.free` names the family's parameters that are
            estimated.

    Raises:
        ArgumentError: names, values or groups that make no model; a response that the family
            cannot have.

    Example:
        >>> import jax, jax.numpy as jnp, cholax.stats as cs
        >>> jax.config.update("jax_enable_x64", True)
        >>> data = {"y": [2, 0, 1, 5, 3, 7], "g": list("aabbcc")}
        >>> model = cs.GeneralizedLinearMixedModel("y ~ 1 + (1 | g)", data, family="poisson")
        >>> model.layout.sizes, model.design.names
        (((3, 1),), ('Intercept',))
        >>> value = model.log_likelihood(jnp.ones(1), jnp.ones(1))  # doctest: +SKIP
        >>> round(float(value), 4)  # doctest: +SKIP
        -14.4231
    """

    def __init__(
        self,
        formula: str,
        data: Any,
        *,
        family: str | Likelihood = "poisson",
        weights: Any = None,
        offset: Any = None,
        trials: Any = None,
        exposure: Any = None,
    ) -> None:
        self.family = _family(family)
        self.call = {
            "data": data, "family": family, "weights": weights, "offset": offset,
            "trials": trials, "exposure": exposure,
        }  # fmt: skip
        given = {"trials": trials, "exposure": exposure}
        _check_parameters(self.family, given)
        self.design: Design = build_design(
            formula, data, weights=weights, offset=offset, extra=given,
            family=self.family.name, where="glmm",
        )  # fmt: skip
        check_values(self.design.y, "glmm")
        check_sizes(self.design.extra, "glmm")
        design = self.design
        self.layout: Layout
        self.layout, self.blocks, Z, inverses = lay_out_terms(design, np.ones(design.n))
        self.to_internal_factors = tuple(jnp.asarray(m) for m in inverses)
        # Columns of unit mean square, as those of Z.
        Q, R = np.linalg.qr(design.X)
        root = np.sqrt(design.n)
        self.R = R / root
        self.rows = Rows(
            jnp.asarray(design.y),
            jnp.asarray(Q * root),
            Z,
            jnp.asarray(design.offset),
            jnp.asarray(design.weights),
            {name: jnp.asarray(value) for name, value in design.extra.items()},
        )
        self._made_again()
        _check_response(self)

    _transient = ("program",)

    def _made_again(self) -> None:
        self.program = program_for(self.layout, self.family)

    def log_likelihood(
        self, beta: ArrayLike, theta: ArrayLike, *, u0: Any = None, **parameters: ArrayLike
    ) -> jax.Array:
        """Log L(β, θ, parameters), the Laplace approximation; differentiable to any order.

        Args:
            beta: `(p,)` fixed effects.
            theta: `(k,)` covariance factors.
            u0: where the search for the mode of U begins.
            **parameters: of the family, on their natural scale.

        Raises:
            ShapeError: β or θ of another length.
        """
        return self.approximate(beta, theta, u0=u0, **parameters).log_marginal

    def approximate(
        self, beta: ArrayLike, theta: ArrayLike, *, u0: Any = None, **parameters: ArrayLike
    ) -> LaplaceResult:
        """The same with mode, factor and status, for U in internal coordinates."""
        beta, theta = check_values(beta, "glmm: beta"), check_values(theta, "glmm: theta")
        p, k, _ = self.program.sizes
        if beta.shape != (p,) or theta.shape != (k,):
            raise ShapeError(
                f"glmm: need beta of shape ({p},) and theta of shape ({k},), got {beta.shape} and "
                f"{theta.shape}."
            )
        pairs = zip(self.to_internal_factors, self.layout.templates(theta), strict=True)
        templates = tuple(m @ T for m, T in pairs)
        natural = {name: jnp.asarray(x, beta.dtype) for name, x in parameters.items()}
        scaled = jnp.asarray(self.R) @ beta
        return self.program.laplace((scaled, templates, natural), self.rows, u0=u0)


def _family(family: str | Likelihood) -> Likelihood:
    if isinstance(family, Likelihood):
        return family
    if not isinstance(family, str) or family not in LIKELIHOODS:
        raise ArgumentError(
            f"glmm: unknown family {options.shown(family)}. Known: {', '.join(LIKELIHOODS)}, or a "
            "Likelihood."
        )
    return LIKELIHOODS[family]


def _check_parameters(family: Likelihood, given: dict[str, Any]) -> None:
    names = {p.name: p.default for p in family.parameters}
    if family.unpack is not None:
        raise ArgumentError(f"glmm: the response of the family {family.name} is not one column.")
    for name, value in given.items():
        if value is not None and name not in names:
            raise ArgumentError(f"glmm: the family {family.name} has no {name}.")
        # The response of a binomial family may bring its own numbers of trials.
        if value is None and names.get(name, 1.0) is None and name != "trials":
            raise ArgumentError(
                f"glmm: the family {family.name} needs {name}=, a column name or a vector."
            )


def _check_response(model: GeneralizedLinearMixedModel) -> None:
    design, rows = model.design, model.rows
    p, k, extra = model.program.sizes
    _, _, natural = model.program.split(jnp.zeros(p + k + extra))
    density = np.asarray(model.family.log_prob(rows.y, rows.offset, **natural, **rows.known))
    bad = np.flatnonzero(~np.isfinite(density))
    if bad.size:
        raise ArgumentError(
            f"glmm: the family {model.family.name} cannot have the response {design.y[bad[0]]:g} "
            f"(complete row {bad[0]}); {bad.size} such rows."
        )
