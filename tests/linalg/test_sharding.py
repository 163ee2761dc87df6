"""Two devices give what one gives: the checks of `sharded_program.py`, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.linalg.twins import tol

pytestmark = pytest.mark.slow  # one process of eighteen seconds

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def deviations():
    """Largest deviations from the unsharded results, from a process with two host devices."""
    program = Path(__file__).with_name("sharded_program.py")
    flags = {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    }
    result = subprocess.run(
        [sys.executable, str(program)],
        env=os.environ | flags,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "name",
    [
        "values sharded",
        "per-member gradient",
        "gradient through",
        "values shared",
        "gradient, values shared",
        "gradient, values shared, no vmap",
        "hvp, values shared",
        "psum",
        "gradient of psum",
        "traced indices",
        "gradient, traced indices",
        "gradient, traced indices, values shared",
        "jit of vmap, auto",
        "jit of vmap, explicit",
    ],
)
def test_two_devices_agree_with_one(deviations, name):
    assert not isinstance(deviations[name], str), deviations[name]
    assert deviations[name] <= tol.gradient("float64")
