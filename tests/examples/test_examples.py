"""Every example runs, passes its own checks against known numbers, and draws its figure."""

import importlib
import struct
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import cholax.stats as cs

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("[!_]*.py"))
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(autouse=True)
def _examples_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(EXAMPLES))


def load(name: str) -> ModuleType:
    return importlib.import_module(name)


def run(name: str, quick: bool, out: Path) -> dict[str, Any]:
    unavailable = load("_example").Unavailable
    try:
        return load(name).main(quick=quick, out=out)
    except unavailable as reason:
        pytest.skip(f"{name}: {reason}")


def picture_size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", head[16:24])


@pytest.mark.slow  # ten seconds each, nearly all of it compilation
@pytest.mark.parametrize("name", NAMES)
def test_example_runs_checks_itself_and_draws(name: str, tmp_path: Path) -> None:
    found = run(name, True, tmp_path / "figure.png")
    assert found
    width, height = picture_size(tmp_path / "figure.png")
    assert width > 800
    assert height > 300


@pytest.mark.slow
@pytest.mark.parametrize("name", ["leukaemia_spde", "sleepstudy"])
def test_full_example_uses_the_real_data_and_reproduces_their_estimates(
    name: str, tmp_path: Path
) -> None:
    if not load("_data").CASES.is_dir():
        pytest.skip("no folder of reference cases")
    assert run(name, False, tmp_path / "figure.png")["real"]


def test_examples_are_listed_with_a_sentence_each() -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"[{name}.py]({name}.py)" not in text] == []


def test_finite_elements_determine_their_mesh() -> None:
    rng = np.random.default_rng(5)
    mesh = cs.triangulate(rng.uniform(size=(40, 2)) * [1.0, 2.0], max_edge=0.4)
    elements = mesh.finite_elements()
    nodes, triangles = load("_data").mesh_of(elements.mass, elements.stiffness)
    assert {tuple(sorted(t)) for t in mesh.triangles} == {tuple(t) for t in triangles}

    def distances(x: np.ndarray) -> np.ndarray:
        return np.hypot(*(x[:, None] - x[None]).transpose(2, 0, 1))

    np.testing.assert_allclose(distances(nodes), distances(mesh.nodes), atol=1e-9)


@pytest.mark.slow
def test_data_of_another_model_fail_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    example = load("crossed_mixed_model")
    simulate = example.ratings

    def noisier(*size: int) -> Any:
        data, truth = simulate(*size)
        noise = np.random.default_rng(0).normal(size=size[0])
        return data.assign(rating=data.rating + noise), truth

    monkeypatch.setattr(example, "ratings", noisier)
    with pytest.raises(AssertionError):
        example.main(quick=True)
