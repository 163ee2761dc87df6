"""The closed set of primitives: every derivative of every member is made of members.

| primitive                     | is                                             |
|-------------------------------|------------------------------------------------|
| `cholesky`                    | L Lᵀ = P A Pᵀ, with a status                    |
| `cholesky_tangent`            | C(L)[W], forward derivative of Cholesky         |
| `cholesky_cotangent`          | Ct(L)[X] = C(L)ᵀ X, reverse derivative          |
| `symmetric_product`           | S(L)[X] = lower(X Lᵀ + L Xᵀ)                    |
| `symmetric_product_transpose` | T(L)[W] = (W + Wᵀ) L                            |
| `selected_inverse`            | w∘A⁻¹ on the filled pattern (Takahashi)         |
| `log_determinant`             | log|A|                                          |
| `solve`                       | A⁻¹ b                                           |
| `lu_factor`                   | LU of a general matrix, with a status          |
| `lu_solve`                    | A⁻¹ b, A⁻ᵀ b for general A                      |
| `lu_log_determinant`          | log|det A| for general A                        |
| `triangular_solve`            | L⁻¹ b, L⁻ᵀ b                                    |
| `factor_matvec`, `factor_outer` | L x, Lᵀ x; lower(u vᵀ) on the filled pattern  |
| `permute`                     | P x, Pᵀ x                                       |
| `gather`, `scatter`           | entries between value vectors                   |
| `contract`                    | bilinear sums over entries                      |
| `matvec`, `outer_on_pattern`  | A x; x yᵀ on A's pattern                        |
| `inner_product`, `scale`      | ⟨x, y⟩; s y                                     |
"""

from cholax.primitives._backends import BACKENDS, Backend, use_backend
from cholax.primitives._cholesky import cholesky
from cholax.primitives._cholesky_tangent import cholesky_cotangent, cholesky_tangent
from cholax.primitives._define import Definition, Kind, Operand, registry
from cholax.primitives._dynamic import locate, symbolic
from cholax.primitives._inner_product import inner_product, scale
from cholax.primitives._log_determinant import log_determinant
from cholax.primitives._maps import diagonal_map, value_map
from cholax.primitives._matvec import matvec, outer_on_pattern
from cholax.primitives._selected_inverse import selected_inverse
from cholax.primitives._solve import solve
from cholax.primitives._structures import (
    DynamicEntryMap,
    DynamicPlan,
    EntryMap,
    Ref,
    Triples,
    csc_of,
)
from cholax.primitives._symmetric_product import symmetric_product, symmetric_product_transpose
from cholax.primitives._triangular_solve import (
    factor_matvec,
    factor_outer,
    permute,
    triangular_solve,
)
from cholax.primitives.entries import contract, gather, scatter
from cholax.primitives.lu import lu_factor, lu_log_determinant, lu_solve

__all__ = [
    "BACKENDS",
    "Backend",
    "Definition",
    "DynamicEntryMap",
    "DynamicPlan",
    "EntryMap",
    "Kind",
    "Operand",
    "Ref",
    "Triples",
    "cholesky",
    "cholesky_cotangent",
    "cholesky_tangent",
    "contract",
    "csc_of",
    "diagonal_map",
    "factor_matvec",
    "factor_outer",
    "gather",
    "inner_product",
    "locate",
    "log_determinant",
    "lu_factor",
    "lu_log_determinant",
    "lu_solve",
    "matvec",
    "outer_on_pattern",
    "permute",
    "registry",
    "scale",
    "scatter",
    "selected_inverse",
    "solve",
    "symbolic",
    "symmetric_product",
    "symmetric_product_transpose",
    "triangular_solve",
    "use_backend",
    "value_map",
]
