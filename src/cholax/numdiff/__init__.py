"""Finite differences with error bars: public as `cx.finite_difference`."""

from cholax.numdiff.derivatives import derivative as derivative
from cholax.numdiff.derivatives import gradient as gradient
from cholax.numdiff.hessians import hessian as hessian
from cholax.numdiff.jacobians import jacobian as jacobian

__all__ = ["derivative", "gradient", "hessian", "jacobian"]
