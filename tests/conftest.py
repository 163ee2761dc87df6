"""Shared set-up: float64, one BLAS thread per test process, named tolerances."""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import hypothesis
import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")
# Compiling dominates example time, and CI machines are slow and noisy.
hypothesis.settings.register_profile("cholax", deadline=None, max_examples=15, derandomize=True)
hypothesis.settings.load_profile("cholax")
