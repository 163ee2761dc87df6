"""Evaluate SymPy expressions on arrays, each common subexpression once."""

from typing import Any

import jax.numpy as jnp

from cholax._core.errors import UnsupportedError
from cholax.symbolic.table import FUNCTIONS


def evaluate(sympy: Any, expressions: Any, values: dict[Any, Any]) -> list[Any]:
    """The values of expressions, given those of their symbols."""
    shared, reduced = sympy.cse(expressions)
    values = dict(values)
    for symbol, part in shared:
        values[symbol] = _value(sympy, part, values)
    return [_value(sympy, part, values) for part in reduced]


def _value(sympy: Any, node: Any, values: dict[Any, Any]) -> Any:
    if node in values:
        return values[node]
    if node.is_Boolean and node in (sympy.true, sympy.false):
        return bool(node)
    if node.is_number and not node.args:
        return _number(sympy, node)
    if node.is_Pow:
        return _power(sympy, node, values)
    if isinstance(node, sympy.Piecewise):
        return _piecewise(sympy, node, values)
    parts = [_value(sympy, argument, values) for argument in node.args]
    if node.is_Add or node.is_Mul:
        total = parts[0]
        for part in parts[1:]:
            total = total + part if node.is_Add else total * part
        return total
    name = type(node).__name__
    if name not in FUNCTIONS:
        raise UnsupportedError(_unknown(name, node))
    if name == "polygamma" and node.args[0].is_Integer:
        return FUNCTIONS[name](int(node.args[0]), jnp.asarray(parts[1]))
    return FUNCTIONS[name](*parts)


def _unknown(name: str, node: Any) -> str:
    if name in ("Derivative", "Subs"):
        return (
            f"symbolic.primitive: SymPy has no derivative for {node}. "
            "Rewrite the expression with functions it can differentiate, or use jax.grad."
        )
    return (
        f"symbolic.primitive: no JAX function is known for SymPy's {name} (in {node}). "
        "Rewrite the expression, for instance with expr.rewrite(...), or use JAX directly."
    )


def _number(sympy: Any, node: Any) -> Any:
    if node is sympy.nan:
        return float("nan")
    if not node.is_extended_real:
        raise UnsupportedError(
            f"symbolic.primitive: need real expressions, got {node}. "
            "Split into real and imaginary part."
        )
    # Python numbers take the dtype of the arrays they meet.
    return int(node) if node.is_Integer else float(node)


def _power(sympy: Any, node: Any, values: dict[Any, Any]) -> Any:
    base, exponent = node.as_base_exp()
    if base is sympy.E:
        return jnp.exp(_value(sympy, exponent, values))
    x = _value(sympy, node.base, values)
    if node.exp.is_Integer:
        n = int(node.exp)
        # Repeated multiplication: exact at negative bases and at 0.
        return x**n if n >= 0 else 1 / x ** (-n)
    if node.exp == sympy.Rational(1, 2):
        return jnp.sqrt(x)
    if node.exp == sympy.Rational(-1, 2):
        return 1 / jnp.sqrt(x)
    return jnp.power(x, _value(sympy, node.exp, values))


def _piecewise(sympy: Any, node: Any, values: dict[Any, Any]) -> Any:
    """The first branch whose condition holds, NaN where none does.

    A branch outside its domain may be NaN: `where` drops it, and the derivative rule is a
    Piecewise of its own, so nothing of it reaches a gradient.
    """
    result: Any = float("nan")
    for value, condition in reversed(node.args):
        branch = _value(sympy, value, values)
        holds = _value(sympy, condition, values)
        result = branch if holds is True else jnp.where(holds, branch, result)
    return result
