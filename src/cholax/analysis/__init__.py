"""Symbolic analysis: from a pattern and an ordering to the plan of its factorisation."""

from cholax.analysis.layout import PlanLayout as PlanLayout
from cholax.analysis.lu_plan import LUPlan as LUPlan
from cholax.analysis.lu_plan import analyse_lu as analyse_lu
from cholax.analysis.plan import Plan as Plan
from cholax.analysis.plan import analyse as analyse
from cholax.analysis.plan import plan_from_factor as plan_from_factor
from cholax.analysis.symbolic_factor import SymbolicFactor as SymbolicFactor

__all__ = [
    "LUPlan",
    "Plan",
    "PlanLayout",
    "SymbolicFactor",
    "analyse",
    "analyse_lu",
    "plan_from_factor",
]
