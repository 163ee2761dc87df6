"""Shared set-up: float64, one BLAS thread per test process, named tolerances."""

import os
from collections.abc import Iterator

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")
# Compiling dominates example time, and CI machines are slow and noisy.
hypothesis.settings.register_profile("cholax", deadline=None, max_examples=10, derandomize=True)
hypothesis.settings.load_profile("cholax")


@pytest.fixture(autouse=True, scope="module")
def _free_compiled_programs() -> Iterator[None]:
    """Compiled programs pile up to gigabytes over a whole run; no module needs another's."""
    yield
    jax.clear_caches()
