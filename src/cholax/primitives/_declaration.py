"""What a primitive declares: operands and their kinds, results, rules, and who can carry it out.

Batching: every operand has core dimensions (its `rank`), preceded by batch dimensions or by none
("shared"); all batched operands of one call agree on them. A shared operand is never copied.
"""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from cholax._core.jax_compat import Primitive
from cholax.primitives._dependence import Dependence
from cholax.primitives._structures import ATTRIBUTES, Ref


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


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """A primitive as declared.

    The tangent rule of a smooth operand is one of `tangents`, or one of `shifts` where the operand
    acts as a change of a linear one: d x = A⁻¹ (db − dA x) shifts db. Shifts are added up before
    the one linear call, whose transpose is one call as well.

    `specification` is the operation in dense `jax.numpy`, for one batch member: what the reference
    backend runs.

    `kernel` says whether `native/calls/kernels.def` has a kernel of this name. Where it has none,
    `host` may run in its place, called back by the compiled program with the NumPy arrays of one
    batch member: `host(static, *operands, **params)` returns the results. It must not call JAX,
    which could wait for the thread that runs it. Without either, the specification serves every
    platform.

    `params` are static: flags and tuples of integers, which a kernel knows by the same names.

    `overwrites` names the operand in whose memory the kernel may build the first result, where
    both have one shape and nothing reads the operand later. Where a primitive has the parameter
    `in_place`, it does so only if that is true.

    `dependence` says which entries of the result depend on which entries of the linear operands.
    """

    name: str
    operands: tuple[Operand, ...]
    results: Callable[..., Sequence[tuple[tuple[int, ...], Any]]]
    specification: Callable[..., Any]
    tangents: dict[str, Rule] = field(default_factory=dict)
    shifts: dict[str, tuple[str, Rule]] = field(default_factory=dict)
    transposes: dict[str, Callable[..., Any]] = field(default_factory=dict)
    params: tuple[str, ...] = ()
    dependence: Dependence | None = None
    overwrites: str | None = None
    host: Callable[..., Sequence[np.ndarray]] | None = None
    kernel: bool = True
    primitive: Primitive = field(init=False)

    def __post_init__(self) -> None:
        if clash := ATTRIBUTES.intersection(self.params):
            raise ValueError(f"{self.name}: parameters must not be called {sorted(clash)}.")
        if any(op.kind is Kind.LINEAR for op in self.operands) != (self.dependence is not None):
            raise ValueError(
                f"{self.name}: a primitive declares its `dependence` if and only if it has linear "
                "operands."
            )

    @property
    def multiplies(self) -> bool:
        """Whether a linear operand meets other ones, so that 0 × NaN may come up."""
        return len(self.operands) > 1 and any(op.kind is Kind.LINEAR for op in self.operands)

    @property
    def deciding(self) -> list[int]:
        """Places of the operands that make an adjoint zero where they are."""
        operands = enumerate(self.operands)
        return [k for k, op in operands if op.kind is Kind.LINEAR and op.decides]

    @property
    def given_to_kernel(self) -> list[int]:
        """Places of the operands that the kernel reads."""
        return [k for k, op in enumerate(self.operands) if op.native]

    @property
    def linear_bits(self) -> int:
        """For the kernel: bit i is set where its operand i makes an adjoint zero."""
        places = self.given_to_kernel
        return sum(1 << places.index(k) for k in self.deciding)

    def place(self, name: str) -> int:
        """The position of an operand among the declared ones."""
        return [op.name for op in self.operands].index(name)

    def split(self, static: Any, args: Sequence[Any]) -> tuple[Ref, Sequence[Any]]:
        """Separate the leading structure operands from the declared ones."""
        count = len(args) - len(self.operands)
        return Ref(static, tuple(args[:count])), args[count:]


def batch_shape(op: Operand, shape: Sequence[int]) -> tuple[int, ...]:
    """The leading dimensions of an operand of that shape."""
    return tuple(shape[: len(shape) - op.rank])
