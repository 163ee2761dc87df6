"""A latent model from any function that builds its precision."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cholax._core.errors import StructureError
from cholax._core.pickling import recipe
from cholax.linalg import SparseMatrix
from cholax.stats.constraints import Constraints
from cholax.stats.latent._model import Hyperparameter, LatentModel, Parametrization
from cholax.stats.support import REAL, Support


@recipe
def generic(
    precision_of: Callable[..., SparseMatrix],
    like: Mapping[str, Any],
    *,
    supports: Mapping[str, Support] | None = None,
    null_space: Any = None,
    constraints: Constraints | None = None,
) -> LatentModel:
    """A latent model from a function that builds its precision on one pattern.

    Args:
        precision_of: from hyperparameters by name to a symmetric `SparseMatrix`, whose pattern
            must not depend on their values. Traced, so any JAX function.
        like: an example of the hyperparameters: their names and shapes, and a point at which the
            null space is checked.
        supports: where the hyperparameters live; real numbers when left out.
        null_space: `(n, k)` columns that the precision maps to zero for all hyperparameters.
        constraints: A x = 0; none when left out, also for an intrinsic model.

    Returns:
        A `LatentModel`.

    Raises:
        StructureError: no symmetric `SparseMatrix`, or a null space that is none.

    Example:
        >>> import cholax as cx
        >>> from cholax.stats import generic
        >>> model = generic(lambda scale: scale * cx.eye(2), {"scale": 1.0})
        >>> model.precision(scale=3.0).diagonal().tolist()
        [3.0, 3.0]
    """
    where = "generic"
    arrays = {name: jnp.asarray(x, float) if np.ndim(x) == 0 else x for name, x in like.items()}
    out = jax.eval_shape(lambda hyper: precision_of(**hyper), arrays)
    if not isinstance(out, SparseMatrix) or not out.symmetric:
        raise StructureError(
            f"{where}: the function must return a symmetric SparseMatrix, got {out!r}. "
            "Build it with symmetric=True, or call Q.symmetrize()."
        )
    pattern = out.pattern
    V = np.zeros((pattern.n, 0)) if null_space is None else np.asarray(null_space, float)
    if V.ndim != 2 or V.shape[0] != pattern.n:
        raise StructureError(
            f"{where}: the null space must have shape ({pattern.n}, k), got {V.shape}."
        )
    V = np.linalg.qr(V)[0]
    if V.shape[1]:
        _check_null_space(precision_of(**arrays), V, where)

    def values(**hyper: jax.Array) -> jax.Array:
        Q = precision_of(**hyper)
        if Q.pattern != pattern:
            raise StructureError(
                f"{where}: the pattern must be the same for all hyperparameters, got {Q.pattern} "
                f"instead of {pattern}. Keep zeros as stored entries."
            )
        return Q.values

    known = supports or {}
    parameters = tuple(
        Hyperparameter(name, known.get(name, REAL), np.shape(x)) for name, x in arrays.items()
    )
    return LatentModel(
        where,
        pattern,
        (Parametrization(parameters),),
        values,
        null_space=V,
        constraints=constraints,
    )


def _check_null_space(Q: SparseMatrix, V: np.ndarray, where: str) -> None:
    residual = np.abs(np.asarray(Q @ jnp.asarray(V, Q.dtype))).max()
    size = np.abs(np.asarray(Q.values)).max(initial=0.0)
    if not residual <= 100 * float(jnp.finfo(Q.dtype).eps) * Q.n * size:
        raise StructureError(
            f"{where}: the precision must map the null space to zero, got a residual of "
            f"{float(residual):.3g} at the example. Check the basis."
        )
