#!/usr/bin/env python3
"""Through which modules a value walks: their number, and how often one returns to another.

A module ("room") counts once; a return counts where a function of one module ends and a function
of another goes on. The first call of each kind decides things for a pattern, the second runs.

Usage: tools/walk.py
"""

import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import cholax as cx
import cholax.stats as cs

N = 30


def walked(call: Callable[[], Any]) -> tuple[list[str], int]:
    """The modules of cholax in the order of their first calls, and the returns between them."""
    rooms: list[str] = []
    returns, stack = 0, []

    def watch(frame: Any, event: str, _: Any) -> None:
        nonlocal returns
        name = frame.f_globals.get("__name__", "")
        if not name.startswith("cholax."):
            return
        if event == "call":
            stack.append(name)
            if name not in rooms:
                rooms.append(name)
        elif event == "return" and stack and stack.pop() != (stack[-1] if stack else name):
            returns += 1

    sys.setprofile(watch)
    try:
        call()
    finally:
        sys.setprofile(None)
    return rooms, returns


def calls() -> dict[str, Callable[[float], Any]]:
    """What is walked, each a function of a number."""
    A = cx.diags([-1.0, 4.0], [-1, 0], shape=(N, N), symmetric=True)
    hessian = cx.hessian(lambda x: jnp.sum(jnp.diff(x) ** 4) + jnp.sum(x**2))

    def log_joint(u: Any, theta: Any) -> Any:
        field = -0.5 * jnp.exp(theta) * jnp.sum(jnp.diff(u) ** 2) - 0.5 * jnp.sum(u**2)
        return field + jnp.sum(3 * u - jnp.exp(u)) + N / 2 * theta

    model = cs.laplace(log_joint, jnp.zeros(N))
    constraints = cs.Constraints(np.ones((1, N)))
    return {
        "log_det": lambda t: cx.log_det(t * A),
        "hessian": lambda t: hessian(t * jnp.arange(float(N))),
        "laplace": lambda t: model(t),
        "constrained_cholesky": lambda t: cs.constrained_cholesky(t * A, constraints),
    }


def main() -> None:
    """Print the walks."""
    jax.config.update("jax_enable_x64", True)
    for name, call in calls().items():
        for which, t in (("first", 1.0), ("second", 1.5)):
            rooms, returns = walked(lambda call=call, t=t: call(t))
            print(f"{name}, {which} call: {len(rooms)} modules, {returns} returns")
            print("  " + ", ".join(room.removeprefix("cholax.") for room in rooms))


if __name__ == "__main__":
    main()
