"""Tutorials and how-to pages run, block by block; links and pictures of all pages exist."""

import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


# Pages whose blocks stand alone; the others show fragments.
HOW_TO = (
    "finite-differences",
    "gmrf",
    "laplace",
    "latent-models",
    "lineax-and-optimistix",
    "matrix-functions",
    "mixed-models",
    "pymc",
    "samplers",
    "symbolic",
)
# Pages on other packages, run where those are installed.
WITH_EXTRAS = {
    "how-to/gmrf": ["numpyro"],
    "how-to/mixed-models": ["formulaic", "matplotlib"],
    "how-to/pymc": ["pymc"],
    "how-to/samplers": ["blackjax", "arviz"],
    "tutorials/latent-gaussian-models": ["libpysal"],
}
TUTORIALS = sorted(f"tutorials/{path.stem}" for path in (DOCS / "tutorials").glob("*.md"))


@pytest.mark.slow  # ten to forty seconds each, nearly all of it compilation
@pytest.mark.parametrize("name", [*TUTORIALS, *(f"how-to/{x}" for x in HOW_TO)])
def test_python_blocks_run_in_order(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = DOCS / f"{name}.md"
    missing = [x for x in WITH_EXTRAS.get(name, []) if importlib.util.find_spec(x) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    monkeypatch.chdir(tmp_path)
    namespace: dict = {"__name__": "docs"}
    for block in blocks(page):
        exec(compile(block, page.name, "exec"), namespace)


def test_links_and_pictures_exist() -> None:
    missing = [
        f"{page.relative_to(DOCS)}: {target}"
        for page in sorted(DOCS.rglob("*.md"))
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert missing == []
