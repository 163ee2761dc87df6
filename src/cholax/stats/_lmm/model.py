"""`LinearMixedModel`: formula and data as a differentiable criterion of θ."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from cholax._core import options
from cholax._core.compilation import FEW_CALLS, compile_ahead
from cholax._core.dtypes import check_values
from cholax._core.errors import ArgumentError, ShapeError
from cholax._core.pickling import Portable
from cholax.stats._lmm.design import Design, build_design, check_range
from cholax.stats._lmm.deviance import Profile, internal_templates, profile
from cholax.stats._lmm.layout import Arrays, Layout, lay_out


class LinearMixedModel(Portable):
    """y = Xβ + Zb + ε,  b = ΛU,  U ~ N(0, σ²I),  ε ~ N(0, σ²W⁻¹): the criterion as a function of θ.

    θ holds the lower triangles of the relative covariance factors T_t, column by column, term by
    term in the order of the formula: Cov(b_level) = σ² T_t T_tᵀ, the parameters of lme4. β and σ
    are profiled out.

    Args:
        formula: in lme4's notation: `y ~ x + (1 | g) + (x | h)`, `(x || h)`, `(1 | a/b)`.
        data: a pandas, polars or pyarrow table, or a mapping of columns.
        weights: column name or vector; Var(ε_i) = σ²/w_i.
        offset: column name or vector, added to Xβ.

    Attributes:
        design: y, X and the terms, rows with missing values left out.
        call: the data and options that were given.
        layout: the static structure; `layout.pattern` is that of ΛᵀZᵀWZΛ + I.

    Raises:
        ArgumentError: names, values or groups that make no model: a constant response, a grouping
            factor with one level, or with as many effects as there are rows.
        ShapeError: columns of different lengths.

    Example:
        >>> import jax, numpy as np, cholax.stats as cs
        >>> jax.config.update("jax_enable_x64", True)
        >>> y, g = np.array([1.0, 2.0, 4.0, 6.0]), ["a", "a", "b", "b"]
        >>> model = cs.LinearMixedModel("y ~ 1 + (1 | g)", {"y": y, "g": g})
        >>> value, gradient = jax.value_and_grad(model.deviance)(np.ones(1))
        >>> round(float(value), 6), gradient.round(6).tolist()
        (15.54172, [-0.64135])
    """

    design: Design
    layout: Layout
    arrays: Arrays

    def __init__(self, formula: str, data: Any, *, weights: Any = None, offset: Any = None) -> None:
        self.call = {"data": data, "weights": weights, "offset": offset}
        self.design = build_design(formula, data, weights=weights, offset=offset)
        _check_identified(self.design)
        check_values(self.design.y, "lmm")
        _check_units(self.design)
        self.layout, self.arrays, self.coordinates = lay_out(self.design)
        _check_residual(self)

    @property
    def theta_names(self) -> tuple[str, ...]:
        """`group.column` on diagonals, `group.row.column` below them."""
        return theta_names(self.design)

    @property
    def start(self) -> np.ndarray:
        """θ where a fit begins: T̃ = I in internal coordinates."""
        templates = [np.linalg.inv(np.asarray(m)) for m in self.arrays.to_internal]
        return self.layout.theta(templates)

    def deviance(self, theta: ArrayLike, *, reml: bool = False) -> jax.Array:
        """The profiled deviance −2 log L(θ), or the REML criterion; differentiable to any order.

        d(θ) = log|ΛᵀZᵀWZΛ + I| + [log|R_X|²] + ν(1 + log(2π r²(θ)/ν)) − Σ log w

        with ν = n, or n − p and the bracket with REML.

        Args:
            theta: `(k,)`.
            reml: the restricted criterion.

        Raises:
            ShapeError: θ of another length.
        """
        return self.profile(theta, reml=reml).criterion

    def profile(self, theta: ArrayLike, *, reml: bool = False) -> Profile:
        """The criterion with factor, solutions and sums of squares, in internal coordinates."""
        reml = options.flag(reml, "LinearMixedModel", "reml")
        theta = check_values(theta, "LinearMixedModel")
        size = sum(self.layout.theta_sizes)
        if theta.shape != (size,):
            raise ShapeError(
                f"LinearMixedModel: need theta of shape ({size},) ({', '.join(self.theta_names)}), "
                f"got {theta.shape}."
            )
        templates = internal_templates(self.layout, self.arrays, theta)
        return profile(self.layout, self.arrays, templates, reml=reml)

    def value_and_gradient(self, internal: np.ndarray, *, reml: bool) -> tuple[Any, Any]:
        """The criterion and its gradient in internal coordinates, compiled."""
        found, gradient = self.evaluate(internal, reml=reml)
        return found.criterion, gradient

    def evaluate(self, internal: np.ndarray, *, reml: bool) -> tuple[Profile, jax.Array]:
        """The same with everything that is profiled out."""
        return _value_and_gradient(self.layout, self.arrays, jnp.asarray(internal), reml=reml)

    def hessian(self, internal: np.ndarray, *, reml: bool) -> np.ndarray:
        """Its Hessian in internal coordinates: one forward sweep over the gradient per column."""
        point = jnp.asarray(internal)
        columns = [
            _hessian_column(self.layout, self.arrays, point, jnp.asarray(e), reml=reml)
            for e in np.eye(point.size)
        ]
        return np.stack(columns) if columns else np.zeros((0, 0))

    def compile_hessian(self, *, reml: bool) -> Callable[[], None]:
        """Begin to compile `hessian` on another thread; the result waits for the end."""
        point = jnp.zeros(sum(self.layout.theta_sizes), self.arrays.B.dtype)
        return compile_ahead(_hessian_column, self.layout, self.arrays, point, point, reml=reml)

    def to_internal(self, theta: np.ndarray) -> np.ndarray:
        """θ in the coordinates in which fits are made."""
        pairs = zip(self.arrays.to_internal, self.layout.templates(theta), strict=True)
        return self.layout.theta([np.asarray(m) @ T for m, T in pairs])

    def to_user(self, internal: np.ndarray) -> np.ndarray:
        """The inverse of `to_internal`."""
        pairs = zip(self.arrays.to_internal, self.layout.templates(internal), strict=True)
        return self.layout.theta([np.linalg.solve(np.asarray(m), T) for m, T in pairs])


def theta_names(design: Design) -> tuple[str, ...]:
    """Names of the entries of θ: `group.column` on diagonals, `group.row.column` below them."""
    names = []
    for term in design.terms:
        for k, column in enumerate(term.columns):
            names.append(f"{term.group}.{column}")
            names += [f"{term.group}.{row}.{column}" for row in term.columns[k + 1 :]]
    return tuple(names)


def _criterion(
    layout: Layout, arrays: Arrays, internal: jax.Array, reml: bool
) -> tuple[jax.Array, Profile]:
    found = profile(layout, arrays, layout.templates(internal), reml=reml)
    return found.criterion, found


@partial(jax.jit, static_argnames=("layout", "reml"))
def _value_and_gradient(
    layout: Layout, arrays: Arrays, internal: jax.Array, *, reml: bool
) -> tuple[Profile, jax.Array]:
    criterion = jax.value_and_grad(lambda x: _criterion(layout, arrays, x, reml), has_aux=True)
    (_, found), gradient = criterion(internal)
    return found, gradient


@partial(jax.jit, static_argnames=("layout", "reml"), compiler_options=FEW_CALLS)
def _hessian_column(
    layout: Layout, arrays: Arrays, internal: jax.Array, direction: jax.Array, *, reml: bool
) -> jax.Array:
    gradient = jax.grad(lambda x: _criterion(layout, arrays, x, reml)[0])
    return jax.jvp(gradient, (internal,), (direction,))[1]


def _check_identified(design: Design) -> None:
    for term in design.terms:
        levels, p = term.size
        if levels * p >= design.n:
            raise ArgumentError(
                f"lmm: the term ({' + '.join(term.columns)} | {term.group}) has {levels * p} "
                f"effects ({levels} levels × {p}) for {design.n} rows, so its variance cannot be "
                "told from the residual variance. It needs fewer effects than rows."
            )


def _check_units(design: Design) -> None:
    response = (design.y - design.offset)[:, None]
    check_range(response, (design.formula.response,), "response", "lmm")
    # Effects are of the size y/x, and their variances the square.
    size = float(np.max(np.abs(response), initial=0.0))
    blocks = [(design.X, design.names), *((t.values, t.columns) for t in design.terms)]
    for values, columns in blocks:
        covariates = np.max(np.abs(values), axis=0, initial=0.0)
        with np.errstate(divide="ignore"):
            effects = np.where(covariates > 0, size / covariates, 0.0)
        check_range(effects[None], columns, "effect of", "lmm")


def _check_residual(model: LinearMixedModel) -> None:
    design = model.design
    rest = np.asarray(model.arrays.B)[:, -1]
    size = np.linalg.norm(np.sqrt(design.weights) * (design.y - design.offset))
    if np.linalg.norm(rest) <= 1e-13 * size:
        what = "is constant" if np.ptp(design.y) == 0 else "is fitted exactly by the fixed effects"
        raise ArgumentError(
            f"lmm: the response {design.formula.response!r} {what}: no variance is left to "
            "estimate."
        )
