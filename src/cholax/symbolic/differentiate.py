"""Differentiate with SymPy, and mend what it does to a value at one point.

SymPy takes the derivative of Piecewise((sin(x)/x, x ≠ 0), (1, True)) as 0 at x = 0, since 1 is a
constant. The branch stands for a single point, so its derivative is the limit of the other one's.
"""

from typing import Any

from cholax._core.errors import UnsupportedError


def differentiate(sympy: Any, expression: Any, symbol: Any) -> Any:
    """∂expression/∂symbol, with Piecewise branches of a single point continued."""
    pieces = [p for p in expression.atoms(sympy.Piecewise) if _compares(sympy, p, symbol)]
    # Of nested ones only the outer is replaced; its branches are differentiated in turn.
    outer = [p for p in pieces if not any(p != q and q.has(p) for q in pieces)]
    stand_ins = {p: sympy.Dummy("piece", real=True) for p in outer}
    plain = expression.xreplace(stand_ins)
    total = plain.diff(symbol)
    for piece, stand_in in stand_ins.items():
        total += plain.diff(stand_in) * _piecewise(sympy, piece, symbol)
    return total.xreplace({s: p for p, s in stand_ins.items()})


def _compares(sympy: Any, piece: Any, symbol: Any) -> bool:
    """Whether a condition holds, or fails, at single values of the symbol."""
    kinds = (sympy.Eq, sympy.Ne)
    conditions = [c for _, c in piece.args]
    return any(symbol in r.free_symbols for c in conditions for r in c.atoms(*kinds))


def _piecewise(sympy: Any, piece: Any, symbol: Any) -> Any:
    found = _single_point(sympy, piece, symbol)
    if found is None:
        raise UnsupportedError(
            f"symbolic.primitive: cannot differentiate {piece} by {symbol}, whose branches hold at "
            "single points. Use two branches, Piecewise((f, Ne(x, c)), (value, True))."
        )
    general, value, point = found
    slope = differentiate(sympy, general, symbol)
    there = _limit(sympy, slope, symbol, point)
    # A jump has no derivative.
    gap = _limit(sympy, general, symbol, point) - value
    if sympy.simplify(gap) != 0:
        there = sympy.nan
    return sympy.Piecewise((slope, sympy.Ne(symbol, point)), (there, True))


def _single_point(sympy: Any, piece: Any, symbol: Any) -> tuple[Any, Any, Any] | None:
    """(general branch, value at the point, point) of a Piecewise of two branches."""
    if len(piece.args) != 2 or piece.args[1][1] != sympy.true:
        return None
    (first, condition), (second, _) = piece.args
    if not isinstance(condition, (sympy.Eq, sympy.Ne)) or condition.free_symbols != {symbol}:
        return None
    point = condition.rhs if condition.lhs == symbol else condition.lhs
    if symbol not in (condition.lhs, condition.rhs) or not point.is_number:
        return None
    return (first, second, point) if isinstance(condition, sympy.Ne) else (second, first, point)


def _limit(sympy: Any, expression: Any, symbol: Any, point: Any) -> Any:
    try:
        value = sympy.limit(expression, symbol, point, "+-")
    except (NotImplementedError, ValueError):
        return sympy.nan
    return sympy.nan if value.has(sympy.Limit) or not value.is_finite else value
