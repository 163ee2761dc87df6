"""`FiniteElements`: the matrices of piecewise linear elements that a Matérn field needs."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import scipy.sparse as sp

from cholax._core.errors import ShapeError, StructureError


@final
@dataclass(frozen=True, eq=False, repr=False)
class FiniteElements:
    """Lumped mass and stiffness of linear elements ψ on a domain of one to three dimensions.

    mass_i = ∫ ψ_i (R-INLA's c0), stiffness_ij = ∫ ∇ψ_i · ∇ψ_j (g1).

    Attributes:
        mass: `(n,)` positive numbers, or the diagonal matrix that holds them.
        stiffness: `(n, n)` symmetric SciPy sparse matrix.
        dimension: of the domain.

    Raises:
        ShapeError: sizes that do not fit.
        StructureError: a mass that is not positive or not diagonal.

    Example:
        >>> import scipy.sparse
        >>> from cholax.stats import FiniteElements
        >>> stiffness = scipy.sparse.csc_array([[1.0, -1.0], [-1.0, 1.0]])
        >>> FiniteElements([0.5, 0.5], stiffness, dimension=1)
        FiniteElements(n=2, dimension=1)
    """

    mass: np.ndarray
    stiffness: Any
    dimension: int

    def __init__(self, mass: Any, stiffness: Any, dimension: int) -> None:
        where = "FiniteElements"
        if sp.issparse(mass):
            if (mass - sp.diags_array(mass.diagonal())).count_nonzero():
                raise StructureError(
                    f"{where}: the mass matrix must be diagonal. Lump it: mass.sum(axis=1)."
                )
            mass = mass.diagonal()
        lumped = np.asarray(mass, float)
        if not sp.issparse(stiffness) or stiffness.shape != (lumped.size, lumped.size):
            raise ShapeError(
                f"{where}: need a sparse stiffness matrix of order {lumped.size}, one row per "
                f"entry of the mass, got {getattr(stiffness, 'shape', type(stiffness).__name__)}."
            )
        if not (lumped > 0).all():
            raise StructureError(
                f"{where}: the mass must be positive, got {lumped.min()} at node "
                f"{int(lumped.argmin())}. Remove nodes that belong to no element."
            )
        object.__setattr__(self, "mass", lumped)
        object.__setattr__(self, "stiffness", sp.csc_array(stiffness))
        object.__setattr__(self, "dimension", int(dimension))

    def __repr__(self) -> str:
        return f"FiniteElements(n={self.mass.size}, dimension={self.dimension})"
