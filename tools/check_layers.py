#!/usr/bin/env python3
"""Check that every import under src/cholax points downward in the list of layers.

A module of layer k may import the layers 0..k, its own included. Imports inside functions and under
`TYPE_CHECKING` count as well: a cycle means a misplaced concept, and hiding it does not place it.

Inside a folder the modules must not import each other in circles; the folder's `__init__` counts
as one of them, so that a module which imports from its own package closes a circle. Folders with
circles that are still to be opened are listed in `CIRCLES_REMAIN`.

Usage: tools/check_layers.py [PACKAGE_FOLDER]      (prints violations, exits 1 when there are any)
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "cholax"
LAYERS = (
    "_core",
    "_native",
    "patterns",
    "ordering",
    "analysis",
    "primitives",
    "linalg",
    "csc",
    "sparsediff",
    "numdiff",
    "matfun",
    "symbolic",
    "implicit",
    "stats",
)
FREE = (
    "testing",
    "integrations",
    "demo",
    "cli",
    "errors",
    "__init__",
    "__main__",
)  # import anything
NEVER_IMPORTED = ("integrations",)
# Folders whose modules still import each other in circles. Take out what has been opened.
CIRCLES_REMAIN: tuple[str, ...] = ()
# JAX's primitive machinery and private parts, and the only files that may open that door.
DOOR = ("jax._src", "jax.interpreters", "jax.extend")
DOORKEEPERS = ("_core/jax_compat.py", "primitives/_define.py")


def imported_names(tree: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Yield (line, absolute dotted name) of every import; `package` resolves relative ones."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = [*base, *(node.module.split(".") if node.module else ())]
            yield from ((node.lineno, ".".join([*module, alias.name])) for alias in node.names)


def layer_fault(unit: str, name: str) -> str | None:
    """Say why a module of `unit` must not import the dotted `name`; None when it may."""
    head, *rest = name.split(".")
    if head != PACKAGE:
        return None
    target = rest[0] if rest else "__init__"
    if target in NEVER_IMPORTED and unit != target:
        return f"nobody imports {PACKAGE}.{target}"
    if unit in FREE:
        return None
    if target not in LAYERS:
        inner = target in FREE and target != "__init__"
        what = target if inner else f"the package {PACKAGE} itself"
        return f"{unit} must not import {what}, which stands above all layers"
    if LAYERS.index(target) > LAYERS.index(unit):
        return f"{unit} must not import {target}, a later layer"
    return None


def door_fault(relative: str, name: str) -> str | None:
    """Say why the file `relative` must not import the part `name` of JAX; None when it may."""
    behind = any(name == door or name.startswith(door + ".") for door in DOOR)
    if behind and relative not in DOORKEEPERS:
        return f"only {' and '.join(DOORKEEPERS)} may import {name}"
    return None


def imports_inside(folder: Path, root: Path) -> dict[str, set[str]]:
    """Which modules of a folder each of them imports; a subfolder stands for one module."""
    package = (PACKAGE, *folder.relative_to(root).parts)
    units = {path.stem: [path] for path in folder.glob("*.py")}
    for inner in folder.iterdir():
        if (inner / "__init__.py").exists():
            units[inner.name] = sorted(inner.rglob("*.py"))
    found: dict[str, set[str]] = {}
    for unit, paths in units.items():
        targets = found.setdefault(unit, set())
        for path in paths:
            own = (PACKAGE, *path.relative_to(root).parts[:-1])
            tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
            for _, name in imported_names(tree, own):
                parts = tuple(name.split("."))
                if parts[: len(package)] == package:
                    inner = parts[len(package)] if len(parts) > len(package) else "__init__"
                    targets.add(inner if inner in units else "__init__")
        targets.discard(unit)
    return found


def circle(imports: dict[str, set[str]]) -> list[str] | None:
    """Modules that import each other in a circle, the first one twice; None where there is none."""
    done: set[str] = set()

    def visit(unit: str, path: list[str]) -> list[str] | None:
        if unit in path:
            return [*path[path.index(unit) :], unit]
        if unit in done:
            return None
        for target in sorted(imports.get(unit, ())):
            if found := visit(target, [*path, unit]):
                return found
        done.add(unit)
        return None

    for unit in sorted(imports):
        if found := visit(unit, []):
            return found
    return None


def circles(root: Path) -> list[str]:
    """List a circle of imports for each folder below `root` that has one, except those known."""
    found = []
    for init in sorted(root.rglob("__init__.py")):
        folder = init.parent
        name = folder.relative_to(root).as_posix()
        if folder != root and name not in CIRCLES_REMAIN:
            way = circle(imports_inside(folder, root))
            if way:
                found.append(f"{name}: the modules import each other: {' -> '.join(way)}")
    return found


def violations(root: Path) -> list[str]:
    """List the forbidden imports below the package folder `root`, one printable line each."""
    found = []
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        unit = relative.parts[0].removesuffix(".py")
        if unit not in LAYERS + FREE:
            found.append(f"{relative}: {unit} is in no layer; add it to LAYERS in {__file__}")
            continue
        package = (PACKAGE, *relative.parts[:-1])
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        for line, name in imported_names(tree, package):
            fault = layer_fault(unit, name) or door_fault(relative.as_posix(), name)
            if fault:
                found.append(f"{relative}:{line}: {fault}")
    return found


def main() -> int:
    default = Path(__file__).resolve().parents[1] / "src" / PACKAGE
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    if not root.is_dir():
        print(f"check_layers: need the package folder, got {root}, which is none")
        return 2
    found = violations(root) + circles(root)
    print("\n".join(found) if found else f"check_layers: {root.name} imports point downward")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
