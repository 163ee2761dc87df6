"""An error in a user's function shows the user's frames, and next to none of cholax's."""

import os
import subprocess
import sys
import traceback
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import cholax as cx
import cholax.stats as cs

PACKAGE = str(Path(cx.__file__).parent)
ONE = jnp.ones(40)


class OwnError(Exception):
    """What the user raises."""


def faulty(x, *rest):
    del x, rest
    raise OwnError("mine")


CALLS = {
    "root": lambda: cx.root(faulty, ONE),
    "fixed_point": lambda: cx.fixed_point(faulty, ONE),
    "bisect": lambda: cx.bisect(faulty, 0.0, 1.0),
    "minimize": lambda: cx.minimize(faulty, ONE),
    "hessian": lambda: cx.hessian(faulty)(ONE),
    "hessian.pattern": lambda: cx.hessian(faulty).pattern(ONE),
    "jacobian": lambda: cx.jacobian(faulty)(ONE),
    "jacobian.value_and": lambda: cx.jacobian(faulty).value_and(ONE),
    "separable_hessian": lambda: cx.separable_hessian(faulty, [[0, 1]])(ONE),
    "linear_operator_matrix": lambda: cx.linear_operator_matrix(faulty, ONE),
    "finite_difference": lambda: cx.finite_difference.gradient(faulty)(ONE),
    "laplace": lambda: cs.laplace(faulty, ONE)(1.0),
}


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("name", CALLS)
def test_a_users_error_shows_the_users_frames(name: str, traced: bool) -> None:
    call = jax.jit(CALLS[name]) if traced else CALLS[name]
    with pytest.raises(OwnError) as caught:
        call()
    files = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert files[-1] == __file__
    assert files.count(__file__) >= 2  # the call and the function that raised
    assert sum(file.startswith(PACKAGE) for file in files) <= 1


def test_our_own_errors_point_at_the_users_line() -> None:
    with pytest.raises(cx.errors.CholaxError) as caught:
        cx.root(lambda z: z[:1], ONE)
    files = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert sum(file.startswith(PACKAGE) for file in files) <= 1


WHOLE = """
import traceback, cholax as cx
try:
    cx.root(lambda z: undefined, 1.0)
except NameError as error:
    print(sum("cholax" in f.filename for f in traceback.extract_tb(error.__traceback__)))
"""


def test_the_whole_traceback_is_there_on_demand() -> None:
    command = [sys.executable, "-c", WHOLE]
    environment = {**os.environ, "JAX_TRACEBACK_FILTERING": "off"}
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=True, env=environment
    )
    assert int(result.stdout) > 2
