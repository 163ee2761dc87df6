"""`LatentModel`: a family of Gaussian Markov random fields on one fixed pattern."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from cholax._core.dtypes import SUPPORTED, check_same_dtype
from cholax._core.errors import ArgumentError, DtypeError, ShapeError
from cholax._core.pickling import Remade
from cholax.linalg import SparseMatrix
from cholax.patterns import Pattern
from cholax.stats.constraints import EMPTY, Constraints, as_null_space, support_rows
from cholax.stats.gmrf import GMRF
from cholax.stats.support import POSITIVE, Support

Hypers = dict[str, jax.Array]


@dataclass(frozen=True)
class Hyperparameter:
    """A parameter of a latent model: its name, where it lives, and its shape."""

    name: str
    support: Support
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Parametrization:
    """One choice of hyperparameters, and how the model's first choice follows from them."""

    parameters: tuple[Hyperparameter, ...]
    convert: Callable[..., Hypers] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the hyperparameters."""
        return tuple(p.name for p in self.parameters)


@dataclass(frozen=True, eq=False, repr=False)
class LatentModel(Remade):
    """A Gaussian Markov random field with hyperparameters, on one pattern for all their values.

    The structure lives on the host and is static: pattern, null space, constraints. Calling the
    model with hyperparameters by name gives a `GMRF` of mean zero; `precision` gives the
    `SparseMatrix` alone. Both trace, differentiate to any order, and give NaN for hyperparameters
    outside their supports. The model is static: close over it, do not pass it through `jit`.

    Attributes:
        name: of the family.
        pattern: of the precision, symmetric.
        parametrizations: alternative sets of hyperparameters; the first one is the model's own.
        null_space: `(n, d)` orthonormal basis of what the precision maps to zero, an array or, for
            large products, a SciPy sparse array; `None` where it depends on the hyperparameters
            and the constraints exclude it.
        constraints: the `Constraints` A x = 0, or `None`.
        scale: factor of each connected component or, for one factor, a scalar array.
    """

    name: str
    pattern: Pattern
    parametrizations: tuple[Parametrization, ...]
    values: Callable[..., jax.Array]
    null_space: Any = None
    constraints: Constraints | None = None
    cheap_log_det: Callable[..., jax.Array] | None = None
    scale: np.ndarray = field(default_factory=lambda: np.ones(()))
    effect_values: Callable[..., SparseMatrix] | None = None

    @property
    def n(self) -> int:
        """Number of latent variables."""
        return self.pattern.n

    @property
    def hyperparameters(self) -> tuple[Hyperparameter, ...]:
        """The model's own hyperparameters, with their supports."""
        return self.parametrizations[0].parameters

    @property
    def rank_deficiency(self) -> int:
        """Dimension of the null space of the precision."""
        if self.null_space is None:
            return 0 if self.constraints is None else self.constraints.k
        return self.null_space.shape[1]

    @property
    def rank(self) -> int:
        """Rank of the precision."""
        return self.n - self.rank_deficiency

    @cached_property
    def dimension(self) -> int:
        """Dimension in which the density is normalised: that of the support."""
        rows, _ = support_rows(
            None if self.constraints is None else self.constraints.rows, self._null
        )
        return self.n - (0 if rows is None else rows.k)

    @cached_property
    def _null(self) -> Any:
        """The null space as `GMRF` holds it, so that it is orthonormalised once."""
        if self.null_space is None:
            return None
        return as_null_space(self.null_space, self.n, self.name) or EMPTY

    def __repr__(self) -> str:
        choices = " or ".join(f"({', '.join(p.names)})" for p in self.parametrizations)
        return f"LatentModel({self.name}, n={self.n}, hyperparameters={choices})"

    def precision(self, **hyper: ArrayLike) -> SparseMatrix:
        """The precision matrix for one set of hyperparameters.

        Args:
            **hyper: the hyperparameters of one of the parametrizations, by name.

        Returns:
            A symmetric `SparseMatrix` on `pattern`.

        Raises:
            ArgumentError: names that fit no parametrization.
            DtypeError: hyperparameters of different dtypes.
        """
        return SparseMatrix(self.values(**self.canonical(**hyper)), self.pattern)

    def __call__(self, **hyper: ArrayLike) -> GMRF:
        """The field for one set of hyperparameters, as a `GMRF` of mean zero."""
        return self.field(**self.canonical(**hyper))

    def field(self, **canonical: Any) -> GMRF:
        """The `GMRF` for what `canonical` returns."""
        Q = SparseMatrix(self.values(**canonical), self.pattern)
        log_det = None if self.cheap_log_det is None else self.cheap_log_det(**canonical)
        return GMRF(0.0, Q, self.constraints, null_space=self._null, log_det=log_det)

    def log_det(self, **hyper: ArrayLike) -> jax.Array:
        """Logarithm of the (generalised) determinant that normalises the density.

        log |ZᵀQZ| with Z an orthonormal basis of what constraints and flat directions leave
        free: log |Q| for a proper model without constraints, the sum of the logarithms
        of the non-zero eigenvalues for an intrinsic one. Families that know a cheaper way than a
        factorisation of Q use it, most of them a closed form.
        """
        return self(**hyper).log_det()

    def log_prob(self, x: ArrayLike, **hyper: ArrayLike) -> jax.Array:
        """Log-density of points that satisfy the constraints, `GMRF.log_prob`."""
        return self(**hyper).log_prob(x)

    def effect(self, z: ArrayLike, **hyper: ArrayLike) -> jax.Array:
        """The effect itself from the latent vector: all of it, unless the model is augmented."""
        if self.effect_values is None:
            return jnp.asarray(z)
        return self.effect_matrix(**hyper) @ jnp.asarray(z)

    def effect_matrix(self, **hyper: ArrayLike) -> SparseMatrix:
        """The sparse matrix B of `effect`, B z; only augmented models have one."""
        if self.effect_values is None:
            raise ArgumentError(
                f"{self.name}.effect_matrix: the latent vector is the effect itself; need an "
                "augmented model. Use the vector as it is."
            )
        return self.effect_values(**self.canonical(**hyper))

    def canonical(self, **hyper: ArrayLike) -> Hypers:
        """Convert hyperparameters of any parametrization to the model's own, NaN outside."""
        given = set(hyper)
        for choice in self.parametrizations:
            if given == set(choice.names):
                arrays = as_arrays(hyper, choice.parameters, self.name)
                return arrays if choice.convert is None else choice.convert(**arrays)
        choices = " or ".join(f"({', '.join(p.names)})" for p in self.parametrizations)
        raise ArgumentError(
            f"{self.name}: need the hyperparameters {choices} by name, got "
            f"({', '.join(sorted(given))}). Pass exactly one of these sets."
        )


def as_arrays(
    hyper: dict[str, ArrayLike], parameters: Sequence[Hyperparameter], where: str
) -> Hypers:
    """Hyperparameters as arrays of one dtype and the declared shapes, NaN outside the supports."""
    # numpy.float64 is a Python float, and adapts like one.
    typed = {
        name: np.dtype(x.dtype)
        for name, x in hyper.items()
        if isinstance(x, _ARRAYS) and not isinstance(x, float)
    }
    wrong = {name: d.name for name, d in typed.items() if d.name not in SUPPORTED}
    if wrong:
        raise DtypeError(
            f"{where}: hyperparameters must be float32 or float64, got {wrong}. "
            "Pass Python numbers or convert with .astype()."
        )
    # Python scalars adapt to the arrays among the others, and to JAX's default without any.
    dtype = next(iter(typed.values()), jnp.zeros(0).dtype)
    arrays = {
        name: jnp.asarray(x) if name in typed else jnp.asarray(x, dtype)
        for name, x in hyper.items()
    }
    check_same_dtype(where, **arrays)
    for p in parameters:
        if arrays[p.name].shape != p.shape:
            raise ShapeError(
                f"{where}: {p.name} must have shape {p.shape}, got {arrays[p.name].shape}. "
                "Use jax.vmap over several values."
            )
    return {p.name: p.support.guard(arrays[p.name]) for p in parameters}


_ARRAYS = (jax.Array, np.ndarray, np.generic)

PRECISION = Hyperparameter("precision", POSITIVE)
SD = Hyperparameter("sd", POSITIVE)


def with_precision(*others: Hyperparameter) -> tuple[Parametrization, ...]:
    """Parametrizations (precision, ...) and (sd, ...), for models that scale by a precision."""

    def from_sd(sd: jax.Array, **rest: jax.Array) -> Hypers:
        return {"precision": sd**-2.0, **rest}

    return Parametrization((PRECISION, *others)), Parametrization((SD, *others), from_sd)
