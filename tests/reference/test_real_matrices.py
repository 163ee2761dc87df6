"""Real matrices against references computed in 80-bit arithmetic.

Two small matrices and one generated one come with the tests (`data/README.md`). The large
collection is `shared/data` beside the repository; without it those tests are skipped.
"""

import csv
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

import cholax as cx
from cholax._core.errors import DtypeError, StructureError

EPS = float(np.finfo(np.float64).eps)
HERE = Path(__file__).parent / "data"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
BUNDLED = json.loads((HERE / "references.json").read_text("utf-8"))

TOL_ENTRIES = 1e-8
# Forward error in units of eps·cond(A), which bounds it: at most 5e-4 measured where cond > 1e9.
TOL_OF_CONDITION = 1e-2


def tolerance(condition):
    """1e-8 of the largest entry; 6e-9, 3e-7 and 9e-3 for the three conditions beyond 1e9."""
    return max(TOL_ENTRIES, TOL_OF_CONDITION * EPS * condition)


@cache
def index():
    path = SHARED / "index.csv"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def rows(wanted):
    chosen = [row for row in index() if wanted(row)]
    # Without the collection one parameter remains, so that the skip is seen.
    return [pytest.param(r, id=r["name"]) for r in chosen] or [pytest.param(None, id="absent")]


def shared(wanted):
    def mark(test):
        test = pytest.mark.parametrize("row", rows(wanted))(test)
        test = pytest.mark.skipif(not index(), reason="shared/data is not there")(test)
        return pytest.mark.shared_data(test)

    return mark


def nine_point_grid(m):
    """8 on the diagonal, −1 for each of the eight neighbours in an m×m grid."""
    band = sp.diags_array([np.ones(m - 1), np.ones(m), np.ones(m - 1)], offsets=[-1, 0, 1])
    return sp.csc_array(9.0 * sp.eye_array(m * m) - sp.kron(band, band))


def read(folder, name):
    path = folder / f"{name}.mtx.gz"
    return (
        nine_point_grid(30)
        if not path.exists()
        else sp.csc_array(scipy.io.mmread(path, spmatrix=False))
    )


def check_positive_definite(Q, logdet, sensitivity, condition, arrays):
    """Log-determinant, selected inverse on A's pattern, and the solution for a vector of ones."""
    A = cx.from_scipy(Q, symmetric=True)
    F = cx.cholesky(A)
    assert bool(F.ok)
    assert abs(float(F.log_det()) - logdet) <= 10 * EPS * (A.n + sensitivity)

    lower = sp.csc_array(sp.tril(Q))
    lower.sort_indices()
    np.testing.assert_array_equal(A.pattern.indices, lower.indices)
    Z, want = np.asarray(F.selected_inverse().values), arrays["selinv_lower"]
    assert np.abs(Z - want).max() <= tolerance(condition) * np.abs(want).max()

    x = np.asarray(F.solve(np.ones(A.n)))
    if "x_idx" in arrays:
        x, want = x[arrays["x_idx"]], arrays["x_ones_at_idx"]
    else:
        want = arrays["x_ones"]
    assert np.abs(x - want).max() <= tolerance(condition) * np.abs(want).max()


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_matrices_agree_with_80_bit_references(name):
    r = BUNDLED[name]
    with np.load(HERE / f"{name}.npz") as arrays:
        check_positive_definite(
            read(HERE, name), r["logdet"], r["logdet_sensitivity"], r["cond2"], dict(arrays)
        )


@pytest.mark.parametrize("name", BUNDLED)
@pytest.mark.parametrize("ordering", ["natural", "amd", "rcm", "nested_dissection"])
def test_every_ordering_gives_the_reference_logdet(name, ordering):
    r = BUNDLED[name]
    got = float(cx.log_det(cx.from_scipy(read(HERE, name), symmetric=True), ordering=ordering))
    assert abs(got - r["logdet"]) <= 10 * EPS * (r["n"] + r["logdet_sensitivity"])


@pytest.mark.parametrize("name", BUNDLED)
def test_raw_layer_gives_the_reference_logdet_and_inverse(name):
    r = BUNDLED[name]
    lower = sp.csc_array(sp.tril(read(HERE, name)))
    lower.sort_indices()
    A = lower.indices, lower.indptr
    got = float(cx.csc.sparse_log_det(*A, lower.data))
    assert abs(got - r["logdet"]) <= 10 * EPS * (r["n"] + r["logdet_sensitivity"])
    L = cx.csc.sparse_cholesky(*A, lower.data)
    Z = np.asarray(cx.csc.sparse_partial_inverse(*L, *A))
    with np.load(HERE / f"{name}.npz") as arrays:
        want = arrays["selinv_lower"]
    assert np.abs(Z - want).max() <= tolerance(r["cond2"]) * np.abs(want).max()


@pytest.mark.parametrize("name", BUNDLED)
def test_float32_loses_no_more_than_its_precision(name):
    r = BUNDLED[name]
    Q = read(HERE, name).astype(np.float32)
    F = cx.cholesky(cx.from_scipy(Q, symmetric=True))
    eps = float(np.finfo(np.float32).eps)
    assert bool(F.ok)
    assert abs(float(F.log_det()) - r["logdet"]) <= 10 * eps * (r["n"] + r["logdet_sensitivity"])


# --- the whole collection ------------------------------------------------------------------------


@shared(lambda row: row["kind"] == "spd")
def test_positive_definite_matrices_agree_with_80_bit_references(row):
    name = row["name"]
    reference = json.loads((SHARED / "ref" / f"{name}.json").read_text("utf-8"))
    with np.load(SHARED / "ref" / f"{name}.npz") as arrays:
        check_positive_definite(
            read(SHARED, name),
            reference["logdet"],
            float(row["logdet_sensitivity"]),
            float(row["cond2"]),
            dict(arrays),
        )


@shared(lambda row: row["kind"] == "reject-indefinite")
def test_indefinite_matrices_report_failure(row):
    Q = read(SHARED, row["name"])
    if np.iscomplexobj(Q.data):
        with pytest.raises(DtypeError, match="got complex128"):
            cx.from_scipy(Q, symmetric=True)
        Q = sp.csc_array(Q.real)
    F = cx.cholesky(cx.from_scipy(Q, symmetric=True))
    assert not bool(F.ok)
    assert np.isnan(F.log_det())
    assert np.isnan(F.solve(np.ones(F.n))).all()


@shared(lambda row: row["kind"] == "reject-psd-singular")
def test_singular_matrices_report_failure_under_every_ordering(row):
    """bcsstm01 is diagonal with exact zeros. germany_icar, an intrinsic autoregression of rank
    n − 1, is singular up to rounding only, so the sign of its last pivot is chance: it comes out as
    not positive under all five orderings. A positive one would show in a variance about 1/(n eps).
    """
    A = cx.from_scipy(read(SHARED, row["name"]), symmetric=True)
    for ordering in ("auto", "natural", "amd", "rcm", "nested_dissection"):
        F = cx.cholesky(A, ordering=ordering)
        if row["name"] == "germany_icar" and bool(F.ok):
            assert float(F.inverse_diagonal().max()) > 1e-2 / (F.n * EPS)
        else:
            assert not bool(F.ok)
            assert np.isnan(F.log_det())


@shared(lambda row: row["kind"] == "reject-nonsquare")
def test_matrices_that_are_not_square_are_refused(row):
    Q = read(SHARED, row["name"])
    with pytest.raises(StructureError, match=f"square, got {row['nrow']}×{row['ncol']}"):
        cx.from_scipy(Q, symmetric=True)
    with pytest.raises(StructureError, match="symmetric"):
        cx.cholesky(cx.from_scipy(Q))


@shared(lambda row: row["kind"].startswith("lu"))
def test_unsymmetric_and_complex_matrices_are_refused_by_name(row):
    Q = read(SHARED, row["name"])
    if np.iscomplexobj(Q.data):
        with pytest.raises(DtypeError, match="got complex128"):
            cx.from_scipy(Q, symmetric=True)
        return
    with pytest.raises(StructureError, match="a_ij = a_ji"):
        cx.from_scipy(Q, symmetric=True)
    with pytest.raises(StructureError, match="symmetric"):
        cx.log_det(cx.from_scipy(Q))


@shared(lambda row: row["name"] == "gr_900")
def test_generated_grid_is_the_matrix_of_the_collection(row):
    assert abs(read(SHARED, "gr_900") - nine_point_grid(30)).max() == 0


def test_every_kind_of_the_collection_is_tested():
    kinds = {row["kind"] for row in index()}
    known = {"spd", "reject-indefinite", "reject-psd-singular", "reject-nonsquare"}
    assert {kind for kind in kinds if not kind.startswith("lu")} <= known
