"""PyTensor Ops on the values of one symmetric pattern, closed under differentiation.

The factor is a variable of the graph: PyTensor merges equal nodes, so a log-density and its
gradient make one factorisation. It is a cache, as in cholax's own primitives: derivatives are those
of the problem and pass through the values.

| Op | is | pullback |
|---|---|---|
| `CholeskyFactor` | values ↦ L | none: what uses L differentiates through the values |
| `Solve` | X = A⁻¹B | B̄ = A⁻¹X̄; Ā = −B̄ Xᵀ on the pattern |
| `LogDet` | log of the determinant of A | g · `LogDetGradient` |
| `LogDetGradient` | w∘A⁻¹ on the pattern, w = 2 off the diagonal | `LogDetCurvature` |
| `LogDetCurvature` | −w∘(A⁻¹ D A⁻¹) on the pattern, self-adjoint in D | itself in D |
| `Matvec` | AX | Ā = X̄ Xᵀ on the pattern; A X̄ |
| `OuterOnPattern` | U Vᵀ on the pattern, both mirror entries | `Matvec` |

Each runs in PyTensor's C and Python modes by compiled JAX programs (one per Op and shape, never one
per call), and is plain JAX in its JAX mode.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from pytensor.gradient import DisconnectedType, grad_not_implemented
from pytensor.graph.basic import Apply
from pytensor.link.jax.dispatch.basic import jax_funcify
from pytensor.tensor.type import TensorType

from cholax import primitives
from cholax._core.dtypes import check_values
from cholax._core.errors import DtypeError, ShapeError, UnsupportedError
from cholax.analysis import Plan, analyze
from cholax.integrations.pytensor._untyped import Op, pt
from cholax.linalg.cholesky import cholesky
from cholax.linalg.matrix import SparseMatrix
from cholax.patterns import Pattern


class PatternOp(Op):
    """An Op on arrays that belong to one symmetric pattern.

    A subclass must define: `ranks` and `lengths` (of the first axis) of the inputs, its
    `gufunc_signature`, `run`, `result_shape` and `pullback`. It may name inputs that are `caches`,
    which derivatives do not pass through.
    """

    __props__ = ("pattern", "ordering")
    ranks: tuple[int, ...]
    gufunc_signature: str
    run: Callable[..., Any]  # the Op in JAX
    caches: tuple[int, ...] = ()

    def __init__(self, pattern: Pattern, ordering: Any = "auto") -> None:
        self.pattern = pattern
        self.ordering = ordering

    @property
    def plan(self) -> Plan:
        """The symbolic factorisation, remembered with the pattern."""
        return analyze(self.pattern, self.ordering)

    @property
    def n(self) -> int:
        """Order of the matrix."""
        return self.pattern.n

    @property
    def lengths(self) -> tuple[int, ...]:
        """Length of the first axis of each input."""
        raise NotImplementedError

    def result_shape(self, shapes: Sequence[Any]) -> tuple[Any, ...]:
        """Shape of the result, from those of the inputs."""
        raise NotImplementedError

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        """Cotangents of the inputs; PyTensor 3 asks for it by this name."""
        raise NotImplementedError

    def L_op(self, inputs: Any, outputs: Any, output_grads: Any) -> list[Any]:
        """Cotangents of the inputs; PyTensor 2 asks for it by this name."""
        return self.pullback(inputs, outputs, output_grads)

    def make_node(self, *inputs: Any) -> Apply:
        """Check ranks, dtypes and the sizes that are known."""
        where = type(self).__name__
        variables = [pt.as_tensor_variable(x) for x in inputs]
        got = tuple(x.type.ndim for x in variables)
        if got != self.ranks:
            raise ShapeError(f"{where}: need inputs of rank {self.ranks}, got {got}.")
        dtypes = {x.type.dtype for x in variables}
        if len(dtypes) > 1 or not dtypes <= {"float32", "float64"}:
            raise DtypeError(
                f"{where}: need float32 or float64, one for all inputs, got {sorted(dtypes)}. "
                "Convert explicitly with pytensor.tensor.cast."
            )
        self.check_lengths([x.type.shape for x in variables])
        shape = self.result_shape([x.type.shape for x in variables])
        return Apply(self, variables, [TensorType(dtypes.pop(), shape=shape)()])

    def check_lengths(self, shapes: Sequence[Any]) -> None:
        """Refuse lengths known to differ from the pattern's; JAX refuses the others at run time."""
        for k, (shape, want) in enumerate(zip(shapes, self.lengths, strict=True)):
            if shape[0] not in (None, want):
                raise ShapeError(
                    f"{type(self).__name__}: input {k} must have length {want} for "
                    f"{self.pattern!r}, got {shape[0]}. A symmetric pattern stores the lower "
                    "triangle only."
                )

    def infer_shape(self, fgraph: Any, node: Apply, shapes: Sequence[Any]) -> list[Any]:
        """Shapes without running the Op."""
        del fgraph, node
        return [self.result_shape(shapes)]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """Which inputs derivatives pass through."""
        return [[k not in self.caches] for k in range(len(node.inputs))]

    def perform(self, node: Apply, inputs: Sequence[Any], output_storage: Any) -> None:
        """Run the compiled program."""
        check_process()
        # Before JAX converts: with 64-bit types disabled it would give float32 silently.
        check_values(np.empty(0, node.outputs[0].type.dtype), type(self).__name__)
        # A copy: PyTensor works in place on its own arrays, and JAX's are read-only.
        output_storage[0][0] = np.array(_compiled(self, *inputs))


class CholeskyFactor(PatternOp):
    """The factor of A as one vector, for the other Ops; NaN where A is not positive definite."""

    ranks = (1,)
    gufunc_signature = "(k)->(l)"

    @property
    def lengths(self) -> tuple[int, ...]:
        """Of the values."""
        return (self.pattern.nnz,)

    def run(self, values: Any) -> Any:
        """L on its panels."""
        return primitives.cholesky(self.plan, values, throw=False)[0]

    def result_shape(self, shapes: Sequence[Any]) -> tuple[Any, ...]:
        """That of the factor vector."""
        del shapes
        return (self.plan.size,)

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """None: what uses the factor differentiates through the values."""
        del node
        return [[False]]

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        """Nothing passes."""
        del outputs, cotangents
        return [DisconnectedType()() for _ in inputs]


class Solve(PatternOp):
    """X = A⁻¹B.   dX = A⁻¹(dB − dA X)."""

    ranks = (1, 1, 2)
    caches = (1,)
    gufunc_signature = "(k),(l),(n,m)->(n,m)"

    @property
    def lengths(self) -> tuple[int, ...]:
        """Of the values, the factor and the right-hand sides."""
        return (self.pattern.nnz, self.plan.size, self.n)

    def run(self, values: Any, factor: Any, b: Any) -> Any:
        """Both substitutions."""
        return primitives.solve(self.plan, values, factor, b)

    def result_shape(self, shapes: Sequence[Any]) -> tuple[Any, ...]:
        """That of the right-hand sides."""
        return tuple(shapes[2])

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        """B̄ = A⁻¹X̄ with the same factor; Ā = −B̄Xᵀ."""
        values, factor, _ = inputs
        b_bar = self(values, factor, cotangents[0])
        return [-OuterOnPattern(self.pattern)(b_bar, outputs[0]), DisconnectedType()(), b_bar]


class LogDet(PatternOp):
    """log|A|.   d log|A| = ⟨w∘A⁻¹, dA⟩ over the stored entries."""

    ranks = (1, 1)
    caches = (1,)
    gufunc_signature = "(k),(l)->()"

    @property
    def lengths(self) -> tuple[int, ...]:
        """Of the values and the factor."""
        return (self.pattern.nnz, self.plan.size)

    def run(self, values: Any, factor: Any) -> Any:
        """2 Σ log L_ii."""
        return primitives.log_determinant(self.plan, values, factor)

    def result_shape(self, shapes: Sequence[Any]) -> tuple[Any, ...]:
        """A scalar's."""
        del shapes
        return ()

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        """One selected inverse."""
        del outputs
        gradient = LogDetGradient(self.pattern, self.ordering)(*inputs)
        return [cotangents[0] * gradient, DisconnectedType()()]


class LogDetGradient(LogDet):
    """w∘A⁻¹ on the pattern: the gradient of log|A|."""

    gufunc_signature = "(k),(l)->(k)"

    def run(self, values: Any, factor: Any) -> Any:
        """The Takahashi recursions."""
        return jax.grad(partial(primitives.log_determinant, self.plan))(values, factor)

    def result_shape(self, shapes: Sequence[Any]) -> tuple[Any, ...]:
        """That of the values."""
        return tuple(shapes[0])

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        """A product with the Hessian of log|A|, which is symmetric."""
        del outputs
        curvature = LogDetCurvature(self.pattern, self.ordering)
        return [curvature(inputs[0], cotangents[0]), DisconnectedType()()]


class LogDetCurvature(PatternOp):
    """The Hessian of log|A| in the values, times a direction D: −w∘(A⁻¹DA⁻¹) on the pattern."""

    ranks = (1, 1)
    gufunc_signature = "(k),(k)->(k)"

    @property
    def lengths(self) -> tuple[int, ...]:
        """Of the values and the direction."""
        return (self.pattern.nnz, self.pattern.nnz)

    def run(self, values: Any, direction: Any) -> Any:
        """A tangent of the gradient, through the factorisation."""

        def log_det(v: Any) -> Any:
            return cholesky(SparseMatrix(v, self.pattern), ordering=self.plan).log_det()

        return jax.jvp(jax.grad(log_det), (values,), (direction,))[1]

    def result_shape(self, shapes: Sequence[Any]) -> tuple[Any, ...]:
        """That of the values."""
        return tuple(shapes[0])

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        """Self-adjoint in the direction; third derivatives are left to JAX."""
        del outputs
        values, _ = inputs
        third = grad_not_implemented(
            self, 0, values, "Third derivatives of log|A|: use cholax in JAX."
        )
        return [third, self(values, cotangents[0])]


class Matvec(PatternOp):
    """Y = AX."""

    ranks = (1, 2)
    gufunc_signature = "(k),(n,m)->(n,m)"

    @property
    def lengths(self) -> tuple[int, ...]:
        """Of the values and the columns."""
        return (self.pattern.nnz, self.n)

    def run(self, values: Any, x: Any) -> Any:
        """Both triangles from the one stored."""
        return primitives.matvec(self.pattern, values, x)

    def result_shape(self, shapes: Sequence[Any]) -> tuple[Any, ...]:
        """That of X."""
        return tuple(shapes[1])

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        """Ā = X̄Xᵀ on the pattern, and AX̄."""
        del outputs
        values, x = inputs
        (y_bar,) = cotangents
        return [OuterOnPattern(self.pattern)(y_bar, x), self(values, y_bar)]


class OuterOnPattern(PatternOp):
    """UVᵀ on the pattern, both mirror entries summed: the transpose of `Matvec` in the values."""

    ranks = (2, 2)
    gufunc_signature = "(n,m),(n,m)->(k)"

    @property
    def lengths(self) -> tuple[int, ...]:
        """Of both sets of columns."""
        return (self.n, self.n)

    def run(self, u: Any, v: Any) -> Any:
        """One pass over the pattern."""
        return primitives.outer_on_pattern(self.pattern, u, v)

    def result_shape(self, shapes: Sequence[Any]) -> tuple[Any, ...]:
        """That of the values."""
        del shapes
        return (self.pattern.nnz,)

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        """Bilinear: two products with the cotangent as a matrix."""
        del outputs
        u, v = inputs
        matvec = Matvec(self.pattern)
        return [matvec(cotangents[0], v), matvec(cotangents[0], u)]


def _execute(op: PatternOp, *inputs: Any) -> Any:
    return op.run(*inputs)


_compiled = jax.jit(_execute, static_argnums=0)


@jax_funcify.register(PatternOp)
def _jax_of_pattern_op(op: PatternOp, **kwargs: Any) -> Any:
    del kwargs
    return op.run


# --- processes ------------------------------------------------------------------------------------

_process = {"ran": False, "forked": False}


def _after_fork() -> None:
    _process["forked"] = _process["ran"]


os.register_at_fork(after_in_child=_after_fork)


def check_process() -> None:
    """Refuse to run JAX in a process forked after JAX ran: its threads are gone, it would hang."""
    if _process["forked"]:
        raise UnsupportedError(
            "cholax.integrations.pytensor: JAX ran in this process before it was forked, and would "
            "wait for ever for threads that were not copied. Start other processes afresh: "
            'pm.sample(..., mp_ctx="forkserver") or mp_ctx="spawn", below '
            'if __name__ == "__main__"; or cores=1.'
        )
    _process["ran"] = True
