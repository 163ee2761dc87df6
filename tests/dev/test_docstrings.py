"""Every example in a docstring runs, and every public function has one."""

import ast
import doctest
import functools
import importlib
import inspect
import pkgutil
from typing import Any

import pytest

import cholax as cx
from cholax import integrations

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
SKIPPED = ("cholax.demo.__main__", "cholax.__main__", "cholax._native._cholax")


def modules() -> list[str]:
    names = [m.name for m in pkgutil.walk_packages(cx.__path__, "cholax.")]
    return [name for name in names if name not in SKIPPED]


# Their examples compile programs of several seconds; the slow suite runs them.
HEAVY = tuple(
    f"cholax.{name}"
    for name in (
        "implicit",
        "integrations",
        "matfun",
        "numdiff",
        "sparsediff",
        "stats",
        "symbolic",
        "testing",
    )
)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name.startswith(HEAVY) else [])
        for name in modules()
    ],
)
def test_docstring_examples_run(name: str) -> None:
    module = module_or_skip(name)
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for example in Finder(exclude_empty=True).find(module, name):
        runner.run(example)
    assert runner.summarize().failed == 0


class Finder(doctest.DocTestFinder):
    """Finds the classes written in a module, which may name another one as theirs."""

    def _from_module(self, module: Any, object: Any) -> bool:  # noqa: A002
        if inspect.isclass(object) and module is not None:
            return object.__name__ in classes_of(module)
        return bool(super()._from_module(module, object))  # type: ignore[misc]


@functools.cache
def classes_of(module: Any) -> set[str]:
    """Names of the classes that a module's text defines."""
    tree = ast.parse(inspect.getsource(module) or "pass")
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def test_examples_of_published_classes_are_found() -> None:
    matrix = importlib.import_module("cholax.linalg.matrix")
    found = {example.name for example in Finder().find(matrix) if example.examples}
    assert "cholax.linalg.matrix.SparseMatrix" in found
    assert "cholax.linalg.matrix.SparseMatrix.diagonal" in found


def test_public_classes_say_their_public_path() -> None:
    for path in ("cholax", "cholax.stats", "cholax.errors", "cholax.testing"):
        module = importlib.import_module(path)
        public = {n: v for n, v in vars(module).items() if not n.startswith("_")}
        for name, item in public.items():
            if inspect.isclass(item) and item.__module__.startswith("cholax"):
                assert getattr(importlib.import_module(item.__module__), name) is item
                assert not any(part.startswith("_") for part in item.__module__.split("."))
                assert item.__module__ == path


def module_or_skip(name: str) -> Any:
    """A module; where it is an adapter for a library that is not there, skip."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if name.startswith("cholax.integrations.") and not (error.name or "").startswith("cholax"):
            pytest.skip(f"needs {error.name}")
        raise


def public() -> list[tuple[str, object]]:
    names = {n: v for n, v in vars(cx).items() if not n.startswith("_")}
    names |= {f"csc.{n}": getattr(cx.csc, n) for n in cx.csc.__all__}
    names |= {f"stats.{n}": v for n, v in vars(cx.stats).items() if not n.startswith("_")}
    callables = {n: v for n, v in names.items() if inspect.isfunction(v) or inspect.isclass(v)}
    return sorted(callables.items())


# Made by functions that show them at work.
WITHOUT_EXAMPLE = {"Factor", "Plan", "register_kernels"} | {
    f"stats.{name}"
    for name in (
        "ConstrainedFactor",
        "Delta",
        "FitStatus",
        "GLMMFit",
        "LMMFit",
        "LaplaceModel",
        "LaplaceStatus",
        "LatentModel",
        "Likelihood",
        "Prior",
        "Profile",
    )
}


@pytest.mark.parametrize(("name", "item"), public())
def test_public_names_are_documented_with_an_example(name: str, item: object) -> None:
    text = inspect.getdoc(item) or ""
    assert text
    assert ">>>" in text or name in WITHOUT_EXAMPLE


# What the adapted libraries call, and what functions with an example return.
INNER = {"AffineSubspace", "Draws", "GMRFRV", "NullSpaceTransform"}
ADAPTERS = [f"cholax.integrations.{m.name}" for m in pkgutil.iter_modules(integrations.__path__)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ADAPTERS if "._" not in name])
def test_public_names_of_adapters_are_documented_with_an_example(name: str) -> None:
    found = vars(module_or_skip(name)).items()
    own = {n: v for n, v in found if getattr(v, "__module__", "").startswith(name)}
    public = {n for n, v in own.items() if callable(v) and not n.startswith("_")}
    assert public
    without = {n for n in public if ">>>" not in (inspect.getdoc(own[n]) or "")}
    assert without <= INNER
