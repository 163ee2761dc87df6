"""The exceptions cholax raises."""

from cholax._core.errors import ArgumentError as ArgumentError
from cholax._core.errors import CholaxError as CholaxError
from cholax._core.errors import ConvergenceError as ConvergenceError
from cholax._core.errors import DtypeError as DtypeError
from cholax._core.errors import FactorSizeError as FactorSizeError
from cholax._core.errors import NotPositiveDefiniteError as NotPositiveDefiniteError
from cholax._core.errors import OrderingError as OrderingError
from cholax._core.errors import PatternError as PatternError
from cholax._core.errors import ShapeError as ShapeError
from cholax._core.errors import SingularMatrixError as SingularMatrixError
from cholax._core.errors import SparsityError as SparsityError
from cholax._core.errors import StructureError as StructureError
from cholax._core.errors import UnknownPrimitiveWarning as UnknownPrimitiveWarning
from cholax._core.errors import UnsupportedError as UnsupportedError
from cholax._core.public import publish as _publish

_publish(globals())
