"""Public classes say where users find them, not in which file they are written."""

from typing import Any


def publish(namespace: dict[str, Any]) -> None:
    """Give the classes that a public module names that module as their `__module__`.

    Tracebacks, `repr` and pickles then hold the public path, and files can be moved.

    Args:
        namespace: the module's `globals()`.

    Example:
        >>> import cholax as cx
        >>> cx.SparseMatrix.__module__, cx.errors.ShapeError.__module__
        ('cholax', 'cholax.errors')
    """
    for name, value in namespace.items():
        own = not name.startswith("_") and isinstance(value, type)
        if own and value.__module__.startswith("cholax."):
            value.__module__ = namespace["__name__"]
