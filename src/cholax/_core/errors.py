"""The exceptions cholax raises. Messages say where, what was needed, what was got, what to do."""

import numpy as np


class CholaxError(Exception):
    """Base class of every error raised by cholax."""


class PatternError(CholaxError, ValueError):
    """Index arrays do not describe a valid sparsity pattern."""


class ShapeError(CholaxError, ValueError):
    """Array shapes do not fit together."""


class DtypeError(CholaxError, TypeError):
    """An array has a dtype that cholax refuses to cast silently."""


class StructureError(CholaxError, ValueError):
    """The operation needs another structure (symmetric, square, full diagonal)."""


class NotPositiveDefiniteError(CholaxError, np.linalg.LinAlgError):
    """A Cholesky factorisation met a pivot that is not a finite positive number."""


class SingularMatrixError(CholaxError, np.linalg.LinAlgError):
    """An LU factorisation failed: the matrix is singular up to rounding, or not finite."""


class OrderingError(CholaxError, ValueError):
    """An unknown ordering, or an array that is not a permutation of the pattern's indices."""


class FactorSizeError(CholaxError, ValueError):
    """The factor would hold more entries than its plan, or 32-bit positions, have room for."""


class UnsupportedError(CholaxError, NotImplementedError):
    """A transform, dtype or structure that cholax does not support."""


class ArgumentError(CholaxError, ValueError):
    """An option has a value that it cannot take."""


class ConvergenceError(CholaxError, ArithmeticError):
    """An iteration ended without a solution, and the caller asked for an exception."""


class SparsityError(CholaxError, ValueError):
    """A sparsity pattern, given or detected, misses an entry that it must hold."""


class UnknownPrimitiveWarning(UserWarning):
    """Sparsity detection met a primitive it has no rule for and took it to be dense."""
