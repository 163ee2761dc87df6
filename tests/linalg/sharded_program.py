"""Run by test_transforms in a process of its own with two host devices; prints errors as JSON.

Every entry is the largest deviation from the same computation without sharding, or an exception.
"""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import cholax as cx
from tests.linalg.twins import random_problem

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")

PROBLEM = random_problem(7, 9, seed=4)
RNG = np.random.default_rng(0)
VALUES = PROBLEM.values * np.linspace(1, 2, 4)[:, None]
B, DB = RNG.standard_normal((2, 4, PROBLEM.n))
DV = PROBLEM.direction(1)
INDICES, INDPTR = PROBLEM.pattern.indices, PROBLEM.pattern.indptr
L_NSE = cx.analyze(PROBLEM.pattern, "natural").nnz_factor


def f(values, b):
    F = cx.cholesky(PROBLEM.matrix(values))
    parts = (F.log_det(), b @ F.solve(b), F.half_solve(b).sum(), F.half_solve_t(b).sum())
    more = (F.inverse_diagonal().sum(), F.lower().values.sum(), F.sample(jax.random.key(0)).sum())
    return sum(parts) + sum(more) + cx.quadratic_form(F.A, b) + (F.A @ b).sum()


def csc(indices, indptr, values, b):
    x = cx.csc.sparse_solve(indices, indptr, values, b, L_nse=L_NSE)
    return cx.csc.sparse_log_det(indices, indptr, values, L_nse=L_NSE) + b @ x


def mesh(kind=AxisType.Auto):
    return jax.make_mesh((2,), ("i",), axis_types=(kind,))


def sharded(function, in_specs, out_specs=None):
    out_specs = P("i") if out_specs is None else out_specs
    return jax.shard_map(function, mesh=mesh(), in_specs=in_specs, out_specs=out_specs)


both = jax.vmap(f)
shared_values = jax.vmap(f, in_axes=(None, 0))
over_both = sharded(both, (P("i"), P("i")))
over_b = sharded(shared_values, (P(), P("i")))


def total(function):
    return lambda *arguments: jnp.sum(function(*arguments))


def summed_inside(values, b):
    return jax.lax.psum(jnp.sum(shared_values(values, b)), "i")


def one_member_each(values, b):
    return f(values, b[0])[None] + f(values, b[1])[None]


def hvp(function):
    return lambda v, b: jax.jvp(jax.grad(function), (v, b), (jnp.asarray(DV), jnp.asarray(DB)))[1]


per_member = jax.vmap(jax.grad(f))
dynamic = jax.vmap(csc, in_axes=(None, None, 0, 0))
gathered = sharded(summed_inside, (P(), P("i")), P())
pair = sharded(one_member_each, (P(), P("i")))
CHECKS = {
    "values sharded": (over_both, both, (VALUES, B)),
    "per-member gradient": (sharded(per_member, (P("i"), P("i"))), per_member, (VALUES, B)),
    "gradient through": (jax.grad(total(over_both)), jax.grad(total(both)), (VALUES, B)),
    "values shared": (over_b, shared_values, (VALUES[0], B)),
    "gradient, values shared": (
        jax.grad(total(over_b)),
        jax.grad(total(shared_values)),
        (VALUES[0], B),
    ),
    "gradient, values shared, no vmap": (
        jax.grad(total(pair)),
        jax.grad(total(shared_values)),
        (VALUES[0], B),
    ),
    "hvp, values shared": (hvp(total(over_b)), hvp(total(shared_values)), (VALUES[0], B)),
    "psum": (gathered, total(shared_values), (VALUES[0], B)),
    "gradient of psum": (jax.grad(gathered), jax.grad(total(shared_values)), (VALUES[0], B)),
    "traced indices": (
        sharded(dynamic, (P(), P(), P("i"), P("i"))),
        dynamic,
        (INDICES, INDPTR, VALUES, B),
    ),
    "gradient, traced indices": (
        jax.grad(total(sharded(dynamic, (P(), P(), P("i"), P("i")))), argnums=(2, 3)),
        jax.grad(total(dynamic), argnums=(2, 3)),
        (INDICES, INDPTR, VALUES, B),
    ),
    "gradient, traced indices, values shared": (
        jax.grad(
            total(sharded(jax.vmap(csc, in_axes=(None, None, None, 0)), (P(), P(), P(), P("i")))),
            argnums=2,
        ),
        jax.grad(total(jax.vmap(csc, in_axes=(None, None, None, 0))), argnums=2),
        (INDICES, INDPTR, VALUES[0], B),
    ),
}


def deviation(got, want):
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)


def attempt(run):
    try:
        return run()
    except Exception as error:  # reported to the parent
        return f"{type(error).__name__}: {error}"[:500]


def check(name):
    sharded_function, plain, arguments = CHECKS[name]
    arguments = jax.tree.map(jnp.asarray, arguments)
    return deviation(jax.jit(sharded_function)(*arguments), jax.jit(plain)(*arguments))


def jit_of_vmap(kind):
    with jax.set_mesh(mesh(kind)) as _:
        placed = [jax.device_put(a, NamedSharding(mesh(kind), P("i"))) for a in (VALUES, B)]
        return deviation(jax.jit(both)(*placed), jax.jit(both)(VALUES, B))


def main():
    assert len(jax.devices()) == 2
    out = {name: attempt(partial(check, name)) for name in CHECKS}
    out["jit of vmap, auto"] = attempt(partial(jit_of_vmap, AxisType.Auto))
    out["jit of vmap, explicit"] = attempt(partial(jit_of_vmap, AxisType.Explicit))
    print(json.dumps(out))


if __name__ == "__main__":
    main()
