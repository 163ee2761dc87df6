"""Counting native kernel calls: proof that a factorisation is shared."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from cholax import _native


@contextmanager
def count_kernel_calls() -> Iterator[Counter[str]]:
    """Count the native kernel calls made inside the context, by name.

    Block on results (`jax.block_until_ready`) before leaving it: JAX runs asynchronously.

    Example:
        >>> import cholax as cx, jax
        >>> A = cx.eye(3) * 2.0
        >>> with cx.testing.count_kernel_calls() as calls:
        ...     _ = jax.block_until_ready(cx.cholesky(A).log_det())
        >>> calls["cholesky"]
        1
    """
    before = _native.call_counts()
    counts: Counter[str] = Counter()
    yield counts
    for name, count in _native.call_counts().items():
        if count != before[name]:
            counts[name] = count - before[name]
