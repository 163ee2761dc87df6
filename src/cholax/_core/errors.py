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


class OrderingError(CholaxError, ValueError):
    """An unknown ordering, or an array that is not a permutation of the pattern's indices."""


class FactorSizeError(CholaxError, ValueError):
    """The factor would hold more entries than 32-bit positions can address."""


class UnsupportedError(CholaxError, NotImplementedError):
    """A transform, dtype or structure that cholax does not support."""


class ArgumentError(CholaxError, ValueError):
    """An option has a value that it cannot take."""
