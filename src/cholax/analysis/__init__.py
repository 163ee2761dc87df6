"""Symbolic analysis: from a pattern and an ordering to the plan of its factorisation."""

from cholax.analysis.plan import Plan as Plan
from cholax.analysis.plan import analyse as analyse
from cholax.analysis.plan import plan_from_factor as plan_from_factor

__all__ = ["Plan", "analyse", "plan_from_factor"]
