"""How programs are compiled: on another thread, or with less effort."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

# For programs that are called a few times: a third less to compile, and no slower where the time is
# spent in our kernels.
FEW_CALLS = {"xla_backend_optimization_level": 0}


def compile_ahead(program: Any, *args: Any, **static: Any) -> Callable[[], None]:
    """Begin to compile a jitted function for these arguments; the result waits for the end.

    It is traced here, under this thread's settings. XLA's part holds no lock of Python's, so the
    other thread has a core to itself where there are two. A later call of `program` with arguments
    of the same shapes finds the compiled program, as JAX keeps one per trace.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from cholax._core.compilation import compile_ahead
        >>> double = jax.jit(lambda x: 2 * x)
        >>> wait = compile_ahead(double, jnp.ones(2))
        >>> wait()
        >>> double(jnp.ones(2)).tolist()
        [2.0, 2.0]
    """
    lowered = program.lower(*args, **static)
    executor = ThreadPoolExecutor(1, "cholax-compile")
    compiled = executor.submit(lowered.compile)
    executor.shutdown(wait=False)

    def wait() -> None:
        compiled.result()

    return wait
