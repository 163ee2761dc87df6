"""The factory that turns a declaration into a JAX primitive.

A declaration (`_declaration`) names the operands and their kinds, the result shapes and the
derivative rules; `define` makes from it abstract evaluation, and puts together the transforms
(`_transforms`) and the lowering by whatever backend is in use (`_backends`).
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from cholax._core.errors import ShapeError
from cholax._core.jax_compat import Primitive, ad, batching, unify_varying_axes
from cholax.primitives import _backends, _transforms
from cholax.primitives._adjoint import adjoint_calls
from cholax.primitives._declaration import Declaration, Kind, Operand, batch_shape
from cholax.primitives._structures import as_ref

__all__ = ["Definition", "Kind", "Operand", "compile_only", "define", "registry"]


@dataclass(frozen=True, kw_only=True)
class Definition(Declaration):
    """A declared primitive; calling it binds it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "primitive", _make_primitive(self))

    def __call__(self, structure: Any, *operands: Any, **params: Any) -> Any:
        """Bind the primitive; one result comes back bare, several as a list."""
        ref = as_ref(structure)
        arrays = unify_varying_axes([*ref.operands, *operands])
        adjoint = adjoint_calls.value and self.multiplies
        backend = _backends.chosen.value
        results = self.primitive.bind(
            *arrays, static=ref.static, backend=backend, adjoint=adjoint, **params
        )
        return results[0] if len(results) == 1 else results


registry: dict[str, Definition] = {}


def define(name: str, **declaration: Any) -> Definition:
    """Declare a primitive and enter it into the registry the contract tests iterate."""
    definition = Definition(name=name, **declaration)
    registry[name] = definition
    return definition


def compile_only(primitive: Primitive, static_names: tuple[str, ...]) -> None:
    """Let a primitive have no evaluation but its compiled one."""
    compiled = jax.jit(primitive.bind, static_argnames=static_names)

    def evaluate(*args: Any, **params: Any) -> Any:
        with jax.disable_jit(False):  # which therefore ends here
            return compiled(*args, **params)

    primitive.def_impl(evaluate)


def _make_primitive(d: Declaration) -> Primitive:
    primitive = Primitive(f"cholax_{d.name}")
    primitive.multiple_results = True
    primitive.def_abstract_eval(partial(_abstract_eval, d))
    compile_only(primitive, ("static", "backend", "adjoint", *d.params))
    ad.primitive_jvps[primitive] = partial(_transforms.jvp, d)
    if any(op.kind is Kind.LINEAR for op in d.operands):
        ad.primitive_transposes[primitive] = partial(_transforms.transpose, d)
    batching.primitive_batchers[primitive] = partial(_transforms.batch, d)
    _backends.register(d, primitive)
    return primitive


def _abstract_eval(
    d: Declaration, *avals: Any, static: Any, backend: str, adjoint: bool, **params: Any
) -> Any:
    del adjoint
    ref, operands = d.split(static, avals)
    batch: tuple[int, ...] = ()
    like = operands[0]
    cores = []
    for op, aval in zip(d.operands, operands, strict=True):
        shape = batch_shape(op, aval.shape)
        if shape and batch and shape != batch:
            raise ShapeError(f"{d.name}: batch shapes must agree, got {batch} and {shape}.")
        if shape and not batch:
            batch, like = shape, aval
        cores.append(tuple(aval.shape[len(shape) :]))
    return [
        like.update(
            shape=batch + core,
            dtype=np.dtype(dtype or like.dtype),
            weak_type=False,
            sharding=_batch_sharding(like.sharding, len(batch), len(core)),
        )
        for core, dtype in d.results(ref.static, *cores, **params)
    ]


def _batch_sharding(sharding: NamedSharding, batch: int, core: int) -> NamedSharding:
    """Results are sharded over the mesh as the batch is, and whole in their core dimensions."""
    spec = PartitionSpec(*sharding.spec[:batch], *[None] * core)
    return NamedSharding(sharding.mesh, spec)
