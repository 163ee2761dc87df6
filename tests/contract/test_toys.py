"""The toys of CONTRIBUTING.md work as printed there: a primitive, and a backend."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cholax._core.errors import ArgumentError, UnsupportedError
from cholax._core.jax_compat import ad
from cholax.primitives import BACKENDS, registry, use_backend
from cholax.primitives._backends import backend_for
from tests import tolerances as tol
from tests.contract.cases import CASES
from tests.contract.transforms import SMALL, TRANSFORMS, Twin, draw

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"


def printed(file: str) -> dict:
    """What the block that begins with the name of a file defines."""
    (text,) = re.findall(
        rf"```python\n(# {re.escape(file)}\n.*?)```", PAGE.read_text("utf-8"), re.DOTALL
    )
    namespace: dict = {"__name__": file}
    exec(compile(text, file, "exec"), namespace)
    return namespace


@pytest.fixture
def toy():
    """The setting of the toy primitive, which has no kernel here: the reference runs it."""
    printed("src/cholax/primitives/reverse.py")
    yield printed("tests/contract/cases/reverse.py")["VARIANTS"][""](SMALL)
    forget(registry.pop("reverse"))


def forget(definition):
    """Take a primitive out of JAX's tables, which other tests read."""
    del ad.primitive_jvps[definition.primitive]


def test_the_toy_primitive_has_values_batches_and_derivatives(toy):
    twin, data = Twin(toy), draw(toy, np.float64)

    def close(one, expected, scale=1.0):
        tol.assert_close(one, expected, tol.gradient(np.float64), scale)

    with use_backend("reference"):
        for transform in ("vmap_grad", "third"):
            twin.check(transform, TRANSFORMS[transform](toy.function, data), close)


def test_the_toy_backend_serves_what_it_has(monkeypatch):
    file = "src/cholax/primitives/_backends/segments.py"
    monkeypatch.setitem(BACKENDS, "segments", printed(file)["SEGMENTS"])
    assert backend_for(registry["solve"], "segments", "cpu").name == "native"
    assert backend_for(registry["solve"], "segments", "tpu").name == "host"
    setting = CASES["matvec-transposed"](SMALL)
    values, x = (jnp.asarray(v.value) for v in setting.operands)

    @jax.jit
    def run(values, x):
        product, pull = jax.vjp(lambda *operands: setting.apply(*operands)[0], values, x)
        batch = jax.vmap(lambda v: setting.apply(v, x)[0])(jnp.stack([values, 2.0 * values]))
        return product, batch[1] / 2.0, *pull(product)

    expected = run(values, x)
    with use_backend("segments"):
        assert "cholax_matvec" not in run.lower(values, x).as_text()
        tol.assert_all_close(run(values, x), expected, tol.value(np.float64))


def test_a_backend_that_does_not_run_on_the_platform_is_refused():
    with pytest.raises(UnsupportedError, match="'native' runs on cpu, not on cuda"):
        backend_for(registry["solve"], "native", "cuda")
    assert backend_for(registry["solve"], "auto", "cuda").name == "host"
    assert backend_for(registry["solve"], "auto", "cpu").name == "native"
    assert backend_for(registry["inner_product"], "host", "cuda").name == "reference"
    assert backend_for(registry["lu_solve"], "auto", "cpu").name == "host"
    with pytest.raises(ArgumentError, match='need one of "auto", "native", "host", "reference"'):
        use_backend("gpu")
