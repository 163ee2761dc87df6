"""Loads the compiled kernels and hands them to XLA.

`lib()` is the extension module. `register()` makes its handlers known to XLA's CPU backend; it runs
when the first program is lowered, because registering before the backend exists would create it.
"""

import functools
import threading
from collections import Counter
from types import ModuleType

import jax
import jax.ffi

from cholax._core.errors import ArgumentError

_lock = threading.Lock()


@functools.cache
def lib() -> ModuleType:
    """The extension module."""
    from cholax._native import _cholax

    return _cholax


def target_name(kernel: str, *, dynamic: bool = False) -> str:
    """The name under which XLA knows a kernel."""
    return f"cholax_{kernel}_dynamic" if dynamic else f"cholax_{kernel}"


@functools.cache
def _register_once() -> None:
    module = lib()
    jax.local_devices(backend="cpu")  # the CPU backend must exist before types are registered
    jax.ffi.register_ffi_type("cholax_structure", module.state_type(), platform="cpu")
    for name, (execute, dynamic) in module.handlers().items():
        stages = {"instantiate": module.instantiate_handler(), "execute": execute}
        jax.ffi.register_ffi_target(target_name(name), stages, platform="cpu")
        if dynamic is not None:
            jax.ffi.register_ffi_target(target_name(name, dynamic=True), dynamic, platform="cpu")
    for name, execute in module.index_handlers().items():
        jax.ffi.register_ffi_target(target_name(name), execute, platform="cpu")


def register() -> None:
    """Register every kernel with XLA's CPU backend; later calls do nothing.

    cholax does this by itself when it first compiles a program. Call it in a process that only runs
    programs exported elsewhere (`jax.export.deserialize`), where cholax compiles nothing.
    """
    with _lock:
        _register_once()


def target_names() -> list[str]:
    """Every custom-call target cholax may put into a program, for `jax.export`.

    Exporting asks to vouch for custom calls. Exported programs carry their sparsity patterns, so
    they run in any process that has called `cholax.register_kernels()`.

    Example:
        >>> import cholax as cx, jax, jax.numpy as jnp
        >>> from jax import export
        >>> checks = [export.DisabledSafetyCheck.custom_call(t) for t in cx.export_targets()]
        >>> A = cx.eye(3)
        >>> f = jax.jit(lambda v: cx.log_det(cx.SparseMatrix(v, A.pattern)))
        >>> float(export.export(f, disabled_checks=checks)(A.values).call(A.values))
        0.0
    """
    names = []
    for name, (_, dynamic) in lib().handlers().items():
        names.append(target_name(name))
        if dynamic is not None:
            names.append(target_name(name, dynamic=True))
    return [*names, *(target_name(name) for name in lib().index_handlers())]


_host_calls: Counter[str] = Counter()


def count_host_call(kernel: str) -> None:
    """Count one call of a kernel that runs in Python on the host."""
    with _lock:
        _host_calls[kernel] += 1


def call_counts() -> Counter[str]:
    """How often each kernel has run in this process."""
    return Counter[str](lib().call_counts()) + _host_calls


def set_num_threads(limit: int | None) -> None:
    """Limit the threads one kernel call may use; None lifts the limit.

    Kernels run on XLA's own thread pool, the calling thread included, so no call uses more threads
    than that pool has. The limit applies to calls that start afterwards, in compiled programs too.
    Its first value is the environment variable `CHOLAX_NUM_THREADS`. Results do not depend on the
    number of threads, not even in the last bit.

    Args:
        limit: at least 1, or None.

    Raises:
        ArgumentError: anything else.

    Example:
        >>> import cholax as cx
        >>> before = cx.num_threads()
        >>> cx.set_num_threads(1)
        >>> cx.num_threads()
        1
        >>> cx.set_num_threads(before)
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ArgumentError(
            f"set_num_threads: need an integer of at least 1, or None for no limit, got {limit!r}."
        )
    lib().set_thread_limit(0 if limit is None else limit)


def num_threads() -> int | None:
    """The limit on threads per kernel call, None where there is none (see `set_num_threads`).

    Example:
        >>> import cholax as cx
        >>> before = cx.num_threads()
        >>> cx.set_num_threads(2)
        >>> cx.num_threads()
        2
        >>> cx.set_num_threads(before)
    """
    return lib().thread_limit() or None
