"""sparsax: CHOLMOD behind XLA FFI, with a simplicial selected inverse; the closest JAX peer."""

from importlib.metadata import version

import jax

jax.config.update("jax_enable_x64", True)  # before the first array

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import sparsax  # noqa: E402
from problems import Problem  # noqa: E402

from compare.server import serve  # noqa: E402
from compare.session import Session  # noqa: E402


class Sparsax(Session):
    """One matrix in sparsax, upper triangle as coordinates; its cache holds one factor."""

    operations = ("factor", "log_det", "solve1", "solve32", "selected_inverse",
                  "value_and_gradient")  # fmt: skip

    def __init__(self, problem: Problem, ordering: str) -> None:
        super().__init__(problem, ordering)
        sparsax.set_num_cache_size(1)
        indptr, rows, self.kept = problem.triangle(upper=True)
        columns = np.repeat(np.arange(problem.n, dtype=np.int32), np.diff(indptr))
        i, j, n = jnp.asarray(rows), jnp.asarray(columns), problem.n
        self.right = jnp.asarray(self.b)
        self.first = jnp.asarray(self.b[:, 0])
        self.on_diagonal = rows == columns
        self.columns_of_diagonal = columns[self.on_diagonal]
        self.jit_factor = jax.jit(lambda v: sparsax.factor(i, j, v, n))
        self.jit_log_det = jax.jit(sparsax.logdet_factor)
        self.jit_solve = jax.jit(sparsax.solve_factor)
        self.jit_selected = jax.jit(lambda v: sparsax.selinv(i, j, v, n))
        self.jit_gradient = jax.jit(jax.value_and_grad(lambda v: sparsax.logdet(i, j, v, n)))

    def forget(self) -> None:
        """Drop the analysis."""
        sparsax.clear_cache()

    def analyze(self) -> None:
        """The first factorisation of a pattern: its analysis cannot be timed alone."""
        self.prepare(self.problem.matrix.data)
        self.factor()

    def prepare(self, values: np.ndarray) -> None:
        """Move one triangle's values to the device."""
        self.values = jax.block_until_ready(jnp.asarray(values[self.kept]))

    def before(self, operation: str) -> None:
        """Operations on a factor find it in the cache, as they would in one program."""
        if operation == "selected_inverse":
            self.factor()

    def factor(self) -> None:
        """Factor, conversion from coordinates and hashing of the values included."""
        self.token = jax.block_until_ready(self.jit_factor(self.values))

    def log_det(self) -> None:
        """Read from the token."""
        self.found = self.jit_log_det(self.token).block_until_ready()

    def solve1(self) -> None:
        """One right-hand side, by the token."""
        self.x = self.jit_solve(self.token, self.first).block_until_ready()

    def solve32(self) -> None:
        """32 right-hand sides, by the token."""
        self.x = self.jit_solve(self.token, self.right).block_until_ready()

    def selected_inverse(self) -> None:
        """Entries of the inverse on A's pattern, the factor being cached."""
        self.inverse = self.jit_selected(self.values).block_until_ready()

    def value_and_gradient(self) -> None:
        """Log-determinant and its gradient under jit, from new values."""
        self.found, self.gradient = jax.block_until_ready(self.jit_gradient(self.values))

    def value(self) -> float:
        """Log-determinant found last."""
        return float(self.found)

    def solution(self) -> np.ndarray:
        """Solutions of the last solve."""
        return np.asarray(self.x).reshape(self.problem.n, -1)

    def inverse_diagonal(self) -> np.ndarray:
        """Diagonal of the inverse."""
        return np.asarray(self.inverse)[self.on_diagonal]

    def gradient_dot_values(self) -> float:
        """⟨gradient, A⟩."""
        return float(jnp.vdot(self.gradient, self.values))

    def close(self) -> None:
        """Drop cached factors and compiled programs."""
        sparsax.clear_cache()
        jax.clear_caches()


def versions() -> dict[str, str]:
    """sparsax and the JAX under it."""
    return {name: version(name) for name in ("sparsax", "jax", "jaxlib")}


if __name__ == "__main__":
    serve(Sparsax, versions)
