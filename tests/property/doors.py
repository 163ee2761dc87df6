"""Public functions that take arrays, matrices or options, one call per argument: the doors."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import polars as pl
import scipy.sparse as sp
from jax.experimental import sparse as jsp

import cholax as cx
import cholax.stats as cs
from cholax import matfun

D = np.array([[4.0, 1.0], [1.0, 3.0]])
ONE = np.ones(2)
KEY = jax.random.key(0)

Door = Callable[[Any], Any]


class Tensor:
    """Stands for another library's tensor."""


Tensor.__module__ = "torch"


def foreign() -> dict[str, Any]:
    """Objects that are no array, or not one of real numbers in the right format."""
    return {
        "scipy_array": sp.csc_array(D),
        "scipy_matrix": sp.coo_matrix(D),
        "bcoo": jsp.BCOO.fromdense(D),
        "bcoo_vector": jsp.BCOO.fromdense(D[0]),
        "bcsr": jsp.BCSR.fromdense(D),
        "list_of_scipy": [sp.csc_array(D), sp.csc_array(D)],
        "list_of_bcoo": [jsp.BCOO.fromdense(D), jsp.BCOO.fromdense(D)],
        "tensor": Tensor(),
        "pandas_frame": pd.DataFrame(D),
        "pandas_dates": pd.Series(pd.to_datetime(["2020-01-01", "2020-01-02"])),
        "polars_series": pl.Series([1.0, 2.0]),
        "polars_frame": pl.DataFrame(D),
        "masked": np.ma.masked_array([1.0, 2.0], [False, True]),
        "objects": np.array([None, 1.0], object),
        "texts": np.array(["a", "b"]),
        "structured": np.zeros(2, [("a", float)]),
        "dates": np.array(["2020-01-01", "2020-01-02"], "M8[D]"),
        "complex": np.array([1j, 2.0]),
        "float16": np.ones(2, np.float16),
        "ragged": [[1.0], [1.0, 2.0]],
        "text": "abc",
        "mapping": {"a": 1.0},
        "set": {1.0, 2.0},
        "none": None,
        "key": jax.random.key(0),
        "object": object(),
    }


def malformed() -> dict[str, Any]:
    """More of what may be passed by mistake: wrong ranks, sizes, kinds and values."""
    return {
        "scalar": 1.0,
        "negative": -1,
        "integers": np.array([1, 2]),
        "bools": np.array([True, False]),
        "huge": np.array([2**40, 1]),
        "nan": np.array([np.nan, 1.0]),
        "infinite": np.array([np.inf, 1.0]),
        "empty": np.zeros(0),
        "cube": np.ones((2, 2, 2)),
        "long": np.ones(7),
        "matrix": D,
        "wide": np.ones((2, 5)),
        "function": np.sin,
        "float32": np.ones(2, np.float32),
    }


def _function(x: Any) -> Any:
    return jnp.sum(jnp.asarray(x) ** 2)


def _linalg() -> dict[str, Door]:
    A, G = cx.from_dense(D, symmetric=True), cx.from_dense(D)
    F, L, P = cx.cholesky(A), cx.lu(G), A.pattern
    coo = [0, 1]
    return {
        "SparseMatrix": lambda x: cx.SparseMatrix(x, P),
        "SparseMatrix: pattern": lambda x: cx.SparseMatrix(A.values, x),
        "Pattern: shape": lambda x: cx.Pattern(x, P.indptr, P.indices),
        "Pattern: indptr": lambda x: cx.Pattern((2, 2), x, P.indices),
        "Pattern: indices": lambda x: cx.Pattern((2, 2), P.indptr, x),
        "from_coo": lambda x: cx.from_coo(x, coo, coo, (2, 2)),
        "from_coo: rows": lambda x: cx.from_coo(ONE, x, coo, (2, 2)),
        "from_coo: columns": lambda x: cx.from_coo(ONE, coo, x, (2, 2)),
        "from_coo: shape": lambda x: cx.from_coo(ONE, coo, coo, x),
        "from_coo: symmetric": lambda x: cx.from_coo(ONE, coo, coo, (2, 2), symmetric=x),
        "from_dense": cx.from_dense,
        "from_dense: pattern": lambda x: cx.from_dense(D, pattern=x),
        "from_scipy": cx.from_scipy,
        "from_bcoo": cx.from_bcoo,
        "cholesky": cx.cholesky,
        "cholesky: ordering": lambda x: cx.cholesky(A, ordering=x),
        "lu": cx.lu,
        "lu: capacity": lambda x: cx.lu(G, capacity=x),
        "solve": lambda x: cx.solve(x, ONE),
        "solve: b": lambda x: cx.solve(A, x),
        "solve: b of a general matrix": lambda x: cx.solve(G, x),
        "log_det": cx.log_det,
        "selected_inverse": cx.selected_inverse,
        "selected_inverse: pattern": lambda x: cx.selected_inverse(A, x),
        "inverse_diagonal": cx.inverse_diagonal,
        "analyze": cx.analyze,
        "Factor.solve": F.solve,
        "Factor.half_solve": F.half_solve,
        "Factor.selected_inverse": F.selected_inverse,
        "Factor.sample": F.sample,
        "Factor.sample: shape": lambda x: F.sample(KEY, x),
        "LU.solve": L.solve,
        "tril": cx.tril,
        "tril: k": lambda x: cx.tril(A, x),
        "hstack": cx.hstack,
        "vstack": cx.vstack,
        "block": cx.block,
        "block_diag": cx.block_diag,
        "kron": lambda x: cx.kron(A, x),
        "congruence": cx.congruence,
        "congruence: d": lambda x: cx.congruence(A, x),
        "quadratic_form": lambda x: cx.quadratic_form(A, x),
        "trace_product": lambda x: cx.trace_product(A, x),
        "diags": lambda x: cx.diags(x, [0]),
        "diags: offsets": lambda x: cx.diags([ONE], x),
        "eye": cx.eye,
        "add_diagonal": A.add_diagonal,
        "scale_rows": A.scale_rows,
        "A[i]": lambda x: A[x],
        "A[i, :]": lambda x: A[x, :],
        "astype": A.astype,
    }


def _csc() -> dict[str, Door]:
    P = cx.from_dense(D, symmetric=True)
    arrays = {"indices": P.pattern.indices, "indptr": P.pattern.indptr, "x": P.values, "b": ONE}
    counts = {
        "sparse_log_det": 3,
        "sparse_cholesky": 3,
        "sparse_solve": 4,
        "sparse_triangular_solve": 4,
    }
    doors: dict[str, Door] = {}
    for name, count in counts.items():
        function, names = getattr(cx.csc, name), list(arrays)[:count]
        for wanted in names:
            doors[f"csc.{name}: {wanted}"] = lambda x, f=function, ns=names, w=wanted: f(
                *(x if n == w else arrays[n] for n in ns)
            )
    doors["csc.sparse_log_det: L_nse"] = lambda x: cx.csc.sparse_log_det(
        *list(arrays.values())[:3], L_nse=x
    )
    return doors


def _functions() -> dict[str, Door]:
    G = cx.from_dense(D)
    start = jnp.ones(2)

    def square(z: Any) -> Any:
        return z * z - 2.0

    return {
        "root": lambda x: cx.root(x, start),
        "root: tolerance": lambda x: cx.root(square, start, tolerance=x),
        "root: max_iterations": lambda x: cx.root(square, start, max_iterations=x),
        "root: linear_solver": lambda x: cx.root(square, start, linear_solver=x),
        "root: sparsity": lambda x: cx.root(square, start, sparsity=x, linear_solver="lu"),
        "root: throw": lambda x: cx.root(square, start, throw=x),
        "fixed_point: memory": lambda x: cx.fixed_point(jnp.cos, start, memory=x),
        "fixed_point: tolerance": lambda x: cx.fixed_point(jnp.cos, start, tolerance=x),
        "bisect: lower": lambda x: cx.bisect(lambda z: z - 1.5, x, 9.0),
        "bisect: max_iterations": lambda x: cx.bisect(
            lambda z: z - 1.5, 0.0, 9.0, max_iterations=x
        ),
        "minimize": lambda x: cx.minimize(x, start),
        "minimize: tolerance": lambda x: cx.minimize(_function, start, tolerance=x),
        "hessian": cx.hessian,
        "hessian: argnums": lambda x: cx.hessian(_function, x)(start),
        "hessian: mode": lambda x: cx.hessian(_function, mode=x),
        "hessian: chunk_size": lambda x: cx.hessian(_function, chunk_size=x),
        "hessian: sparsity": lambda x: cx.hessian(_function, sparsity=x)(start),
        "linear_operator_matrix": lambda x: cx.linear_operator_matrix(x, start),
        "linear_operator_matrix: mode": lambda x: cx.linear_operator_matrix(
            lambda y: 2 * y, start, mode=x
        ),
        "linear_operator_matrix: x_like": lambda x: cx.linear_operator_matrix(lambda y: y, x),
        "separable_hessian: index_map": lambda x: cx.separable_hessian(_function, x),
        "separable_hessian: x": lambda x: cx.separable_hessian(_function, [[0, 1]])(x),
        "expm": matfun.expm,
        "logm": matfun.logm,
        "sqrtm": matfun.sqrtm,
        "frechet": lambda x: matfun.frechet(matfun.expm, x, D),
        "frechet: E": lambda x: matfun.frechet(matfun.expm, D, x),
        "expm_multiply: b": lambda x: matfun.expm_multiply(G, x),
    }


def _stats() -> dict[str, Door]:
    Q = cx.from_dense(D, symmetric=True)
    poisson = cs.LIKELIHOODS["poisson"]
    field = cs.GMRF(0.0, Q)

    def log_joint(u: Any, theta: Any) -> Any:
        return -0.5 * jnp.sum((u - theta) ** 2)

    model = cs.laplace(log_joint, jnp.zeros(2))
    return {
        "GMRF: mean": lambda x: cs.GMRF(x, Q),
        "GMRF": lambda x: cs.GMRF(0.0, x),
        "GMRF.log_prob": field.log_prob,
        "GMRF.sample": field.sample,
        "GMRF.sample: shape": lambda x: field.sample(KEY, x),
        "GMRF: constraints": lambda x: cs.GMRF(0.0, Q, x),
        "Constraints": cs.Constraints,
        "Constraints: e": lambda x: cs.Constraints(ONE, x),
        "poisson.log_prob: y": lambda x: poisson.log_prob(x, jnp.zeros(2)),
        "poisson.log_prob: eta": lambda x: poisson.log_prob(ONE, x),
        "iid": cs.iid,
        "rw1": cs.rw1,
        "laplace": lambda x: cs.laplace(x, jnp.zeros(2)),
        "laplace: max_iterations": lambda x: cs.laplace(log_joint, ONE, max_iterations=x),
        "laplace: tolerance": lambda x: cs.laplace(log_joint, ONE, tolerance=x),
        "fit_ml: max_iterations": lambda x: cs.fit_ml(model, 0.5, max_iterations=x),
        "fit_ml": lambda x: cs.fit_ml(x, 0.5),
        "lmm: formula": lambda x: cs.lmm(x, pd.DataFrame({"y": ONE, "g": [0, 1]})),
    }


def doors() -> dict[str, Door]:
    """Every door by name."""
    return {**_linalg(), **_csc(), **_functions(), **_stats()}
