"""An equation F(z, θ) = 0 as flat arrays: pytrees ravelled, closed-over values made arguments."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from cholax._core.dtypes import check_values
from cholax._core.errors import DtypeError, ShapeError
from cholax._core.foreign import refuse_foreign_tree
from cholax._core.jax_compat import split_closure
from cholax.sparsediff.remembered import split_arguments


@dataclass(frozen=True)
class System:
    """A traced function of a flat z and of the parameters theta it depends on.

    Attributes:
        function: `function(z, *theta)`, flat in and out.
        theta: every array whose change changes the solution: arguments and closed-over tracers.
        start: the flat first iterate.
    """

    function: Callable[..., jax.Array]
    theta: list[Any]
    start: jax.Array

    @property
    def n(self) -> int:
        """Number of unknowns."""
        return self.start.size


def layout(tree: Any) -> Hashable:
    """What decides how `ravel` flattens a pytree."""
    leaves, treedef = jax.tree.flatten(tree)
    return treedef, tuple((np.shape(x), jnp.result_type(x)) for x in leaves)


def ravel(tree: Any, where: str) -> tuple[jax.Array, Callable[[jax.Array], Any]]:
    """A pytree of float arrays of one dtype as one vector, and the way back."""
    refuse_foreign_tree(tree, where)
    leaves, treedef = jax.tree.flatten(tree)
    # Python floats take the default dtype; any array must already have a supported one.
    plain = [isinstance(x, float) and not isinstance(x, np.generic) for x in leaves]
    arrays = [
        jnp.asarray(x) if weak else check_values(x, where)
        for x, weak in zip(leaves, plain, strict=True)
    ]
    fixed = {a.dtype for a, weak in zip(arrays, plain, strict=True) if not weak}
    if len(fixed) > 1:
        raise DtypeError(
            f"{where}: all leaves must have one dtype, got {sorted(d.name for d in fixed)}. "
            "Convert them with .astype()."
        )
    dtype = fixed.pop() if fixed else jnp.zeros(()).dtype
    flat, unravel = ravel_pytree(jax.tree.unflatten(treedef, [_strong(a, dtype) for a in arrays]))
    return flat.astype(dtype), unravel


def _strong(x: jax.Array, dtype: np.dtype) -> jax.Array:
    # asarray keeps weak types, which would let later arithmetic change the dtype.
    return jax.lax.convert_element_type(x, np.dtype(dtype))


def make_system(
    F: Callable[..., Any],
    start: jax.Array,
    unravel: Callable[[jax.Array], Any],
    args: Sequence[Any],
    where: str,
) -> System:
    """Trace F(z, *args) once into a `System`, z from `ravel`."""
    arrays, rebuild, _ = split_arguments(args)
    arrays = [jnp.asarray(x) for x in arrays]

    def flat(z: jax.Array, *arrays: Any) -> jax.Array:
        return _ravel_output(F(unravel(z), *rebuild(arrays)), start.dtype, where)

    run, consts = split_closure(flat, start, *arrays)
    count = len(arrays)

    def function(z: jax.Array, *theta: Any) -> jax.Array:
        return run(theta[count:], z, *theta[:count])[0]

    return System(function, [*arrays, *consts], start)


def _ravel_output(out: Any, dtype: np.dtype, where: str) -> jax.Array:
    leaves = jax.tree.leaves(out)
    wrong = [x for x in leaves if jnp.result_type(x) != dtype]
    if wrong:
        raise DtypeError(
            f"{where}: the function must return the dtype of z, {dtype.name}, got "
            f"{jnp.result_type(wrong[0]).name}. Convert its arguments with .astype()."
        )
    flat = [jnp.ravel(x) for x in leaves]
    return jnp.concatenate(flat) if flat else jnp.zeros(0, dtype)


def check_square(system: System, where: str) -> None:
    """Raise `ShapeError` unless there are as many equations as unknowns."""
    out = jax.eval_shape(system.function, system.start, *system.theta)
    if out.shape != (system.n,):
        raise ShapeError(
            f"{where}: need as many equations as unknowns, got {out.size} for {system.n}. "
            "For least squares minimize the sum of squares with cx.minimize."
        )
