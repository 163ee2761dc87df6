"""Formulas and tables: what a mixed model is made of, and what makes none."""

import numpy as np
import pytest

pytest.importorskip("formulaic")

import pandas as pd

from cholax._core.errors import ArgumentError, ShapeError
from cholax.stats._lmm import LinearMixedModel
from cholax.stats._lmm.design import build_design, independent_columns
from cholax.stats._lmm.formula import parse_formula


def table(n=12):
    rng = np.random.default_rng(0)
    return {
        "y": rng.standard_normal(n),
        "x": rng.standard_normal(n),
        "g": np.array(["b", "c", "a"])[np.arange(n) % 3],
        "h": np.arange(n) % 2 + 10,
    }


@pytest.mark.parametrize(
    ("text", "fixed", "groups"),
    [
        ("y ~ (1 | g)", "1", ["(1 | g)"]),
        ("y ~ 0 + x + (x|g)", "0 + x", ["(x | g)"]),
        ("y ~ (1|g) + x", "x", ["(1 | g)"]),
        ("y~x+(1|a/b/c)+z", "x+z", ["(1 | c:b:a)", "(1 | b:a)", "(1 | a)"]),
        ("y ~ np.log(x | 1) + (0 + f(x, 2) || a:b)", "np.log(x | 1)", ["(0 + f(x, 2) || a:b)"]),
        ("log(y) ~ (x + z) * w + (1 | `my g`)", "(x + z) * w", ["(1 | my g)"]),
    ],
)
def test_formula_is_split_at_its_bars(text, fixed, groups):
    parsed = parse_formula(text)
    assert parsed.fixed == fixed
    assert [str(term) for term in parsed.groups] == groups


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("~ x + (1|g)", "need 'response ~ terms'"),
        ("y ~ x * (1|g)", "must be joined by"),
        ("y ~ (|g)", "left of the bar"),
        ("y ~ (1|g|h)", "one | or one ||"),
        ("y ~ (1|log(g))", "column names"),
        ("y ~ (1|g", "unmatched"),
        ("y ~ x +* (1|g)", "joined by|cannot read"),
    ],
)
def test_formula_that_cannot_be_read_says_why(text, message):
    with pytest.raises(ArgumentError, match=message):
        build_design(text, table())


def test_all_kinds_of_tables_give_one_design():
    polars = pytest.importorskip("polars")
    data = table()
    formula = "y ~ x * C(h) + (x | g) + (1 | g:h)"
    first = build_design(formula, data)
    for other in (pd.DataFrame(data), polars.DataFrame(data)):
        design = build_design(formula, other)
        assert design.names == first.names
        np.testing.assert_array_equal(design.X, first.X)
        for a, b in zip(design.terms, first.terms, strict=True):
            assert a.grouping.levels.tolist() == b.grouping.levels.tolist()
            np.testing.assert_array_equal(a.grouping.codes, b.grouping.codes)
            np.testing.assert_array_equal(a.values, b.values)


def test_levels_are_sorted_unless_a_categorical_column_orders_them():
    data = table()
    assert build_design("y ~ (1|g)", data).terms[0].grouping.levels.tolist() == ["a", "b", "c"]
    ordered = {**data, "g": pd.Categorical(data["g"], categories=["c", "z", "a", "b"])}
    grouping = build_design("y ~ (1|g)", ordered).terms[0].grouping
    assert grouping.levels.tolist() == ["c", "a", "b"]
    assert grouping.codes[:3].tolist() == [2, 0, 1]
    polars = pytest.importorskip("polars")
    enum = polars.DataFrame(data).with_columns(polars.col("g").cast(polars.Enum(["c", "a", "b"])))
    levels = build_design("y ~ (1|g)", enum).terms[0].grouping.levels
    assert levels.tolist() == ["c", "a", "b"]


def test_combined_factors_have_the_observed_combinations_only():
    data = table(4)
    grouping = build_design("y ~ (1|g:h)", data).terms[0].grouping
    assert grouping.levels.tolist() == ["a:10", "b:10", "b:11", "c:11"]
    assert grouping.codes.tolist() == [1, 3, 0, 2]
    numbers = {**data, "h": [9, 10, 100, 9]}
    levels = build_design("y ~ (1|h)", numbers).terms[0].grouping.levels
    assert levels.tolist() == [9, 10, 100]


def test_double_bar_splits_columns_into_terms():
    terms = build_design("y ~ (1 + x || g)", table()).terms
    assert [term.columns for term in terms] == [("Intercept",), ("x",)]


def test_rows_that_miss_a_value_are_dropped_and_counted():
    data = table()
    data["y"][3] = np.nan
    frame = pd.DataFrame(data)
    frame.loc[5, "g"] = None
    design = build_design("y ~ x + (1|g)", frame, weights=np.arange(1.0, 13.0))
    assert design.dropped == 2
    assert design.n == 10
    assert design.weights.tolist() == [1, 2, 3, 5, 7, 8, 9, 10, 11, 12]
    assert np.flatnonzero(~design.kept).tolist() == [3, 5]
    polars = pytest.importorskip("polars")
    other = polars.DataFrame({**data, "h": [None, *data["h"][1:].tolist()]})
    other = other.with_columns(polars.col("y").fill_nan(None))
    assert build_design("y ~ h + (1|g)", other).dropped == 2


@pytest.mark.parametrize(
    ("formula", "change", "error", "message"),
    [
        ("y ~ (1|g)", {"g": ["a"] * 12}, ArgumentError, "at least two levels"),
        ("y ~ (1|g)", {"g": range(12)}, ArgumentError, "12 effects .* for 12 rows"),
        ("y ~ (x|g)", {"g": np.arange(12) // 2}, ArgumentError, "12 effects .* for 12 rows"),
        ("y ~ (1|g)", {"y": np.ones(12)}, ArgumentError, "'y' is constant"),
        ("x ~ x + (1|g)", {}, ArgumentError, "fitted exactly"),
        ("y ~ (1|nobody)", {}, ArgumentError, "no column 'nobody'"),
        ("y ~ log(x) + (1|g)", {"x": [-1.0, *range(1, 12)]}, ArgumentError, "log.* complete row 0"),
        ("g ~ (1|h)", {}, ArgumentError, "one column of numbers"),
        ("y ~ (1|g)", {"y": [np.nan] * 12}, ArgumentError, "need complete rows"),
        ("y ~ (1|g)", {"y": np.ones(3)}, ShapeError, "one length"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_data_that_make_no_model_are_refused(formula, change, error, message):
    with pytest.raises(error, match=message):
        LinearMixedModel(formula, {**table(), **change})


def test_weights_and_offsets_are_checked():
    with pytest.raises(ArgumentError, match="weights must be positive"):
        build_design("y ~ (1|g)", table(), weights=np.zeros(12))
    with pytest.raises(ShapeError, match="offset must be a column name or of shape"):
        build_design("y ~ (1|g)", table(), offset=np.zeros(3))


def test_level_of_a_fixed_factor_that_was_not_observed_is_refused():
    design = build_design("y ~ g + (1|h)", table())
    with pytest.raises(ArgumentError, match="zz"):
        design.evaluate({"g": ["zz", "a"], "h": [10, 11]}, "predict", random=False)


def test_dependent_columns_are_found_whatever_their_scale():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((9, 4)) * [1.0, 1e8, 1e-8, 1.0]
    X[:, 3] = X[:, 0] + 1e-8 * X[:, 1] - 1e7 * X[:, 2]
    assert independent_columns(X).tolist() == [0, 1, 2]
    assert independent_columns(X[:, ::-1]).tolist() == [0, 1, 2]
    assert independent_columns(np.zeros((3, 1))).size == 0
    assert independent_columns(np.zeros((3, 0))).size == 0
