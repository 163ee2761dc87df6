"""The README does what it says: its code runs, and its test command is the one CI runs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def blocks(language: str) -> list[str]:
    if not README.exists():
        pytest.skip("the README is not part of this installation")
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_python_blocks_run_in_order() -> None:
    namespace: dict = {}
    found = blocks("python")
    assert len(found) >= 2
    for block in found:
        exec(compile(block, "README.md", "exec"), namespace)
    hessian = namespace["hessian"]
    assert hessian.shape == (2, 2)
    assert float(abs(hessian - hessian.T).max()) < 1e-9
    assert namespace["draws"].shape == (5, 3600)


def test_shell_blocks_are_one_line_each_and_ci_runs_the_test_command() -> None:
    demo, tests = blocks("sh")
    assert demo.count("\n") == tests.count("\n") == 1
    assert "cholax.demo" in demo
    assert tests.strip() in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
