"""`checked` and `throw=`: one exception per kind of failure, for every factorisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cholax as cx
import cholax.stats as cs
from cholax._core import failures
from cholax.errors import (
    CholaxError,
    FactorSizeError,
    NotPositiveDefiniteError,
    SingularMatrixError,
    StructureError,
)

ONES = np.ones(3)
SINGULAR = cx.from_dense(np.array([[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 0.0, 1.0]]))
REGULAR = cx.from_dense(np.array([[1.0, 2.0, 0.0], [2.0, 5.0, 0.0], [0.0, 0.0, 1.0]]))
NOT_FINITE = cx.SparseMatrix(jnp.full_like(SINGULAR.values, jnp.nan), SINGULAR.pattern)
INDEFINITE = SINGULAR.symmetrize() * -1.0
DEFINITE = cx.eye(3).astype(SINGULAR.dtype)


def tight():
    """A matrix whose pivots off the diagonal need more room than capacity 1.0 leaves."""
    rng = np.random.default_rng(3)
    dense = np.where(rng.random((200, 200)) < 0.03, rng.normal(size=(200, 200)), 0.0)
    return cx.from_dense(dense + 1e-6 * np.eye(200))


def lu_values(A, **options):
    return cx.lu(A, **options).solve(jnp.ones(A.n, A.dtype))


CASES = {
    "cholesky": (lambda A: cx.cholesky(A).log_det(), INDEFINITE, NotPositiveDefiniteError),
    "log_det": (cx.log_det, INDEFINITE, NotPositiveDefiniteError),
    "inverse diagonal": (cx.inverse_diagonal, INDEFINITE, NotPositiveDefiniteError),
    "selected inverse": (cx.selected_inverse, INDEFINITE, NotPositiveDefiniteError),
    "csc": (
        lambda A: cx.csc.sparse_log_det(A.pattern.indices, A.pattern.indptr, A.values),
        INDEFINITE,
        NotPositiveDefiniteError,
    ),
    "constrained": (
        lambda A: cs.constrained_cholesky(A, cs.Constraints(ONES)).log_det(),
        INDEFINITE,
        NotPositiveDefiniteError,
    ),
    "lu singular": (lu_values, SINGULAR, SingularMatrixError),
    "lu not finite": (lu_values, NOT_FINITE, SingularMatrixError),
    "solve": (lambda A: cx.solve(A, jnp.ones(3, A.dtype)), SINGULAR, SingularMatrixError),
    "slogdet": (lambda A: cx.lu(A).slogdet(), SINGULAR, SingularMatrixError),
}


@pytest.mark.parametrize("name", CASES)
def test_checked_raises_for_every_factorisation_eagerly_and_in_programs(name):
    function, bad, error = CASES[name]
    for version in (function, jax.jit(function)):
        assert any(np.isnan(x).any() for x in jax.tree.leaves(version(bad)))
        with pytest.raises(error) as caught:
            cx.checked(version)(bad)
        assert "Traceback" not in str(caught.value)
        assert "\n" not in str(caught.value)
        assert any(np.isnan(x).any() for x in jax.tree.leaves(version(bad)))
    with pytest.raises(error):
        cx.checked(cx.checked(function))(bad)
    stack = jnp.stack([bad.values] * 2)
    with pytest.raises(error):
        cx.checked(jax.vmap(lambda v: function(cx.SparseMatrix(v, bad.pattern))))(stack)


@pytest.mark.parametrize("name", CASES)
def test_checked_changes_no_sound_result(name):
    function, bad, _ = CASES[name]
    good = REGULAR if not bad.symmetric else DEFINITE
    got, want = (jax.tree.leaves(f(good)) for f in (cx.checked(function), function))
    assert all(np.array_equal(a, b) for a, b in zip(got, want, strict=True))


def test_capacity_overflow_is_an_error_of_its_own_that_says_what_to_do():
    A = tight()
    plan = cx.lu(A, capacity=1.0).plan
    factor = jax.jit(lambda A: cx.lu(A, ordering=plan))(A)
    assert int(factor.status) == failures.LUStatus.OUT_OF_ROOM
    assert "raise `capacity`" in factor.reason()
    for call in (
        lambda: cx.checked(factor),
        lambda: factor.check(),
        lambda: cx.checked(jax.jit(lambda A: lu_values(A, ordering=plan)))(A),
    ):
        with pytest.raises(FactorSizeError, match="raise `capacity`"):
            call()


@pytest.mark.parametrize("status", [s for s in failures.LUStatus if s])
def test_every_status_of_lu_is_told_from_the_others(status):
    error = failures.lu_failure(status)
    again = failures.from_program(f"INTERNAL: CpuCallback\n  File x\nSomeError: {error}\nmore")
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert isinstance(error, FactorSizeError) == (status == failures.LUStatus.OUT_OF_ROOM)


@pytest.mark.parametrize("status", [s for s in failures.ConstrainedStatus if s])
def test_every_status_of_constrained_factors_is_told_from_the_others(status):
    error = failures.constrained_failure(status)
    again = failures.from_program(f"INTERNAL: {error}\nmore")
    assert isinstance(again, NotPositiveDefiniteError)
    assert str(again) == str(error)


def test_checked_takes_factors_of_every_kind():
    linear = cs.Constraints(ONES)
    for sound in (cx.cholesky(DEFINITE), cx.lu(REGULAR), cs.constrained_cholesky(DEFINITE, linear)):
        assert cx.checked(sound) is sound
        assert sound.reason() == "ok"
    for failed, error in (
        (cx.cholesky(INDEFINITE), NotPositiveDefiniteError),
        (cx.lu(SINGULAR), SingularMatrixError),
        (cs.constrained_cholesky(INDEFINITE, linear), NotPositiveDefiniteError),
    ):
        with pytest.raises(error) as caught:
            cx.checked(failed)
        assert failed.reason() == str(caught.value)
    with pytest.raises(StructureError, match=r"traced.*throw=True"):
        jax.jit(lambda A: cx.checked(cx.lu(A)).solve(ONES.astype(A.dtype)))(REGULAR)


def test_checked_names_the_member_of_a_batch_of_lu():
    stack = jnp.stack([REGULAR.values, SINGULAR.values])
    factors = jax.vmap(lambda v: cx.lu(cx.SparseMatrix(v, SINGULAR.pattern)))(stack)
    with pytest.raises(SingularMatrixError, match="batch member 1"):
        cx.checked(factors)
    with pytest.raises(SingularMatrixError, match="batch member 1"):
        cx.checked(jax.vmap(lambda v: lu_values(cx.SparseMatrix(v, SINGULAR.pattern))))(stack)


def test_statuses_of_constrained_factors_have_names():
    linear = cs.Constraints(ONES)
    path = cx.from_dense(
        np.array([[1.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 1.0]]), symmetric=True
    )
    code = failures.ConstrainedStatus
    found = {
        code.OK: cs.constrained_cholesky(path, linear),
        code.NOT_POSITIVE_DEFINITE: cs.constrained_cholesky(path * -1.0),
        code.WRONG_NULL_SPACE: cs.constrained_cholesky(DEFINITE, linear, null_space=ONES),
    }
    for status, factor in found.items():
        assert int(factor.status) == status
        assert bool(factor.ok) == (status == 0)


@pytest.mark.parametrize("throw_in", ["eager", "jit"])
def test_throw_of_the_short_cuts(throw_in):
    bad = INDEFINITE
    calls = {
        "solve": lambda A: cx.solve(A, jnp.ones(3, A.dtype), throw=True),
        "log_det": lambda A: cx.log_det(A, throw=True),
        "selected_inverse": lambda A: cx.selected_inverse(A, throw=True),
        "inverse_diagonal": lambda A: cx.inverse_diagonal(A, throw=True),
        "constrained": lambda A: cs.constrained_cholesky(
            A, cs.Constraints(ONES), throw=True
        ).log_det(),
    }
    for call in calls.values():
        if throw_in == "eager":
            with pytest.raises(NotPositiveDefiniteError):
                call(bad)
        else:
            with pytest.raises(jax.errors.JaxRuntimeError, match="positive definite"):
                jax.block_until_ready(jax.jit(call)(bad))
        jax.block_until_ready(call(DEFINITE))


def test_exceptions_of_the_user_pass_untouched():
    class Mine(Exception):
        pass

    def raises(x):
        raise Mine("cholesky: mine")

    with pytest.raises(Mine):
        cx.checked(raises)(1.0)

    def callback(x):
        raise ValueError("lu: this is mine")

    def program(x):
        return jax.pure_callback(callback, jax.ShapeDtypeStruct((), x.dtype), x)

    with pytest.raises(jax.errors.JaxRuntimeError, match="this is mine") as caught:
        cx.checked(jax.jit(program))(jnp.float32(1.0))
    assert not isinstance(caught.value, CholaxError)


def test_factorisations_that_fail_on_the_way_do_not_raise():
    # Indefinite at the start: the descent tries shifts until one is positive definite.
    def objective(z):
        return jnp.sum(jnp.cos(z) + 0.05 * z**2) + 0.01 * jnp.sum(z[1:] * z[:-1])

    start = jnp.array([0.1, 0.2, -0.1])
    plain = cx.minimize(objective, start)
    assert np.isfinite(plain).all()
    assert np.array_equal(cx.checked(lambda: cx.minimize(objective, start))(), plain)

    # Symmetric and indefinite Jacobian: Cholesky is tried, LU is used.
    def residual(z):
        return jnp.array([z[1] - 1.0, z[0] - 2.0 + 0.0 * z[1], -z[2] + 0.1 * z[2] ** 3 - 1.0])

    found = cx.root(residual, jnp.zeros(3))
    assert np.array_equal(cx.checked(lambda: cx.root(residual, jnp.zeros(3)))(), found)

    # Inside an iteration; outside it the failure counts.
    with pytest.raises(NotPositiveDefiniteError):
        cx.checked(lambda: cx.minimize(objective, start).sum() + cx.log_det(INDEFINITE))()


def lu_sum(values):
    return lu_values(cx.SparseMatrix(values, SINGULAR.pattern)).sum()


@pytest.mark.parametrize("transform", [jax.grad, jax.hessian])
def test_derivatives_in_checked_functions_raise_too(transform):
    for function in (transform(lu_sum), jax.jit(transform(lu_sum))):
        with pytest.raises(SingularMatrixError):
            cx.checked(function)(SINGULAR.values)
        assert np.isfinite(cx.checked(function)(REGULAR.values)).all()
