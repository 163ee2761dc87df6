"""What `check_derivatives` differentiates: a function of one real leaf, with a flat real result."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from cholax._core.errors import ArgumentError


class Leaf(NamedTuple):
    """One real leaf: its name, its values, and a direction."""

    place: int
    name: str
    value: jax.Array
    direction: jax.Array


class Problem(NamedTuple):
    """f as a function of one leaf, the others fixed, with a flat result."""

    of: Callable[[int], Callable[[jax.Array], jax.Array]]
    leaves: list[Leaf]
    result: list[tuple[str, int]]
    """Name and size of each leaf of the result."""
    signs: np.ndarray
    """Cotangent of the result before its entries are brought to one size."""
    dtype: Any
    """The coarsest format of the result."""


def is_real(leaf: Any) -> bool:
    """Whether a leaf is real floating-point."""
    return jnp.issubdtype(jnp.result_type(leaf), jnp.floating)


def _is_complex(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jnp.complexfloating)


def as_real(tree: Any) -> Any:
    """Every complex leaf as a dictionary of its real and imaginary parts."""
    return jax.tree.map(
        lambda leaf: (
            {"real": jnp.real(leaf), "imag": jnp.imag(leaf)} if _is_complex(leaf) else leaf
        ),
        tree,
    )


def on_real_leaves(f: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, Any]:
    """The function and its arguments with every complex number taken apart into two real ones."""
    leaves, treedef = jax.tree.flatten(args)
    parted = [_is_complex(leaf) for leaf in leaves]

    def real(*parts: Any) -> Any:
        joined = [
            jax.lax.complex(part["real"], part["imag"]) if pair else part
            for pair, part in zip(parted, parts, strict=True)
        ]
        return as_real(f(*treedef.unflatten(joined)))

    if not any(parted):
        return (lambda *args: as_real(f(*args))), args
    pairs = treedef.unflatten([as_real(leaf) for leaf in leaves])
    return (lambda *pairs: real(*treedef.flatten_up_to(pairs))), pairs


def in_double(f: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments in float64 where f then returns float64, else unchanged."""
    if jnp.zeros(0, float).dtype != jnp.float64:
        return args
    double = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, jnp.float64) if is_real(leaf) else leaf, args
    )
    try:
        out = [leaf for leaf in jax.tree.leaves(jax.eval_shape(f, *double)) if is_real(leaf)]
    except Exception:
        # Functions may refuse float64 by any error of theirs; then they are checked as they are.
        return args
    return double if all(leaf.dtype == jnp.float64 for leaf in out) else args


def problem(f: Callable[..., Any], args: tuple[Any, ...], seed: int) -> Problem:
    """The function and its real arguments, leaf by leaf."""
    paths, treedef = jax.tree_util.tree_flatten_with_path(args)
    values = [jnp.asarray(leaf) for _, leaf in paths]
    random = np.random.default_rng(seed)

    def of(index: int) -> Callable[[jax.Array], jax.Array]:
        def single(leaf: jax.Array) -> jax.Array:
            leaves = [*values[:index], leaf, *values[index + 1 :]]
            out = jax.tree.leaves(f(*treedef.unflatten(leaves)))
            return ravel_pytree([part for part in out if is_real(part)])[0]

        return single

    leaves = [
        Leaf(k, f"args{jax.tree_util.keystr(path)}", value, direction(value, random))
        for k, ((path, _), value) in enumerate(zip(paths, values, strict=True))
        if is_real(value) and value.size
    ]
    if not leaves:
        raise ArgumentError(
            "check_derivatives: need an argument with a floating-point leaf, got none. "
            "Pass args as a list of the arguments of f."
        )
    out = jax.tree_util.tree_flatten_with_path(jax.eval_shape(f, *args))[0]
    out = [(f"result{jax.tree_util.keystr(p)}", leaf) for p, leaf in out if is_real(leaf)]
    if not out:
        raise ArgumentError(
            "check_derivatives: need a function with a floating-point result, got none. "
            "Integers have no derivative: return what depends on the arguments smoothly."
        )
    names = [(name, int(np.prod(leaf.shape))) for name, leaf in out]
    coarse = max((leaf.dtype for _, leaf in out), key=lambda d: float(jnp.finfo(d).eps))
    return Problem(of, leaves, names, spread(sum(size for _, size in names), random), coarse)


def spread(shape: Any, random: np.random.Generator) -> np.ndarray:
    """Random numbers of both signs, none near 0: an error in any entry has to show."""
    return random.uniform(0.5, 1.5, shape) * random.choice([-1, 1], shape)


def direction(value: jax.Array, random: np.random.Generator) -> jax.Array:
    """A random direction in a leaf."""
    return jnp.asarray(spread(value.shape, random), value.dtype)


def per_real_leaf(spec: Any, args: tuple[Any, ...]) -> Any:
    """An option given like args, with an entry for either part of a complex leaf."""
    parts, leaves = jax.tree.leaves(spec), jax.tree.leaves(args)
    if len(parts) != len(leaves) or len(parts) == 1:
        return spec
    twice = [[part] * (1 + _is_complex(leaf)) for part, leaf in zip(parts, leaves, strict=True)]
    return [part for pair in twice for part in pair]
