"""Sparsity patterns: the class, its algebra, and how to build one from other formats."""

from cholax.patterns import algebra as algebra
from cholax.patterns import build as build
from cholax.patterns.pattern import Pattern as Pattern

__all__ = ["Pattern", "algebra", "build"]
