"""lu_log_determinant: (values, cached LU) -> log|det A|."""

from tests.contract.cases import _lu
from tests.contract.cases._setting import Setting
from tests.contract.patterns import Problem


def _setting(problem: Problem) -> Setting:
    return _lu.setting("lu_log_determinant", problem, 3)


VARIANTS = {"": _setting}
