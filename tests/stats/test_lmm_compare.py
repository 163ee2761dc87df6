"""Likelihood-ratio tests of nested fits, and fits changed by `update`."""

import numpy as np
import pytest
import scipy.stats

pytest.importorskip("formulaic")

from cholax._core.errors import ArgumentError
from cholax.stats._lmm import glmm, lmm
from cholax.stats._lmm.compare import nesting_problem
from cholax.stats._lmm.design import build_design
from cholax.stats._lmm.formula import parse_formula, update_formula
from tests import tolerances as tol

F64 = np.float64


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(9)
    n = 40
    x, z, g = rng.standard_normal(n), rng.standard_normal(n), np.arange(n) % 8
    y = 1 + 0.5 * x + rng.standard_normal(8)[g] + rng.standard_normal(n)
    return {"y": y, "x": x, "z": z, "g": g, "h": g // 2, "my g": g, "count": rng.poisson(2.0, n)}


@pytest.fixture(scope="module")
def mixed(data):
    return lmm("y ~ x + (1 | g)", data)


def test_likelihood_ratio_of_linear_models_is_that_of_their_residuals(data):
    fits = [lmm(f"y ~ {terms}", data) for terms in ("x + z", "1", "x")]
    table = fits[0].anova(*fits[1:])
    rss = [
        np.linalg.lstsq(np.column_stack([np.ones(40), *rest]), data["y"], rcond=None)[1][0]
        for rest in ([], [data["x"]], [data["x"], data["z"]])
    ]
    chisq = 40 * -np.diff(np.log(rss))
    assert table.parameters.tolist() == [2, 3, 4]
    assert table.df.tolist() == [0, 1, 1]
    tol.assert_close(table.chisq[1:], chisq, 1e-9)
    tol.assert_close(table.p_value[1:], scipy.stats.chi2.sf(chisq, 1), 1e-9)
    assert not table.boundary.any()
    assert table.to_pandas().shape == (3, 8)
    assert "model 2: y ~ x" in str(table)


def test_variances_at_the_boundary_are_noted_and_reml_is_made_again(data, mixed):
    small = lmm("y ~ x", data)
    table = small.anova(mixed)
    assert mixed.reml
    assert table.boundary.tolist() == [False, True]
    assert "conservative" in str(table)
    tol.assert_close(table.log_likelihood[1], mixed.update(reml=False).log_likelihood, 1e-9)
    tol.assert_close(table.log_likelihood[0], small.update(reml=False).log_likelihood, 1e-9)


@pytest.mark.parametrize(
    ("small", "big", "problem"),
    [
        ("x", "x + z", ""),
        ("x + z", "I(x + z) + I(x - z)", ""),
        ("x", "z + x:z", "fixed effects"),
        ("x + (1 | g)", "x + z + (x | g)", ""),
        ("(1 + x || g)", "(x | g)", ""),
        ("(x | g)", "(1 + x || g)", "no term that holds"),
        ("(1 | g)", "(1 | h)", "no term that holds"),
        ("(1 | g)", "x", "no term that holds"),
    ],
)
def test_models_are_nested_where_columns_and_terms_are(data, small, big, problem):
    designs = [build_design(f"y ~ {terms}", data) for terms in (small, big)]
    found = nesting_problem(*designs)
    assert problem in found
    assert bool(found) == bool(problem)


def test_fits_that_cannot_be_compared_are_refused(data, mixed):
    some = {name: x[:30] for name, x in data.items()}
    counts = glmm("count ~ x", data, family="poisson")
    for other, message in [
        (lmm("y ~ x", some), "different responses .30 and 40 rows|40 and 30 rows"),
        (lmm("z ~ x", data), "different responses"),
        (lmm("y ~ x", data, offset="z"), "different offsets"),
        (lmm("y ~ x", data, weights=np.arange(1.0, 41.0)), "different weights"),
        (counts, "of one kind"),
        (lmm("y ~ z", data), "not nested"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            lmm("y ~ x", data).anova(other)
    with pytest.raises(ArgumentError, match="at least two"):
        mixed.anova()


@pytest.mark.parametrize(
    ("old", "change", "new"),
    [
        ("y ~ x + (1|g)", ". ~ . - x", "y ~ x - x + (1 | g)"),
        ("y ~ x + (1|g)", "~ . + z", "y ~ x + z + (1 | g)"),
        ("y ~ x + offset(n) + (1|g)", "log(.) ~ .", "log(y) ~ x + offset(n) + (1 | g)"),
        ("y ~ 0 + x", ". ~ z + .", "y ~ z + 0 + x"),
        ("y ~ x + z", ". ~ (.)^2", "y ~ ((x + z))^2"),
        ("y ~ x + z", ". ~ .:w", "y ~ (x + z):w"),
        ("y ~ x + (1|`my g`)", ". ~ . + (1|h)", "y ~ x + (1 | `my g`) + (1|h)"),
        ("y ~ x + (1|g)", ". ~ I(.5*x)", "y ~ I(.5*x)"),
    ],
)
def test_dots_stand_for_what_was_there(old, change, new):
    assert update_formula(parse_formula(old), change) == new


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("y ~ x + (1 + x|g) - (x|g)", r"no term \(x \| g\) .* There is \(1 \+ x \| g\)"),
        ("y ~ x - (1|g)", "There is none"),
        ("y ~ x + offset(n) - offset(m)", r"no term offset\(m\) .* There is offset\(n\)"),
    ],
)
def test_terms_that_are_not_there_cannot_be_taken_out(text, message):
    with pytest.raises(ArgumentError, match=message):
        parse_formula(text)


def test_update_changes_formula_data_and_options(data, mixed):
    design = mixed.update(". ~ . - x - (1 | g)").design
    assert design.names == ("Intercept",)
    assert design.terms == ()
    plain = lmm("y ~ x", data)
    assert plain.reml
    assert not plain.update(reml=False).reml
    assert plain.update(data={name: x[:20] for name, x in data.items()}).design.n == 20
    tol.assert_close(plain.update(weights=np.full(40, 2.0)).beta, plain.beta, tol.value(F64))
    with pytest.raises(ArgumentError, match="no option"):
        plain.update(colour=1)
    with pytest.raises(ArgumentError, match="need a formula"):
        plain.update(3)
    tol.assert_close(mixed.update(theta0=[0.3]).theta, mixed.theta, 1e-6)
    counts = glmm("count ~ x", data, family="poisson").update("~ 1")
    assert counts.design.names == ("Intercept",)
    with pytest.raises(ArgumentError, match="no reml="):
        counts.update(reml=True)
    with pytest.raises(ArgumentError, match="theta0 must have shape"):
        counts.update(theta0=[1.0])
