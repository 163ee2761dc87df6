"""cholax: its bare kernels, each under `jax.jit`, and log-det derivatives by the public API."""

import os
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)  # before the first array

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from problems import Problem  # noqa: E402

import cholax as cx  # noqa: E402
from cholax import primitives as P  # noqa: E402
from compare.server import serve  # noqa: E402
from compare.session import OPERATIONS, Session, Skipped  # noqa: E402


class Cholax(Session):
    """One matrix, or a batch under `vmap`, in cholax."""

    operations = tuple(name for name in OPERATIONS if name != "one_call")
    batched = True

    def __init__(self, problem: Problem, ordering: str) -> None:
        super().__init__(problem, ordering)
        if ordering == "nested_dissection" and not cx.ordering.nested_dissection.metis_available():
            raise Skipped("pymetis is not installed")
        self.indptr, self.indices, self.kept = problem.triangle(upper=False)
        self.batch = problem.members is not None
        if self.batch:
            self.operations = (
                "factor", "log_det", "solve1", "selected_inverse", "value_and_gradient",
            )  # fmt: skip
        self.b1, self.b32 = jnp.asarray(self.b[:, :1]), jnp.asarray(self.b)
        self.random = np.random.default_rng(2)

    def forget(self) -> None:
        """A fresh pattern: plans live with their pattern."""
        self.plan = None
        n = self.problem.n
        self.pattern = cx.Pattern((n, n), self.indptr, self.indices, symmetric=True)

    def analyze(self) -> None:
        """Ordering and symbolic analysis: `cx.analyze`."""
        self.plan = cx.analyze(self.pattern, self.ordering)

    def facts(self) -> dict[str, Any]:
        """Counts of the plan."""
        self._compile()
        plan = self.plan
        return {
            "nnz_factor": plan.nnz_factor,
            "flops": plan.flops,
            "supernodes": plan.num_supernodes,
            "size": plan.size,
        }

    def _jit(self, function: Callable[..., Any], shared: int = 0) -> Callable[..., Any]:
        """Under jit, and under vmap over all but the last `shared` arguments for a batch."""
        if not self.batch:
            return jax.jit(function)

        def mapped(*operands: Any) -> Any:
            axes = [0] * (len(operands) - shared) + [None] * shared
            return jax.vmap(function, in_axes=tuple(axes))(*operands)

        return jax.jit(mapped)

    def _compile(self) -> None:
        plan = self.plan

        def log_det(values: jax.Array) -> jax.Array:
            return cx.cholesky(cx.SparseMatrix(values, plan.pattern), ordering=plan).log_det()

        def hessian_vector(values: jax.Array, direction: jax.Array) -> jax.Array:
            return jax.jvp(jax.grad(log_det), (values,), (direction,))[1]

        self.jit_factor = self._jit(lambda v: P.cholesky(plan, v, throw=False))
        self.jit_log_det = self._jit(lambda v, L: P.log_determinant(plan, v, L))
        self.jit_solve = self._jit(lambda v, L, b: P.solve(plan, v, L, b), shared=1)
        self.jit_selected = self._jit(lambda L: P.selected_inverse(plan, L))
        self.jit_tangent = self._jit(lambda L, w: P.cholesky_tangent(plan, L, w))
        self.jit_cotangent = self._jit(lambda L, x: P.cholesky_cotangent(plan, L, x))
        self.jit_product = self._jit(lambda L, x: P.symmetric_product(plan, L, x))
        self.jit_transpose = self._jit(lambda L, w: P.symmetric_product_transpose(plan, L, w))
        self.jit_value = self._jit(log_det)
        self.jit_gradient = self._jit(jax.value_and_grad(log_det))
        self.jit_hessian = self._jit(hessian_vector)
        one = cx.analyze(cx.eye(1).pattern)
        self.jit_empty = jax.jit(lambda x: P.permute(one, x, transpose=False))
        self.scalar = jnp.ones((1, 1))

    def prepare(self, values: np.ndarray) -> None:
        """Move the lower triangle's values to the device."""
        self.values = jax.block_until_ready(jnp.asarray(values[..., self.kept]))

    def before(self, operation: str) -> None:
        """A second operand on the filled pattern, zero where L is padded; results given back."""
        self.out = None
        if operation.startswith(("cholesky_", "symmetric_")) and not hasattr(self, "other"):
            filled = np.zeros(self.plan.size)
            positions = self.plan.lower_pattern()[1]
            filled[positions] = self.random.standard_normal(positions.size)
            self.other = jax.block_until_ready(jnp.asarray(filled))
        if operation == "factor":
            self.L = None

    def factor(self) -> None:
        """Numeric factorisation."""
        self.L = jax.block_until_ready(self.jit_factor(self.values))[0]

    def log_det(self) -> None:
        """Log-determinant from the factor."""
        self.found = self.jit_log_det(self.values, self.L).block_until_ready()

    def solve1(self) -> None:
        """One right-hand side."""
        self.x = self.jit_solve(self.values, self.L, self.b1).block_until_ready()

    def solve32(self) -> None:
        """32 right-hand sides."""
        self.x = self.jit_solve(self.values, self.L, self.b32).block_until_ready()

    def selected_inverse(self) -> None:
        """Takahashi on the filled pattern."""
        self.inverse = self.jit_selected(self.L).block_until_ready()

    def log_det_of_values(self) -> None:
        """Log-determinant in one program, factorisation included."""
        self.found = self.jit_value(self.values).block_until_ready()

    def value_and_gradient(self) -> None:
        """`jax.jit(jax.value_and_grad(log_det))` of the values, factorisation included."""
        self.inverse = None
        self.found, self.gradient = jax.block_until_ready(self.jit_gradient(self.values))

    def hessian_vector(self) -> None:
        """H v of log-det, v = the values, factorisation included."""
        self.out = self.jit_hessian(self.values, self.values).block_until_ready()
        self.curvature = self.out

    def cholesky_tangent(self) -> None:
        """C(L)[W]."""
        self.out = self.jit_tangent(self.L, self.other).block_until_ready()

    def cholesky_cotangent(self) -> None:
        """Ct(L)[X]."""
        self.out = self.jit_cotangent(self.L, self.other).block_until_ready()

    def symmetric_product(self) -> None:
        """S(L)[X]."""
        self.out = self.jit_product(self.L, self.other).block_until_ready()

    def symmetric_product_transpose(self) -> None:
        """T(L)[W]."""
        self.out = self.jit_transpose(self.L, self.other).block_until_ready()

    def dispatch(self) -> None:
        """A jitted FFI call with nothing to do, the floor of every call."""
        self.jit_empty(self.scalar).block_until_ready()

    # --- results compared between engines ---------------------------------------------------------

    def _first(self, array: jax.Array) -> np.ndarray:
        """The result itself, or that of the first member of a batch."""
        return np.asarray(array[0] if self.batch else array)

    def value(self) -> float:
        """Log-determinant found last."""
        return float(self._first(self.found))

    def solution(self) -> np.ndarray:
        """Solutions of the last solve."""
        return self._first(self.x)

    def inverse_diagonal(self) -> np.ndarray:
        """Diagonal of the inverse, in the order of A."""
        diagonal = np.arange(self.problem.n, dtype=np.int32)
        indptr = np.arange(self.problem.n + 1, dtype=np.int32)
        pattern = cx.Pattern((self.problem.n, self.problem.n), indptr, diagonal)
        return self._first(self.inverse)[self.plan.locate(pattern)]

    def gradient_dot_values(self) -> float:
        """⟨gradient, A⟩."""
        return float(np.dot(self._first(self.gradient), self._first(self.values)))

    def defects(self) -> dict[str, float]:
        """Euler: H[A] = −∇ (degree −1);  C inverts S;  C and Ct, S and T are adjoint."""
        if self.batch:
            return {}
        found = {}
        if hasattr(self, "curvature"):
            found["defect_hessian"] = _relative(self.curvature, -self.gradient)
        if hasattr(self, "other"):
            found |= self._algebra()
        return found

    def _algebra(self) -> dict[str, float]:
        L, x = self.L, self.other
        product, tangent = self.jit_product(L, x), self.jit_tangent(L, x)
        ends = (jnp.vdot(tangent, x), jnp.vdot(x, self.jit_cotangent(L, x)))
        sums = (jnp.vdot(product, x), jnp.vdot(x, self.jit_transpose(L, x)))
        size = jnp.linalg.norm(tangent) * jnp.linalg.norm(x)
        scale = jnp.linalg.norm(product) * jnp.linalg.norm(x)
        return {
            "defect_inverse": _relative(self.jit_tangent(L, product), x),
            "defect_cotangent": abs(float((ends[0] - ends[1]) / size)),
            "defect_transpose": abs(float((sums[0] - sums[1]) / scale)),
        }

    def close(self) -> None:
        """Drop compiled programs, which hold plans."""
        self.__dict__.clear()
        jax.clear_caches()


def _relative(found: jax.Array, expected: jax.Array) -> float:
    return float(jnp.linalg.norm(found - expected) / jnp.linalg.norm(expected))


def versions() -> dict[str, str]:
    """cholax, JAX and the SciPy whose BLAS is used."""
    names = ("cholax", "jax", "jaxlib", "numpy", "scipy", "pymetis")
    found = {"cholax_threads": os.environ.get("CHOLAX_NUM_THREADS", "")}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = getattr(cx, "__version__", "") if name == "cholax" else "absent"
    return found


if __name__ == "__main__":
    serve(Cholax, versions)
