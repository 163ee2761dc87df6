"""No maximum loses a NaN: `jnp.max` and its kin do on some CPU backends, so the package calls
`cholax._core.norms` instead, and this reads every file for a bare one."""

import ast
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cholax._core.norms import all_finite, largest, max_norm, one_norm, smallest

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "cholax"
# Reductions and norms that lose NaN (measured: jax 0.10.2 and 0.12.0.1, in float32 0.10.0).
METHODS = frozenset(["max", "min", "ptp"])
LOSE = METHODS | {"amax", "amin", "nanmax", "nanmin", "norm", "reduce", "reduce_window"}
LOSE |= {"reduce_max", "reduce_min"}
MODULES = {"jax.numpy": "jnp", "jax.lax": "lax", "jax.numpy.linalg": "jnp.linalg"}
# Bare ones that are right, by file and text (`jnp.linalg.norm` without `ord` adds up squares).
ALLOWED = {
    ("_core/norms.py", "jnp.max"): "NaN is put back after it",
    ("_core/norms.py", "jnp.min"): "NaN is put back after it",
    ("implicit/_bisect.py", "jnp.max"): "counts of steps, integers",
    ("numdiff/estimate.py", "jnp.max"): "indices, integers",
}
# Where `.max()` is NumPy's or SciPy's, or a graph's of another package; by file or folder.
CONCRETE = {
    "_core/dtypes.py": "NumPy: bounds of integers",
    "demo/": "NumPy: figures",
    "integrations/numpyro.py": "SciPy: an adjacency matrix",
    "integrations/pytensor/": "PyTensor's graph, and NumPy",
    "patterns/": "NumPy: built outside programs",
    "primitives/_structures.py": "NumPy: indices",
    "primitives/_superlu.py": "NumPy: inside a callback",
    "sparsediff/": "NumPy: patterns and colors, while tracing",
    "stats/latent/": "NumPy and SciPy: graphs and structure matrices",
    "stats/_lmm/": "NumPy: the fit runs outside programs",
    "stats/mesh/": "NumPy: geometry",
}


def bare_maxima(source: str) -> list[str]:
    """Every mention of a maximum that could lose NaN, shortened to `jnp.max` or `.max`."""
    tree = ast.parse(source)
    names = _imports(tree)
    plain_norms = {
        id(c.func) for c in ast.walk(tree) if isinstance(c, ast.Call) and not _has_order(c)
    }
    found = []
    for node in ast.walk(tree):
        full = _full_name(node, names)
        module, _, name = full.rpartition(".")
        euclidean = name == "norm" and id(node) in plain_norms
        if module in MODULES and name in LOSE and not euclidean:
            found.append(f"{MODULES[module]}.{name}")
        method = node.func if isinstance(node, ast.Call) else None
        if isinstance(method, ast.Attribute) and method.attr in METHODS:
            on_module = isinstance(method.value, ast.Name) and method.value.id in names
            dotted = _full_name(method.value, names) in MODULES
            found += [] if on_module or dotted else [f".{method.attr}"]
    return found


def _imports(tree: ast.AST) -> dict[str, str]:
    """What every imported name stands for."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for a in node.names:
                head = a.name.partition(".")[0]
                names[a.asname or head] = a.name if a.asname else head
        elif isinstance(node, ast.ImportFrom):
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return names


def _full_name(node: ast.AST, names: dict[str, str]) -> str:
    """`jax.numpy.max` of `jnp.max`; empty for anything but a dotted name."""
    if isinstance(node, ast.Name):
        return names.get(node.id, "")
    if isinstance(node, ast.Attribute):
        head = _full_name(node.value, names)
        return f"{head}.{node.attr}" if head else ""
    return ""


def _has_order(call: ast.Call) -> bool:
    return len(call.args) > 1 or any(k.arg == "ord" for k in call.keywords)


def allowed(path: str, mention: str) -> bool:
    """Whether a table above has a reason for it."""
    if mention.startswith("."):
        return any(path == p or (p.endswith("/") and path.startswith(p)) for p in CONCRETE)
    return (path, mention) in ALLOWED


def test_every_maximum_in_the_package_keeps_nan():
    faults = [
        f"{path}: {mention}"
        for file in sorted(PACKAGE.rglob("*.py"))
        for path in [file.relative_to(PACKAGE).as_posix()]
        for mention in bare_maxima(file.read_text(encoding="utf-8"))
        if not allowed(path, mention)
    ]
    assert faults == [], "use cholax._core.norms, or add a line with its reason"


@pytest.mark.parametrize(
    ("source", "mentions"),
    [
        ("import jax.numpy as jnp\njnp.max(jnp.abs(x))", ["jnp.max"]),
        ("from jax import numpy as n\nn.amin(x)", ["jnp.amin"]),
        ("from jax.numpy import max as top\ntop(x)", ["jnp.max"]),
        ("import jax\njax.tree.map(jax.numpy.min, x)", ["jnp.min"]),
        ("import jax\njax.lax.reduce_max(x, (0,))", ["lax.reduce_max"]),
        ("from jax import lax\nlax.reduce(x, 0, lax.max, (0,))", ["lax.reduce", "lax.max"]),
        ("import jax.numpy as jnp\njnp.linalg.norm(x, jnp.inf)", ["jnp.linalg.norm"]),
        ("import jax.numpy as jnp\njnp.linalg.norm(x, ord=1)", ["jnp.linalg.norm"]),
        ("import jax.numpy as jnp\njnp.linalg.norm(x)", []),
        ("import jax.numpy as jnp\njnp.abs(x).max()", [".max"]),
        ("def f(x):\n    return x.min(axis=0)", [".min"]),
        ("import numpy as np\nnp.max(x), max(1, 2)", []),
        ("import jax.numpy as jnp\njnp.maximum(x, y), jnp.argmax(x)", []),
    ],
)
def test_the_reader_finds_every_way_of_writing_one(source, mentions):
    assert sorted(bare_maxima(source)) == sorted(mentions)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [3, 5000, 60_000])
def test_norms_keep_nan_and_infinity_flat_along_axes_compiled_and_batched(n, dtype):
    one = jnp.linspace(-2.0, 1.0, n, dtype=dtype)
    spoiled = one.at[n // 3].set(jnp.nan)
    stack = jnp.stack([one, spoiled, jnp.full(n, jnp.nan, dtype), one.at[0].set(-jnp.inf)])
    want = {
        max_norm: [2.0, np.nan, np.nan, np.inf],
        largest: [1.0, np.nan, np.nan, 1.0],
        smallest: [-2.0, np.nan, np.nan, -np.inf],
    }
    for norm, values in want.items():
        for got in (
            [norm(row) for row in stack],
            jax.jit(jax.vmap(norm))(stack),
            jax.jit(lambda s, norm=norm: norm(s, axis=1))(stack),
            norm(stack.T, axis=0),
        ):
            np.testing.assert_array_equal(np.array(got), np.array(values, dtype))
            assert np.array(got).dtype == dtype
    assert jax.vmap(all_finite)(stack).tolist() == [True, False, False, False]
    assert bool(jnp.isnan(one_norm(spoiled[:, None])))


def test_norms_of_nothing_are_zero_or_what_is_given():
    none = jnp.zeros(0)
    assert max_norm(none) == 0
    assert largest(none, initial=-1.0) == -1
    assert smallest(none, initial=7.0) == 7
    assert bool(all_finite(none))
