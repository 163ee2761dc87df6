"""Imports point downward: the checker accepts the package and refuses every kind of fault."""

import importlib
import importlib.util
import pkgutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("check_layers", ROOT / "tools" / "check_layers.py")
check_layers = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(check_layers)


@pytest.fixture
def faults(tmp_path):
    """Faults of a package that holds one file, `where`, with the text `source`."""

    def check(where: str, source: str) -> list[str]:
        path = tmp_path / where
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
        return check_layers.violations(tmp_path)

    return check


def test_package_imports_point_downward_and_not_in_circles():
    assert check_layers.violations(ROOT / "src" / "cholax") == []
    assert check_layers.circles(ROOT / "src" / "cholax") == []


@pytest.mark.parametrize(
    ("upper", "lower", "init", "way"),
    [
        ("from cholax.stats.field.lower import f", "", "", None),
        (
            "from cholax.stats.field import lower",
            "",
            "from cholax.stats.field.upper import g",
            None,
        ),
        ("from .lower import f", "import numpy", "from .upper import g", None),
        (
            "from cholax.stats.field.lower import f",
            "def f():\n    from cholax.stats.field.upper import g",
            "",
            "lower -> upper -> lower",
        ),
        (
            "from cholax.stats.field import lower",
            "if TYPE_CHECKING:\n    from .upper import g",
            "",
            "lower -> upper -> lower",
        ),
        (
            "from cholax.stats.field import f",
            "",
            "from cholax.stats.field.upper import g",
            "__init__ -> upper -> __init__",
        ),
        (
            "import cholax.stats.field",
            "",
            "from cholax.stats.field.upper import g",
            "__init__ -> upper -> __init__",
        ),
    ],
)
def test_circles_inside_a_folder_are_reported(tmp_path, upper, lower, init, way):
    folder = tmp_path / "stats" / "field"
    folder.mkdir(parents=True)
    for name, text in (("upper", upper), ("lower", lower), ("__init__", init)):
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    found = check_layers.circles(tmp_path)
    want = [] if way is None else [f"stats/field: the modules import each other: {way}"]
    assert found == want


@pytest.mark.parametrize(
    ("where", "source"),
    [
        ("linalg/solve.py", "from cholax import primitives"),
        ("linalg/solve.py", "from cholax.linalg.matrix import SparseMatrix"),
        ("linalg/solve.py", "from .matrix import SparseMatrix"),
        ("linalg/solve.py", "import jax.numpy, scipy.sparse"),
        ("csc.py", "from cholax.linalg import solve"),
        ("testing/checks.py", "import cholax"),
        ("demo/run.py", "from cholax.stats.gmrf import GMRF"),
        ("cli.py", "from cholax.demo import run"),
        ("__init__.py", "from cholax.csc import sparse_solve"),
        ("integrations/lineax.py", "from cholax.integrations._common import tag"),
        ("_core/jax_compat.py", "from jax._src import core"),
        ("primitives/_define.py", "import jax.extend.core\nfrom jax.interpreters import mlir"),
    ],
)
def test_allowed_import_passes(faults, where, source):
    assert faults(where, source) == []


@pytest.mark.parametrize(
    ("where", "source", "reason"),
    [
        ("patterns/build.py", "from cholax.linalg import matrix", "later layer"),
        ("patterns/build.py", "from cholax import linalg", "later layer"),
        ("patterns/build.py", "import cholax.primitives", "later layer"),
        ("patterns/build.py", "from ..linalg.matrix import SparseMatrix", "later layer"),
        ("patterns/build.py", "def f():\n    from cholax import linalg", "later layer"),
        ("linalg/solve.py", "from cholax import csc", "later layer"),
        ("linalg/solve.py", "import cholax", "package cholax itself"),
        ("linalg/solve.py", "from cholax import SparseMatrix", "package cholax itself"),
        ("linalg/solve.py", "from cholax.testing import checks", "above all layers"),
        ("testing/checks.py", "from cholax.integrations import lineax", "nobody imports"),
        ("__init__.py", "from cholax import integrations", "nobody imports"),
        ("misc/helpers.py", "import numpy", "in no layer"),
        ("linalg/solve.py", "from jax._src import core", "may import"),
        ("linalg/solve.py", "from jax import extend", "may import"),
    ],
)
def test_forbidden_import_is_reported(faults, where, source, reason):
    (fault,) = faults(where, source)
    assert fault.startswith(where)
    assert reason in fault


def test_no_module_is_hidden_by_a_function_of_its_name():
    package = importlib.import_module("cholax")
    for found in pkgutil.walk_packages(package.__path__, "cholax."):
        if "integrations" in found.name or found.name.endswith("__main__"):
            continue
        module = importlib.import_module(found.name)
        folder, _, leaf = found.name.rpartition(".")
        assert getattr(importlib.import_module(folder), leaf) is module, found.name
