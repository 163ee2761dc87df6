"""`jax.export`: programs carry their patterns into processes that know nothing of them."""

import subprocess
import sys

import jax
import numpy as np
from jax import export

import cholax as cx
from tests.linalg.twins import assert_close, random_problem, tol

PROBLEM = random_problem(7, 9, seed=4)
VALUES = PROBLEM.values * np.linspace(1, 2, 4)[:, None]
B = np.random.default_rng(0).standard_normal((4, PROBLEM.n))
KEY = jax.random.key(0)
VALUE, GRADIENT = tol.value("float64"), tol.gradient("float64")


@jax.jit
def f(values, b):
    """Every operation of the factor once."""
    F = cx.cholesky(PROBLEM.matrix(values))
    vectors = (F.half_solve(b), F.half_solve_t(b), F.inverse_diagonal(), F.sample(KEY))
    return F.log_det() + b @ F.solve(b) + sum(v.sum() for v in vectors) + F.lower().values.sum()


gradient = jax.jit(jax.grad(f, argnums=(0, 1)))


def exported(function, *shapes, **options):
    checks = [export.DisabledSafetyCheck.custom_call(name) for name in cx.export_targets()]
    return export.export(jax.jit(function), disabled_checks=checks, **options)(*shapes)


def like(*arrays):
    return [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arrays]


def test_exported_program_runs_in_the_same_process():
    program = exported(f, *like(VALUES[0], B[0]))
    again = export.deserialize(program.serialize(vjp_order=2))
    assert_close(again.call(VALUES[0], B[0]), f(VALUES[0], B[0]), VALUE)
    got = jax.grad(lambda v, b: again.call(v, b), argnums=(0, 1))(VALUES[0], B[0])
    assert_close(got, gradient(VALUES[0], B[0]), GRADIENT)


FRESH_PROCESS = """
import sys
import jax
import numpy as np
from jax import export
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")
import cholax
cholax.register_kernels()
folder, kind = sys.argv[1:]
data = np.load(folder + "/arguments.npz")
arguments = [data[str(k)] for k in range(len(data))]
program = export.deserialize(open(f"{folder}/{kind}.bin", "rb").read())
if kind == "gradient":
    out = jax.grad(lambda *a: program.call(*a), argnums=(0, 1))(*arguments[:2])
else:
    out = [program.call(*arguments)]
print(cholax._native.lib().num_structures())
np.savez(f"{folder}/{kind}.npz", *out)
"""


def run_fresh(folder, kind, arguments):
    """Results, and how many native structures the process holds at the end."""
    np.savez(folder / "arguments.npz", **{str(k): a for k, a in enumerate(arguments)})
    command = [sys.executable, "-c", FRESH_PROCESS, str(folder), kind]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    with np.load(folder / f"{kind}.npz") as out:
        return [out[name] for name in out.files], int(result.stdout)


def test_exported_program_carries_its_pattern_into_a_fresh_process(tmp_path):
    """The other process only deserialises and calls: no pattern, no plan, no tracing of cholax."""
    program = exported(f, *like(VALUES[0], B[0]))
    (tmp_path / "value.bin").write_bytes(program.serialize())
    got, structures = run_fresh(tmp_path, "value", (VALUES[0], B[0]))
    assert_close(got, [f(VALUES[0], B[0])], VALUE)
    assert structures > 0  # rebuilt from the program and held by it
    (tmp_path / "gradient.bin").write_bytes(program.serialize(vjp_order=1))
    got, _ = run_fresh(tmp_path, "gradient", (VALUES[0], B[0]))
    assert_close(got, gradient(VALUES[0], B[0]), GRADIENT)


def test_exported_program_of_another_factor_layout_is_refused(tmp_path, monkeypatch):
    attributes = cx.Plan.portable_attributes

    def of_another_version(plan):
        return {**attributes(plan), "factor_size": plan.size + 1}

    monkeypatch.setattr(cx.Plan, "portable_attributes", of_another_version)
    jax.clear_caches()
    (tmp_path / "value.bin").write_bytes(exported(f, *like(VALUES[0], B[0])).serialize())
    np.savez(tmp_path / "arguments.npz", **{"0": VALUES[0], "1": B[0]})
    command = [sys.executable, "-c", FRESH_PROCESS, str(tmp_path), "value"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode != 0
    assert "export it again" in result.stderr


def test_exported_program_with_traced_indices_runs_in_a_fresh_process(tmp_path):
    indices, indptr = PROBLEM.pattern.indices, PROBLEM.pattern.indptr
    size = cx.analyze(PROBLEM.pattern, "natural").nnz_factor

    def solve(indices, indptr, values, b):
        L = cx.csc.sparse_cholesky(indices, indptr, values, L_nse=size)
        inverse = cx.csc.sparse_partial_inverse(*L, indices, indptr)
        return cx.csc.sparse_solve(indices, indptr, values, b, L_nse=size) + inverse.sum()

    arguments = (indices, indptr, VALUES[0], B[0])
    program = exported(solve, *like(*arguments))
    (tmp_path / "value.bin").write_bytes(program.serialize())
    got, structures = run_fresh(tmp_path, "value", arguments)
    assert_close(got, [solve(indices, indptr, VALUES[0], B[0])], VALUE)
    assert structures == 0  # the pattern is an argument


def test_export_of_a_batch_of_any_size_agrees_with_vmap():
    (size,) = export.symbolic_shape("k")
    shapes = [jax.ShapeDtypeStruct((size, a.shape[1]), a.dtype) for a in (VALUES, B)]
    program = exported(jax.vmap(f.__wrapped__), *shapes)
    for k in (1, 4):
        assert_close(program.call(VALUES[:k], B[:k]), jax.vmap(f)(VALUES[:k], B[:k]), VALUE)


def test_compiled_but_not_exported_programs_hold_no_pattern():
    text = jax.jit(f).lower(VALUES[0], B[0]).as_text()
    assert "portable" not in text
