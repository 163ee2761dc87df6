"""Every block of code on every page runs as printed; links and pictures of all pages exist.

Blocks marked `python` run in order, page by page. Blocks marked `pycon` are sessions whose results,
errors included, must be those printed (doctest). Other marks (`text`, `sh`) are not run.
"""

import ast
import doctest
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [path for path in (ROOT / "README.md", *sorted(DOCS.rglob("*.md"))) if path.exists()]
FENCE = re.compile(r"^ *```([^\n`]*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
FLAGS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL


def marked_blocks(page: Path) -> list[tuple[str, str]]:
    return FENCE.findall(page.read_text(encoding="utf-8"))


def code_blocks(page: Path) -> list[tuple[str, str]]:
    return [(mark, text) for mark, text in marked_blocks(page) if mark in ("python", "pycon")]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT).with_suffix("")).removeprefix("docs/")


def statements(mark: str, text: str) -> str:
    if mark == "python":
        return text
    return "".join(example.source for example in doctest.DocTestParser().get_examples(text))


def missing_packages(page: Path) -> list[str]:
    """Packages that the blocks import and that are not installed: extras."""
    found = set()
    for mark, text in code_blocks(page):
        for node in ast.walk(ast.parse(statements(mark, text))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
    extras = {name.split(".")[0] for name in found}
    # Ours with an extra behind them are named after it: cholax.integrations.<package>.
    extras |= {name.split(".")[2] for name in found if name.startswith("cholax.integrations.")}
    return sorted(x for x in extras if importlib.util.find_spec(x) is None)


def run(mark: str, text: str, page: Path, namespace: dict) -> None:
    if mark == "python":
        exec(compile(text, page.name, "exec"), namespace)
        return
    session = doctest.DocTestParser().get_doctest(text, namespace, page.name, page.name, 0)
    session.globs = namespace
    runner = doctest.DebugRunner(optionflags=FLAGS)
    runner.run(session, clear_globs=False)


# Ten to forty seconds each where they fit models or draw, nearly all of it compilation.
QUICK = ("how-to/backends", "how-to/failures", "how-to/export", "how-to/threads")


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            page,
            id=name_of(page),
            marks=[] if name_of(page) in QUICK else [pytest.mark.slow],
        )
        for page in PAGES
        if code_blocks(page)
    ],
)
def test_blocks_run_in_order(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = missing_packages(page)
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    monkeypatch.chdir(tmp_path)
    namespace: dict = {"__name__": "docs"}
    for mark, text in code_blocks(page):
        run(mark, text, page, namespace)


def test_every_block_says_what_it_is() -> None:
    """A block without a mark, or marked `py`, would be neither run nor known not to."""
    unmarked = [
        f"{name_of(page)}: {text[:40]!r}"
        for page in PAGES
        for mark, text in marked_blocks(page)
        if mark not in ("python", "pycon", "sh", "bash", "text", "mermaid", "cpp", "bibtex")
    ]
    assert unmarked == []


def test_links_and_pictures_exist() -> None:
    missing = [
        f"{page.relative_to(DOCS)}: {target}"
        for page in sorted(DOCS.rglob("*.md"))
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert missing == []
