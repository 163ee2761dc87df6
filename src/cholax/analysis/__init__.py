"""Symbolic analysis: from a pattern and an ordering to the plan of its factorisation."""

from cholax.analysis.layout import PlanLayout as PlanLayout
from cholax.analysis.lu_plan import LUPlan as LUPlan
from cholax.analysis.lu_plan import analyze_lu as analyze_lu
from cholax.analysis.plan import Plan as Plan
from cholax.analysis.plan import analyze as analyze
from cholax.analysis.plan import plan_from_factor as plan_from_factor
from cholax.analysis.symbolic_factor import SymbolicFactor as SymbolicFactor

__all__ = [
    "LUPlan",
    "Plan",
    "PlanLayout",
    "SymbolicFactor",
    "analyze",
    "analyze_lu",
    "plan_from_factor",
]
