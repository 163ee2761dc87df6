"""SymPy expressions as JAX functions with symbolic derivative rules; needs `cholax[symbolic]`."""

from cholax.symbolic._primitive import primitive as primitive

__all__ = ["primitive"]
