"""`lu` on the unsymmetric matrices of the collection: determinant and backward error."""

import numpy as np

import cholax as cx
from cholax.linalg.lu import lu
from tests.reference.test_real_matrices import EPS, SHARED, read, shared

# Of the references, in units of eps·cond(A): at most 4e-4 measured where cond > 1e9.
TOL_OF_CONDITION = 1e-2
TOL_BACKWARD = 1e-10


@shared(lambda row: row["kind"] == "lu")
def test_determinants_and_solutions_of_real_matrices(row):
    Q = read(SHARED, row["name"])
    F = lu(cx.from_scipy(Q))
    assert bool(F.ok)
    reference = float(row["logdet_or_logabsdet"])
    tolerance = 1e-12 * abs(reference) + TOL_OF_CONDITION * EPS * float(row["cond2"])
    sign, log = F.slogdet()
    assert abs(float(log) - reference) <= tolerance
    assert float(sign) == np.linalg.slogdet(Q.toarray())[0]
    b = np.cos(np.arange(Q.shape[0]))
    for M, x in ((Q, F.solve(b)), (Q.T, F.solve(b, transpose=True))):
        assert np.max(np.abs(M @ x - b) / (abs(M) @ np.abs(x) + np.abs(b))) <= TOL_BACKWARD
