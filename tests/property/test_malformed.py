"""Whatever is passed to a public function, it works or raises an error of cholax, and never hangs.

`None` leaves many options out, text names others, and a list of matrices is one: so the claim is on
the kind of outcome, not that every pair fails.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from jax.experimental import sparse as jsp

import cholax as cx
from cholax.errors import ArgumentError, CholaxError, DtypeError, PatternError, UnsupportedError

pytest.importorskip("pandas")
pytest.importorskip("polars")
from tests.property import doors as table

LIMIT = 20  # seconds; one pair takes milliseconds
DOORS = table.doors()


@contextmanager
def time_limit(what: str) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TimeoutError(f"{what} hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fault(name: str, given: str, x: Any) -> str | None:
    """What is wrong with the outcome, or None."""
    try:
        with time_limit(name):
            DOORS[name](x)
    except CholaxError:
        return None
    except Exception as error:
        return f"{name} given {given}: {type(error).__name__}: {str(error)[:100]}"
    return None


def faults(names: Any, objects: dict[str, Any]) -> list[str]:
    found = [fault(name, given, x) for name in names for given, x in objects.items()]
    return [line for line in found if line]


# Doors where next to nothing is compiled; the others follow in the slow suite.
QUICK = [
    name
    for name in DOORS
    if name.split(":")[0]
    in ("SparseMatrix", "Pattern", "from_scipy", "from_bcoo", "hstack", "block_diag", "analyze")
]


def test_foreign_objects_meet_an_error_of_ours_at_quick_doors() -> None:
    assert faults(QUICK, table.foreign()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", DOORS)
def test_foreign_and_malformed_objects_meet_an_error_of_ours(name: str) -> None:
    assert faults([name], {**table.foreign(), **table.malformed()}) == []


VALUES = {
    "SparseMatrix", "from_coo", "solve: b", "LU.solve", "Factor.solve", "csc.sparse_solve: b",
    "csc.sparse_log_det: x", "GMRF.log_prob", "quadratic_form", "expm", "frechet",
    "expm_multiply: b", "poisson.log_prob: eta", "bisect: lower",
}  # fmt: skip
NO_ARRAYS = ("scipy_array", "bcoo", "bcsr", "tensor", "polars_series", "masked", "list_of_bcoo")


@pytest.mark.parametrize("given", NO_ARRAYS)
@pytest.mark.parametrize("name", sorted(VALUES))
def test_values_of_another_library_are_refused_with_the_conversion(name: str, given: str) -> None:
    """Refused, not misread: a mask would be forgotten, the entries of a matrix be taken as one."""
    with time_limit(name), pytest.raises(CholaxError) as caught:
        DOORS[name](table.foreign()[given])
    assert ("(" in str(caught.value) and "got" in str(caught.value)) or "cx." in str(caught.value)


BAD_TOLERANCES = (float("nan"), float("inf"), -1e-3, 1j, "tight", True, [1.0])


@pytest.mark.parametrize(
    "name", [f"{name}: tolerance" for name in ("root", "fixed_point", "minimize")]
)
@pytest.mark.parametrize("tol", BAD_TOLERANCES)
def test_tolerances_without_sense_are_refused(name: str, tol: Any) -> None:
    with pytest.raises(ArgumentError, match="tolerance must be a finite number >= 0, got"):
        DOORS[name](tol)


COUNTS = {
    "root: max_iterations", "bisect: max_iterations", "fixed_point: memory", "hessian: chunk_size",
    "laplace: max_iterations", "fit_ml: max_iterations", "hessian: argnums", "tril: k",
}  # fmt: skip


@pytest.mark.parametrize("count", [True, 1.5, "2", float("nan")])
@pytest.mark.parametrize("name", sorted(COUNTS))
def test_counts_are_integers(name: str, count: Any) -> None:
    with pytest.raises(ArgumentError, match=r"must be (an integer >= .*|a positive integer), got"):
        DOORS[name](count)


@pytest.mark.parametrize("name", sorted(COUNTS - {"hessian: argnums", "tril: k"}))
def test_counts_are_positive(name: str) -> None:
    with pytest.raises(ArgumentError, match="must be a positive integer, got -1"):
        DOORS[name](-1)


def test_integers_of_numpy_are_integers() -> None:
    z = cx.root(lambda z: z * z - 2.0, 1.0, max_iterations=np.int64(50))
    assert abs(float(z) - 2**0.5) < 1e-12


def test_padding_of_a_bcoo_is_dropped_and_other_indices_are_refused() -> None:
    padded = jsp.BCOO((jnp.ones(3), jnp.array([[0, 0], [1, 2], [2, 3]])), shape=(2, 3))
    np.testing.assert_array_equal(cx.from_bcoo(padded).to_dense(), [[1, 0, 0], [0, 0, 1]])
    for beyond in ([2, 0], [0, 3], [5, 5], [2, 4]):
        wrong = jsp.BCOO((jnp.ones(2), jnp.array([[0, 0], beyond])), shape=(2, 3))
        with pytest.raises(PatternError, match="numbers must lie between"):
            cx.from_bcoo(wrong)
        with pytest.raises(PatternError, match="numbers must lie between"):
            cx.jacobian(lambda x: x[:2], sparsity=wrong)(jnp.ones(3))


def test_complex_values_are_never_told_to_drop_their_imaginary_part() -> None:
    A = cx.eye(2)
    for call in (
        lambda: cx.SparseMatrix(np.array([1j, 2.0]), A.pattern),
        lambda: cx.solve(A, np.array([1j, 2.0])),
        lambda: cx.from_dense(np.eye(2) * 1j),
    ):
        with pytest.raises(DtypeError, match="Complex values are not supported") as caught:
            call()
        assert "astype" not in str(caught.value)


def test_integers_are_told_the_float_that_there_is() -> None:
    b = np.array([1, 2])
    with pytest.raises(DtypeError, match=r"astype\(numpy.float64\)"):
        cx.solve(cx.eye(2), b)
    with jax.enable_x64(False), pytest.raises(DtypeError, match=r"astype\(numpy.float32\)"):
        cx.solve(cx.eye(2), b)


def test_a_matrix_is_accepted_where_its_pattern_is_meant() -> None:
    A = cx.from_dense(table.D, symmetric=True)
    assert cx.analyze(A) == cx.analyze(A.pattern)
    assert cx.from_dense(table.D, pattern=A).pattern == A.pattern
    assert cx.selected_inverse(A, A).pattern == A.pattern


def test_messages_name_the_function_that_helps() -> None:
    A = cx.eye(3)
    for call, error, message in (
        (lambda: cx.solve(sp.eye_array(2), np.ones(2)), CholaxError, r"cx.from_scipy\(A\)"),
        (lambda: cx.solve(np.eye(2), np.ones(2)), CholaxError, r"cx.from_dense\(A\)"),
        (lambda: cx.hstack(A), UnsupportedError, "need a list of matrices, got SparseMatrix"),
        (lambda: cx.block_diag(A), UnsupportedError, "need a list of matrices"),
        (lambda: cx.tril(3), UnsupportedError, "tril: need a SparseMatrix, got int"),
        (lambda: A[3], CholaxError, "need two indices, got only one, 3"),
        (
            lambda: cx.linear_operator_matrix(lambda x: x, (3,)),
            ArgumentError,
            "jax.ShapeDtypeStruct",
        ),
        (lambda: cx.csc.sparse_log_det([0], 1, [1.0]), PatternError, "must be vectors"),
    ):
        with pytest.raises(error, match=message):
            call()
