"""Tutorials and how-to pages run, block by block; links and pictures of all pages exist."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


# Pages whose blocks stand alone; the others show fragments.
HOW_TO = ("finite-differences", "lineax-and-optimistix", "matrix-functions", "symbolic")
PAGES = [*sorted((DOCS / "tutorials").glob("*.md")), *(DOCS / f"how-to/{x}.md" for x in HOW_TO)]


@pytest.mark.parametrize("page", PAGES, ids=[str(p.relative_to(DOCS)) for p in PAGES])
def test_python_blocks_run_in_order(page: Path) -> None:
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
