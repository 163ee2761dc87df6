"""Who carries out a primitive: a table of backends, and the choice among them.

| backend     | platforms | is                                                              |
|-------------|-----------|-----------------------------------------------------------------|
| `native`    | cpu       | the C++ kernels inside the compiled program, by XLA's FFI       |
| `host`      | all       | operands to the host, the C++ kernels there, results back       |
| `reference` | all       | the dense specification in `jax.numpy`: an oracle, small n only |

Rows are in order of preference. "auto" is the first that runs on the platform and has something for
the primitive (a kernel, say); so is what a backend asked for by name has nothing for.
"""

from functools import partial
from typing import Any

from cholax._core.errors import ArgumentError, UnsupportedError
from cholax._core.jax_compat import Primitive, mlir, user_context
from cholax.primitives._backends._backend import Backend
from cholax.primitives._backends.host import HOST
from cholax.primitives._backends.native import NATIVE
from cholax.primitives._backends.reference import REFERENCE
from cholax.primitives._declaration import Declaration

BACKENDS: dict[str, Backend] = {row.name: row for row in (NATIVE, HOST, REFERENCE)}

AUTO = "auto"
chosen = user_context(AUTO)
"""The name of the backend in use; part of jit's cache keys."""


def use_backend(name: str) -> Any:
    """Context in which the sparse operations are carried out by a backend of your choice.

    Programs traced inside the context are compiled for it, as are their derivatives. Outside, and
    for "auto", cholax takes "native" on the CPU and "host" on every other platform.

    Args:
        name: "native", the C++ kernels in the compiled program, on the CPU; "host", any platform:
            operands are copied to the host, the same kernels run there, and results are copied
            back; "reference", dense `jax.numpy` for matrices of up to 1024 rows, to test against;
            "auto".

    Raises:
        ArgumentError: another name.
        UnsupportedError: when compiling, for a platform that the backend does not run on.

    Example:
        >>> import cholax as cx
        >>> with cx.use_backend("host"):
        ...     round(float(cx.log_det(2.0 * cx.eye(3))), 6)
        2.079442
    """
    if name != AUTO and name not in BACKENDS:
        names = ", ".join(f'"{known}"' for known in (AUTO, *BACKENDS))
        raise ArgumentError(f"use_backend: need one of {names}, got {name!r}.")
    return chosen(name)


def backend_for(d: Declaration, name: str, platform: str) -> Backend:
    """The row of the table that carries out a primitive on a platform."""
    if name != AUTO and not BACKENDS[name].runs_on(platform):
        raise UnsupportedError(
            f"{d.name}: the backend {name!r} runs on {', '.join(BACKENDS[name].platforms or ())}, "
            f'not on {platform}. Leave cx.use_backend({name!r}), or use "host".'
        )
    rows = [*BACKENDS.values()] if name == AUTO else [BACKENDS[name], *BACKENDS.values()]
    return next(row for row in rows if row.runs_on(platform) and row.serves(d))


def register(d: Declaration, primitive: Primitive) -> None:
    """Make the table the lowering of a primitive on every platform."""
    mlir.register_lowering(primitive, partial(_lower, d, None))
    for platform in sorted({name for row in BACKENDS.values() for name in row.platforms or ()}):
        # One rule each, so that a program for several platforms has one branch for each.
        mlir.register_lowering(primitive, partial(_lower, d, platform), platform=platform)


def _lower(
    d: Declaration, platform: str | None, ctx: Any, *args: Any, backend: str, **params: Any
) -> Any:
    row = backend_for(d, backend, platform or (ctx.platforms or ctx.module_context.platforms)[0])
    return row.lower(d, ctx, *args, **params)


__all__ = ["AUTO", "BACKENDS", "Backend", "backend_for", "chosen", "register", "use_backend"]
