"""Formulas as R users write them: transforms, names, responses, factors, and clear refusals."""

from decimal import Decimal

import numpy as np
import pytest

pytest.importorskip("formulaic")

import pandas as pd

from cholax._core.errors import ArgumentError, CholaxError
from cholax.stats._lmm.design import build_design
from cholax.stats._lmm.formula import parse_formula
from tests import tolerances as tol

F64 = np.float64
N = 36


def table():
    rng = np.random.default_rng(5)
    size = np.array(["lo", "mid", "hi", "top", "max"])
    return pd.DataFrame({
        "y": rng.standard_normal(N),
        "x": rng.uniform(0.1, 1, N),
        "g": np.arange(N) % 6,
        "Sepal.Length": rng.uniform(1, 2, N),
        "my col": rng.uniform(1, 2, N),
        "log": rng.uniform(1, 2, N),
        "class": rng.uniform(1, 2, N),
        "f": np.array(list("abc"))[np.arange(N) % 3],
        "h": np.arange(N) % 4,
        "o": pd.Categorical(size[np.arange(N) % 5], categories=size, ordered=True),
        "b": np.arange(N) % 2 > 0,
        "s": np.arange(N) % 3,
        "n": np.arange(N) % 5 + 4,
        "one": ["u"] * N,
        "when": pd.date_range("2020-01-01", periods=N),
    })  # fmt: skip


@pytest.fixture(scope="module")
def data():
    return table()


def fixed(data, text):
    design = build_design(f"y ~ {text} + (1|g)", data)
    return design, design.X


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("I(x^2)", lambda d: d["x"] ** 2),
        ("I(x**2)", lambda d: d["x"] ** 2),
        ("scale(x)", lambda d: (d["x"] - d["x"].mean()) / d["x"].std()),
        ("center(x)", lambda d: d["x"] - d["x"].mean()),
        ("log(x, 2)", lambda d: np.log2(d["x"])),
        ("sqrt(x)", lambda d: np.sqrt(d["x"])),
        ("Sepal.Length", lambda d: d["Sepal.Length"]),
        ("`Sepal.Length`", lambda d: d["Sepal.Length"]),
        ("log(Sepal.Length)", lambda d: np.log(d["Sepal.Length"])),
        ("log(`Sepal.Length`)", lambda d: np.log(d["Sepal.Length"])),
        ("`my col`", lambda d: d["my col"]),
        ("scale(`my col`)", lambda d: (d["my col"] - d["my col"].mean()) / d["my col"].std()),
        ("log(log)", lambda d: np.log(d["log"])),
        ("log", lambda d: d["log"]),
        ("I(class + 1)", lambda d: d["class"] + 1),
        ("I(x > 0.5)", lambda d: d["x"] > 0.5),
        ("when.dt.day", lambda d: d["when"].dt.day),
        ("I((x + h).clip(1, 2))", lambda d: (d["x"] + d["h"]).clip(1, 2)),
        ("exp10(x)", lambda d: 10 ** d["x"]),
        ("ifelse(x > 0.5, 1, h)", lambda d: np.where(d["x"] > 0.5, 1, d["h"])),
        ("log(Q('my col'))", lambda d: np.log(d["my col"])),
        # Whole numbers neither overflow nor refuse negative powers.
        ("I((n * 10000000)^3)", lambda d: (d["n"] * 1e7) ** 3),
        ("I(n^-2)", lambda d: d["n"] ** -2.0),
        ("x:`my col`", lambda d: d["x"] * d["my col"]),
    ],
)
def test_columns_of_any_name_inside_transforms_are_found_and_computed(data, text, column):
    design, X = fixed(data, text)
    tol.assert_close(X[:, -1], np.asarray(column(data), float), tol.value(F64))
    assert "chx" not in "".join(design.names)
    # New data are transformed with the statistics of the old.
    new = design.evaluate(data.iloc[3:5], "predict", random=True)
    tol.assert_close(new.X, X[3:5], tol.value(F64))


@pytest.mark.parametrize(
    "text",
    ["poly(x, 3)", "bs(x, df=5)", "0 + cs(x, df=4)", "poly(x, degree=2, raw=True)", "o", "o*x"],
)
def test_bases_of_several_columns_are_the_same_on_new_data(data, text):
    design, X = fixed(data, text)
    assert X.shape[1] > 2
    tol.assert_close(design.evaluate(data[3:5], "predict", random=False).X, X[3:5], tol.value(F64))


def test_poly_is_orthonormal_and_spans_the_powers(data):
    _, X = fixed(data, "poly(x, 2)")
    tol.assert_close(X[:, 1:].T @ X[:, 1:], np.eye(2), tol.value(F64))
    powers = np.vander(data["x"], 3)
    tol.assert_close(X @ np.linalg.lstsq(X, powers, rcond=None)[0], powers, tol.value(F64))


def test_ordered_factor_has_the_polynomial_contrasts_of_r(data):
    design, X = fixed(data, "o")
    assert design.names == ("Intercept", "o.L", "o.Q", "o.C", "o^4")
    # What R gives for contr.poly of five levels.
    expected = np.array([
        [-2, 2, -1, 1], [-1, -1, 2, -4], [0, -2, 0, 6], [1, -1, -2, -4], [2, 2, 1, 1],
    ]) / np.sqrt([10, 14, 10, 70])  # fmt: skip
    tol.assert_close(X[:5, 1:], expected, tol.value(F64))
    design, X = fixed(data, "0 + o")
    assert design.names == ("o[lo]", "o[mid]", "o[hi]", "o[top]", "o[max]")
    assert fixed(data, "C(o, contr.treatment)")[0].names[1].endswith("[T.mid]")
    text = {**{name: data[name] for name in data}, "o": data["o"].astype(str)}
    new = design.evaluate(pd.DataFrame(text)[:7], "predict", random=False)
    tol.assert_close(new.X, X[:7], tol.value(F64))


def test_polars_enum_is_an_ordered_factor():
    polars = pytest.importorskip("polars")
    data = table()[["y", "g", "o"]].assign(o=lambda d: d["o"].astype(str))
    enum = polars.Enum(["lo", "mid", "hi", "top", "max"])
    frame = polars.DataFrame({k: data[k].to_list() for k in data}).with_columns(
        polars.col("o").cast(enum)
    )
    tol.assert_close(fixed(frame, "o")[1], fixed(table(), "o")[1], tol.value(F64))


@pytest.mark.parametrize("text", ["factor(h)", "C(h)", "as.factor(h)"])
def test_numbers_become_a_factor(data, text):
    design, X = fixed(data, text)
    np.testing.assert_array_equal(X[:, 1:], np.asarray(data["h"])[:, None] == [1, 2, 3])
    assert design.names[1].endswith("(h)[T.1]")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("C(o, Treatment)", ("[T.mid]", "[T.hi]", "[T.top]", "[T.max]")),
        ("C(f, Treatment('c'))", ("[T.a]", "[T.b]")),
        ("C(f, 'contr.sum')", ("[S.a]", "[S.b]")),
        ("C(h, 'contr.poly')", (".L", ".Q", ".C")),
        ("factor(h, levels=c(3, 1, 0, 2))", ("[T.1]", "[T.0]", "[T.2]")),
    ],
)
def test_contrasts_are_named_as_in_r_and_in_patsy(data, text, names):
    design, _ = fixed(data, text)
    assert tuple(n.rpartition(")")[2] for n in design.names[1:]) == names


def test_columns_of_python_objects_are_what_their_values_are(data):
    reference = fixed(data, "h + b")
    decimals = [Decimal(int(h)) for h in data["h"]]
    for values in (data["h"].astype(object), decimals, [float(h) for h in data["h"]]):
        changed = data.assign(h=pd.Series(values, dtype=object), b=data["b"].astype(object))
        design, X = fixed(changed, "h + b")
        assert design.names == reference[0].names
        np.testing.assert_array_equal(X, reference[1])
    missing = data.assign(
        h=pd.Series([None, *data["h"][1:]], dtype=object),
        b=pd.Series([True, pd.NA, *data["b"][2:]], dtype=object),
    )
    design, X = fixed(missing, "h + b")
    assert design.dropped == 2
    np.testing.assert_array_equal(X, reference[1][2:])
    days = data.assign(when=data["when"].dt.date)
    tol.assert_close(fixed(days, "when.dt.day")[1], fixed(data, "when.dt.day")[1], tol.value(F64))


def test_offsets_in_the_formula_and_beside_it_add_up(data):
    design = build_design("y ~ x + offset(log(n)) + (1|g) + offset(x)", data, offset="s")
    expected = np.log(data["n"]) + data["x"] + data["s"]
    tol.assert_close(design.offset, np.asarray(expected), tol.value(F64))
    assert design.names == ("Intercept", "x")
    new = design.evaluate(data[5:9], "predict", random=True)
    tol.assert_close(new.offset, np.asarray(expected)[5:9], tol.value(F64))


def test_double_bar_makes_one_effect_of_each_column_of_a_factor(data):
    terms = build_design("y ~ (1 + f + x || g)", data).terms
    assert [term.columns for term in terms] == [("Intercept",), ("f[T.b]",), ("f[T.c]",), ("x",)]
    new = build_design("y ~ (1 + f + x || g)", data).evaluate(data[4:6], "predict", random=True)
    for term, values in zip(terms, new.values, strict=True):
        tol.assert_close(values, term.values[4:6], tol.value(F64))


def test_terms_after_a_minus_are_taken_out():
    parsed = parse_formula("y ~ x + (1|g) + (1|h) + offset(n) - (1|g) - offset(n)")
    assert [str(term) for term in parsed.groups] == ["(1 | h)"]
    assert parsed.offsets == ()


@pytest.mark.parametrize(
    ("response", "family", "y", "trials"),
    [
        ("cbind(s, n - s)", "binomial", lambda d: d["s"], lambda d: d["n"]),
        ("b", "binomial", lambda d: d["b"], lambda d: d["n"] * 0 + 1),
        ("f", "bernoulli", lambda d: d["f"] != "a", None),
        ("o", "bernoulli", lambda d: d["o"] != "lo", None),
        ("factor(h)", "bernoulli", lambda d: d["h"] > 0, None),
        ("x > 0.5", "bernoulli", lambda d: d["x"] > 0.5, None),
        ("I(x^2)", None, lambda d: d["x"] ** 2, None),
        ("x - 1", None, lambda d: d["x"] - 1, None),
        ("`my col`/2", None, lambda d: d["my col"] / 2, None),
        ("scale(x)", None, lambda d: (d["x"] - d["x"].mean()) / d["x"].std(), None),
    ],
)
def test_responses_are_evaluated_as_in_r(data, response, family, y, trials):
    extra = {"trials": None} if family == "binomial" else None
    design = build_design(f"{response} ~ 1 + (1|g)", data, family=family, extra=extra)
    tol.assert_close(design.y, np.asarray(y(data), float), tol.value(F64))
    if trials is not None:
        np.testing.assert_array_equal(design.extra["trials"], trials(data))


def test_proportions_with_weights_are_counts_of_trials(data):
    design = build_design(
        "I(s/n) ~ 1 + (1|g)", data, family="binomial", weights="n", extra={"trials": None}
    )
    np.testing.assert_array_equal(design.y, data["s"])
    np.testing.assert_array_equal(design.extra["trials"], data["n"])
    np.testing.assert_array_equal(design.weights, np.ones(N))


REFUSED = [
    ("y ~ nobody + (1|g)", "no column 'nobody'"),
    ("y ~ log(nobody) + (1|g)", "no column 'nobody'"),
    ("nobody ~ x + (1|g)", "no column 'nobody'"),
    ("y ~ foo(x) + (1|g)", "unknown function 'foo'.*Known:"),
    ("foo(y) ~ x + (1|g)", "unknown function 'foo'"),
    ("y ~ x +* f + (1|g)", r"cannot read 'x \+\* f'"),
    ("y ~ x + + (1|g)", "joined by|cannot read"),
    ("y ~ log(x + (1|g)", "unmatched"),
    ("y ~ I(x +) + (1|g)", r"cannot (read|evaluate) 'I\(x \+\)'"),
    ("y + ~ x + (1|g)", "cannot read the response"),
    ("y[9:2, ~ x + (1|g)", "unmatched"),
    ("log(f) ~ x + (1|g)", r"cannot evaluate the response 'log\(f\)'"),
    ("y / f ~ x + (1|g)", "cannot evaluate the response"),
    ("poly(x, 2) ~ x + (1|g)", "one column of numbers"),
    ("f ~ x + (1|g)", "one column of numbers"),
    ("when ~ x + (1|g)", "response 'when'"),
    ("y ~ poly(f, 2) + (1|g)", "cannot evaluate"),
    ("y ~ poly(x, 99) + (1|g)", "degree 99"),
    ("y ~ when + (1|g)", "cannot evaluate 'when'.*'when' holds dates: make numbers"),
    ("y ~ x:when + (1|g)", "'when' holds dates"),
    ("y ~ C(f, 'contr.foo') + (1|g)", "unknown contrasts 'contr.foo'; there are"),
    ("y ~ one + (1|g)", "'one' has one level"),
    ("y ~ x + (one | g)", "'one' has one level"),
    ("y ~ . + (1|g)", "'.' for all other columns is not supported"),
    ("y ~ x | g", "outside of a group term"),
    ("y ~ ((1|g))", "outside of a group term"),
    ("y ~ x * offset(x) + (1|g)", "an offset must be joined by"),
    ("y ~ (x + offset(x)) + (1|g)", "term of its own"),
    ("y ~ offset() + (1|g)", "offset.. is empty"),
    ("y ~ offset(f) + (1|g)", "one column of numbers"),
    ("y ~ offset(poly(x, 2)) + (1|g)", "one column of numbers"),
    ("y ~ exp(1000 * x) + (1|g)", "is inf in complete row"),
    ("y ~ x$y + (1|g)", "cannot read"),
    ("y ~ 2 + (1|g)", "cannot read '2'"),
    ("y ~ x ~ g", "need 'response ~ terms'"),
    ("y ~ ", "need 'response ~ terms'"),
    ("cbind(s, n) ~ x + (1|g)", "a response of the family binomial"),
    ("y ~ x + (foo(x) | g)", "unknown function 'foo'"),
    ("y ~ __import__('os') + (1|g)", "unknown function"),
]


@pytest.mark.parametrize(("formula", "message"), REFUSED)
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_faults_of_formulas_name_place_and_remedy_and_nothing_leaks(data, formula, message):
    with pytest.raises(CholaxError, match=message) as caught:
        build_design(formula, data)
    assert "chx" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("response", "options", "message"),
    [
        ("s", {}, "needs trials="),
        ("x", {}, "needs trials="),
        ("x", {"weights": "n"}, "no count of successes"),
        ("cbind(s, n)", {"extra": {"trials": "n"}}, "its own numbers of trials"),
        ("cbind(s, n, h)", {}, "need cbind"),
        ("cbind(s, -s)", {}, "not both zero"),
        ("one", {}, "factor with one level"),
    ],
)
def test_binomial_responses_that_are_none_are_refused(data, response, options, message):
    options = {"extra": {"trials": None}, **options}
    with pytest.raises(ArgumentError, match=message):
        build_design(f"{response} ~ x + (1|g)", data, family="binomial", **options)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (3, "must be a pandas, polars or pyarrow table"),
        ({"y": 1.0, "g": 2}, "one value per row"),
        ({"y": np.ones((4, 2)), "g": np.arange(4)}, "one value per row"),
        ({"y": np.ones(4) * 1j, "g": np.arange(4)}, "complex"),
        ({"y": pd.to_timedelta([1, 2, 3, 4]), "g": np.arange(4)}, "time differences"),
        ({"y": np.ones(4), "g": [1, "a", 2, "b"]}, "mixes values"),
        ({"y": [], "g": []}, "need complete rows"),
        ({}, "no column 'y'"),
        (None, "must be a pandas"),
    ],
)
def test_tables_that_are_none_are_refused(source, message):
    with pytest.raises(CholaxError, match=message):
        build_design("y ~ 1 + (1|g)", source)


def test_new_data_that_do_not_fit_are_refused(data):
    design = build_design("y ~ f + bs(x) + offset(n) + (1|g)", data)
    for change, message in [
        ({"f": "zz"}, "levels that were not in the data of the fit: {'zz'}"),
        ({"x": 77.0}, "bounds"),
        ({"x": "text"}, "'x' holds labels, where the data of the fit had numbers"),
        ({"f": 1}, "'f' holds numbers, where the data of the fit had labels"),
        ({"g": "1"}, "'g' holds labels, where the data of the fit had numbers"),
        ({"n": pd.Timestamp(0)}, "'n' holds dates, where the data of the fit had numbers"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            design.evaluate(data[:3].assign(**change), "predict", random=True)
    for name in ("f", "n", "g"):
        with pytest.raises(ArgumentError, match=f"predict: the data has no column '{name}'"):
            design.evaluate(data.drop(columns=name), "predict", random=True)


@pytest.mark.parametrize(
    "text", ["I(x - x.mean())", "I(x / np.max(x))", "x.rank()", "x + (I(x - np.mean(x)) | g)",
             "x + offset(x - np.mean(x))", "poly(x - np.mean(x), 2)"],
)  # fmt: skip
def test_columns_that_depend_on_other_rows_are_refused_for_new_data(data, text):
    design = build_design(f"y ~ {text} + (1|g)", data)
    with pytest.raises(ArgumentError, match=r"computes with all rows .* Use center\(x\)"):
        design.evaluate(data[3:9], "predict", random=True)


def test_new_data_may_hold_numbers_and_levels_in_either_way(data):
    design = build_design("y ~ c + x + (c|g)", data.assign(c=pd.Categorical(data["h"])))
    new = design.evaluate(data[3:9].assign(c=data["h"]), "predict", random=True)
    np.testing.assert_array_equal(new.X, design.X[3:9])
    with pytest.raises(ArgumentError, match=r"levels that were not in the data of the fit: {7.*}"):
        design.evaluate(data[3:9].assign(c=7), "predict", random=True)
    changed = data[3:9].assign(c=data["h"], x=pd.Categorical(data["x"][3:9]))
    changed["g"] = pd.Categorical(changed["g"])
    new = design.evaluate(changed, "predict", random=True)
    np.testing.assert_array_equal(new.X, design.X[3:9])
    np.testing.assert_array_equal(new.codes[0], design.terms[0].grouping.codes[3:9])


def test_columns_twice_or_called_by_numbers_are_told_apart(data):
    twice = pd.concat([data[["y", "x", "g"]], data[["x"]]], axis=1)
    with pytest.raises(ArgumentError, match="several columns 'x'"):
        build_design("y ~ x + (1|g)", twice)
    assert build_design("y ~ 1 + (1|g)", twice).n == N
    number = data.rename(columns={"x": 0, "g": "a/b:c"})
    design = build_design("y ~ `0` + (1 | `a/b:c`)", number)
    assert design.names == ("Intercept", "0")
    assert design.terms[0].group == "a/b:c"
