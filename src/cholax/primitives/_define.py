"""The factory that turns a declaration into a JAX primitive.

A declaration names the operands and their kinds, the result shapes, the derivative rules and a
dense specification; `define` makes from it abstract evaluation, jvp, transpose, batching, lowering.
This is the only file that touches JAX's primitive machinery.

Batching: every operand has core dimensions (its `rank`), preceded by batch dimensions or by none
("shared"); all batched operands of one call agree on them. A shared operand is never copied.

Adjoints: in a batch member whose factorisation failed the factor is NaN, and 0 × NaN is NaN. What
is bound while a primitive is transposed (and in derivatives of that) is therefore *adjoint*: zero
wherever a linear operand is zero, whatever the others hold. A member that `jnp.where` discards then
leaves the gradients of what the members share alone; cotangents other than zero still give NaN.
"""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from cholax import _native
from cholax._core.errors import CholaxError, ShapeError, UnsupportedError
from cholax._core.jax_compat import Primitive, ad, batching, mlir, unify_varying_axes, user_context
from cholax.primitives._adjoint import keep_zeros
from cholax.primitives._structures import Ref, as_ref, flat_attribute, structure_attributes

_backend = user_context("auto")
_adjoint = user_context(False)


def use_specification() -> Any:
    """Context in which primitives run their dense `jax.numpy` specification, on every platform."""
    return _backend("specification")


class Kind(enum.Enum):
    """What an operand means to the transforms."""

    CACHE = "cache"
    """A factor of some values: its tangent is counted through those values and dropped here."""
    LINEAR = "linear"
    """The result is linear in it: tangents go through the operation; it has a transpose rule."""
    SMOOTH = "smooth"
    """Differentiable, with a tangent rule of its own."""
    ORDER = "order"
    """A scalar whose value means nothing: the kernel runs after what computes it."""


_UNDIFFERENTIATED = (Kind.CACHE, Kind.ORDER)


@dataclass(frozen=True)
class Operand:
    """One operand: its name, kind, and number of dimensions without batch."""

    name: str
    kind: Kind
    rank: int
    native: bool = True
    """Whether the kernel needs it (some operands exist for their derivative only)."""
    decides: bool = True
    """Whether an adjoint is zero where this operand is, if it is linear."""


class Rule(Protocol):
    """A tangent rule: (ref, tangent, operands, results, **params) -> tangents of the results."""

    def __call__(
        self, ref: Ref, tangent: Any, operands: Sequence[Any], results: Sequence[Any], **params: Any
    ) -> Any: ...


@dataclass(frozen=True)
class Definition:
    """A primitive as declared; calling it binds it.

    The tangent rule of a smooth operand is one of `tangents`, or one of `shifts` where the operand
    acts as a change of a linear one: d x = A⁻¹ (db − dA x) shifts db. Shifts are added up before
    the one linear call, whose transpose is one call as well.

    `host` runs in place of a native kernel, called back by the compiled program with the NumPy
    arrays of one batch member: `host(static, *operands, **params)` returns the results. It must not
    call JAX, which could wait for the thread that runs it.

    `overwrites` names the operand in whose memory the kernel may build the first result, where
    both have one shape and nothing reads the operand later. Where a primitive has the parameter
    `in_place`, it does so only if that is true.

    `native` is false where the specification serves every platform.
    """

    name: str
    operands: tuple[Operand, ...]
    results: Callable[..., Sequence[tuple[tuple[int, ...], Any]]]
    specification: Callable[..., Any]
    tangents: dict[str, Rule] = field(default_factory=dict)
    shifts: dict[str, tuple[str, Rule]] = field(default_factory=dict)
    transposes: dict[str, Callable[..., Any]] = field(default_factory=dict)
    params: tuple[str, ...] = ()
    overwrites: str | None = None
    host: Callable[..., Sequence[np.ndarray]] | None = None
    native: bool = True
    primitive: Primitive = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "primitive", _make_primitive(self))

    def __call__(self, structure: Any, *operands: Any, **params: Any) -> Any:
        """Bind the primitive; one result comes back bare, several as a list."""
        ref = as_ref(structure)
        arrays = unify_varying_axes([*ref.operands, *operands])
        adjoint = _adjoint.value and self.multiplies
        results = self.primitive.bind(
            *arrays, static=ref.static, backend=_backend.value, adjoint=adjoint, **params
        )
        return results[0] if len(results) == 1 else results

    @property
    def multiplies(self) -> bool:
        """Whether a linear operand meets other ones, so that 0 × NaN may come up."""
        return len(self.operands) > 1 and any(op.kind is Kind.LINEAR for op in self.operands)

    def place(self, name: str) -> int:
        """The position of an operand among the declared ones."""
        return [op.name for op in self.operands].index(name)


registry: dict[str, Definition] = {}


def define(name: str, **declaration: Any) -> Definition:
    """Declare a primitive and enter it into the registry the contract tests iterate."""
    definition = Definition(name=name, **declaration)
    registry[name] = definition
    return definition


def _make_primitive(d: Definition) -> Primitive:
    primitive = Primitive(f"cholax_{d.name}")
    primitive.multiple_results = True
    primitive.def_abstract_eval(partial(_abstract_eval, d))
    static_names = ("static", "backend", "adjoint", *d.params)
    compiled = jax.jit(primitive.bind, static_argnames=static_names)

    def evaluate(*args: Any, **params: Any) -> Any:
        # A primitive has no evaluation but its compiled one, so `jax.disable_jit` ends here.
        with jax.disable_jit(False):
            return compiled(*args, **params)

    primitive.def_impl(evaluate)
    ad.primitive_jvps[primitive] = partial(_jvp, d)
    if any(op.kind is Kind.LINEAR for op in d.operands):
        ad.primitive_transposes[primitive] = partial(_transpose, d)
    batching.primitive_batchers[primitive] = partial(_batch, d)
    if d.host is not None:
        mlir.register_lowering(primitive, partial(_lower_host, d))
        return primitive
    mlir.register_lowering(primitive, partial(_lower_specification, d))
    if d.native:
        mlir.register_lowering(primitive, partial(_lower_native, d), platform="cpu")
    return primitive


# --- shapes ---------------------------------------------------------------------------------------


def _split(d: Definition, static: Any, args: Sequence[Any]) -> tuple[Ref, Sequence[Any]]:
    """Separate the leading structure operands from the declared ones."""
    count = len(args) - len(d.operands)
    return Ref(static, tuple(args[:count])), args[count:]


def _batch_shape(op: Operand, shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(shape[: len(shape) - op.rank])


def _abstract_eval(
    d: Definition, *avals: Any, static: Any, backend: str, adjoint: bool, **params: Any
) -> Any:
    del adjoint
    ref, operands = _split(d, static, avals)
    batch: tuple[int, ...] = ()
    like = operands[0]
    cores = []
    for op, aval in zip(d.operands, operands, strict=True):
        shape = _batch_shape(op, aval.shape)
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


# --- derivatives ----------------------------------------------------------------------------------


def _jvp(d: Definition, primals: Any, tangents: Any, *, adjoint: bool, **params: Any) -> Any:
    with _adjoint(adjoint):
        return _tangents(d, primals, tangents, adjoint=adjoint, **params)


def _tangents(
    d: Definition,
    primals: Any,
    tangents: Any,
    *,
    static: Any,
    backend: str,
    adjoint: bool,
    **params: Any,
) -> Any:
    ref, operands = _split(d, static, primals)
    common = {"static": static, "backend": backend, "adjoint": adjoint}
    bind = partial(d.primitive.bind, *ref.operands, **common, **params)
    results = bind(*operands)
    tangents = _shift(d, ref, tangents[len(ref.operands) :], operands, results, params)
    totals: list[Any] = [None] * len(results)
    for i, (op, tangent) in enumerate(zip(d.operands, tangents, strict=True)):
        if type(tangent) is ad.Zero or op.kind in _UNDIFFERENTIATED or op.name in d.shifts:
            continue
        if op.kind is Kind.LINEAR:
            parts = bind(*operands[:i], tangent, *operands[i + 1 :])
        else:
            parts = d.tangents[op.name](ref, tangent, operands, results, **params)
            parts = list(parts) if isinstance(parts, (list, tuple)) else [parts]
        for k, part in enumerate(parts):
            if part is not None:
                part = jnp.broadcast_to(part, results[k].shape)
                totals[k] = part if totals[k] is None else totals[k] + part
    zeros = [
        ad.Zero(jax.typeof(r).to_tangent_aval()) if total is None else total
        for r, total in zip(results, totals, strict=True)
    ]
    return results, zeros


def _shift(
    d: Definition, ref: Ref, tangents: Sequence[Any], operands: Any, results: Any, params: Any
) -> list[Any]:
    """The tangents, with those declared as shifts added to the linear operands they shift."""
    out = list(tangents)
    for name, (target, rule) in d.shifts.items():
        tangent, k = tangents[d.place(name)], d.place(target)
        if type(tangent) is not ad.Zero:
            shift = rule(ref, tangent, operands, results, **params)
            out[k] = shift if type(out[k]) is ad.Zero else out[k] + shift
    return out


def _transpose(
    d: Definition,
    cotangents: Any,
    *args: Any,
    static: Any,
    backend: str,
    adjoint: bool,
    **params: Any,
) -> Any:
    del adjoint
    ref, operands = _split(d, static, args)
    out: list[Any] = [None] * len(args)
    (cotangent,) = cotangents
    for i, op in enumerate(d.operands):
        operand = operands[i]
        if not ad.is_undefined_primal(operand):
            continue
        position = len(ref.operands) + i
        if type(cotangent) is ad.Zero:
            out[position] = ad.Zero(operand.aval)
            continue
        others = [x for k, x in enumerate(operands) if k != i]
        other_operands = [o for k, o in enumerate(d.operands) if k != i]
        if operand.aval.ndim == op.rank:
            cotangent, others = _fold_batch(other_operands, cotangent, others)
        with _adjoint(True):
            result = d.transposes[op.name](ref, cotangent, *others, **params)
        surplus = result.ndim - operand.aval.ndim  # the operand was shared over the batch
        out[position] = result.sum(axis=tuple(range(surplus))) if surplus else result
    return out


def _fold_batch(ops: Sequence[Operand], cotangent: Any, others: list[Any]) -> Any:
    """Turn a batch that will be summed into extra columns, where every array has columns.

    Σ_b of an outer product over a batch is one outer product with more columns: this avoids one
    factor-sized result per batch member.
    """
    depths = {x.ndim - op.rank for op, x in zip(ops, others, strict=True)}
    foldable = len(depths) == 1 and depths != {0} and all(op.rank == 2 for op in ops)
    if not foldable or cotangent.ndim - depths.pop() != 2:
        return cotangent, others

    def columns(x: Any) -> Any:
        x = x.reshape(-1, *x.shape[-2:])
        return jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1)

    return columns(cotangent), [columns(x) for x in others]


# --- batching -------------------------------------------------------------------------------------


def _batch(d: Definition, args: Any, dims: Any, *, static: Any, **params: Any) -> Any:
    ref, operands = _split(d, static, args)
    count = len(ref.operands)
    if any(dim is not None for dim in dims[:count]):
        raise UnsupportedError(
            f"{d.name}: vmap over index arrays is not supported (every batch member must have one "
            "pattern). Pass in_axes=None for them and map over the values only."
        )
    dims = dims[count:]
    size = next(x.shape[i] for x, i in zip(operands, dims, strict=True) if i is not None)
    old: tuple[int, ...] = ()
    for op, x, dim in zip(d.operands, operands, dims, strict=True):
        shape = x.shape if dim is None else x.shape[:dim] + x.shape[dim + 1 :]
        old = old or _batch_shape(op, shape)
    moved = [
        _add_batch_dimension(op, x, dim, size, old)
        for op, x, dim in zip(d.operands, operands, dims, strict=True)
    ]
    results = d.primitive.bind(*ref.operands, *moved, static=static, **params)
    return results, [0] * len(results)


def _add_batch_dimension(op: Operand, x: Any, dim: int | None, size: int, old: Any) -> Any:
    """Bring `x` to batch shape (size, *old), or leave it shared where no batch touches it."""
    if dim is None:
        if x.ndim == op.rank:
            return x
        return jnp.broadcast_to(x, (size, *x.shape))
    x = jnp.moveaxis(x, dim, 0)
    if x.ndim == op.rank + 1 and old:
        x = x.reshape(size, *([1] * len(old)), *x.shape[1:])
        x = jnp.broadcast_to(x, (size, *old, *x.shape[1 + len(old) :]))
    return x


# --- lowering -------------------------------------------------------------------------------------


def _deciding(d: Definition) -> list[int]:
    """Places of the operands that make an adjoint zero where they are."""
    return [k for k, op in enumerate(d.operands) if op.kind is Kind.LINEAR and op.decides]


def _lower_specification(
    d: Definition, ctx: Any, *args: Any, static: Any, backend: str, adjoint: bool, **params: Any
) -> Any:
    del backend

    def run(*arrays: Any) -> Any:
        ref, operands = _split(d, static, arrays)
        if ref.operands and d.native:  # without a kernel, nothing depends on the structure
            raise UnsupportedError(
                f"{d.name}: traced index arrays need the native CPU kernels; on other platforms "
                "pass concrete index arrays."
            )
        batched = [x.ndim > op.rank for op, x in zip(d.operands, operands, strict=True)]
        call = partial(d.specification, static, **params)
        depth = max(x.ndim - op.rank for op, x in zip(d.operands, operands, strict=True))
        for _ in range(depth):
            call = jax.vmap(call, in_axes=tuple(0 if b else None for b in batched))
        if adjoint:
            core, rank = [op.rank for op in d.operands], len(ctx.avals_out[0].shape) - depth
            return [keep_zeros(jnp, call, operands, core, _deciding(d), rank)]
        results = call(*operands)
        return list(results) if isinstance(results, (list, tuple)) else [results]

    return mlir.lower_fun(run, multiple_results=True)(ctx, *args)


def _lower_native(
    d: Definition, ctx: Any, *args: Any, static: Any, backend: str, adjoint: bool, **params: Any
) -> Any:
    if backend == "specification":
        common = {"static": static, "backend": backend, "adjoint": adjoint}
        return _lower_specification(d, ctx, *args, **common, **params)
    _native.register()
    count = len(args) - len(d.operands)
    kept = [*range(count), *(count + i for i, op in enumerate(d.operands) if op.native)]
    portable = ctx.module_context.lowering_parameters.for_export
    config = structure_attributes(static, portable=portable) | {
        "flag" if isinstance(value, bool) else name: flat_attribute(value)
        for name, value in params.items()
    }
    if adjoint:
        native = [k for k, op in enumerate(d.operands) if op.native]
        config["linear"] = flat_attribute(sum(1 << native.index(k) for k in _deciding(d)))
    target = _native.target_name(d.name, dynamic=count > 0)
    avals = [ctx.avals_in[i] for i in kept]
    aliases = {}
    if d.overwrites is not None and params.get("in_place", True):
        k = kept.index(count + d.place(d.overwrites))
        if avals[k].shape == ctx.avals_out[0].shape:
            aliases = {k: 0}
    rule = jax.ffi.ffi_lowering(target, backend_config=config, operand_output_aliases=aliases)
    return rule(ctx.replace(avals_in=avals), *(args[i] for i in kept))


def _lower_host(
    d: Definition, ctx: Any, *args: Any, static: Any, backend: str, adjoint: bool, **params: Any
) -> Any:
    if backend == "specification":
        common = {"static": static, "backend": backend, "adjoint": adjoint}
        return _lower_specification(d, ctx, *args, **common, **params)
    host = partial(_call_host, d, static, params)
    if adjoint:
        host = partial(_call_adjoint_host, d, static, params)
    call = partial(_run_host, d, host, [(x.shape, x.dtype) for x in ctx.avals_out])
    if ctx.module_context.lowering_parameters.for_export:
        raise UnsupportedError(
            f"{d.name}: runs on the host of the process that compiles it, and cannot be exported. "
            "For a symmetric positive definite matrix use cx.cholesky, which can."
        )
    # Not `jax.pure_callback`: it hands over JAX arrays, and reading a large one inside the callback
    # deadlocks when the program holds the threads that would copy it.
    results, _, _ = mlir.emit_python_callback(
        ctx, call, None, list(args), ctx.avals_in, ctx.avals_out, has_side_effect=False
    )
    return results


def _call_host(d: Definition, static: Any, params: Any, *operands: Any) -> Any:
    """The results of the host function for one batch member."""
    assert d.host is not None
    _native.count_host_call(d.name)
    return d.host(static, *operands, **params)


def _call_adjoint_host(d: Definition, static: Any, params: Any, *operands: Any) -> Any:
    def only_result(*operands: Any) -> Any:
        return _call_host(d, static, params, *operands)[0]

    core = [op.rank for op in d.operands]
    ((shape, _),) = d.results(static, *(x.shape for x in operands), **params)
    return [keep_zeros(np, only_result, operands, core, _deciding(d), len(shape))]


def _run_host(d: Definition, host: Callable[..., Any], shapes: Any, *args: Any) -> Any:
    """Call the host function once for every batch member."""
    operands = [(op, np.asarray(x)) for op, x in zip(d.operands, args, strict=True)]
    batches = [_batch_shape(op, x.shape) for op, x in operands if x.ndim > op.rank]
    if not batches:
        return host(*(x for _, x in operands))
    results = [np.empty(shape, dtype) for shape, dtype in shapes]
    for member in np.ndindex(batches[0]):
        mine = (x[member] if x.ndim > op.rank else x for op, x in operands)
        try:
            found = host(*mine)
        except CholaxError as error:
            place = member[0] if len(member) == 1 else member
            raise type(error)(f"{error} It is batch member {place}.") from None
        for out, result in zip(results, found, strict=True):
            out[member] = result
    return results
