"""Exact conditioning on one linear constraint a'z = 0, with H kept sparse."""

from typing import NamedTuple, Self

import jax
import jax.numpy as jnp

import cholax as cx


class PlaneFactor(NamedTuple):
    """The restriction of a positive definite H to the plane a'z = 0.

    Let N be an orthonormal basis of the plane and h = H⁻¹a. Then

        log|N'HN|     = log|H| + log(a'h) - log(a'a)
        N(N'HN)⁻¹N'   = H⁻¹ - hh'/(a'h)

    the first from the bordered determinant |H a; a' 0| = -|H| a'h written in the basis
    (N, a/|a|), the second because the right-hand side maps a to 0 and inverts H on the plane.
    So H itself is factored, sparse as it is, and N never formed.
    """

    factor: cx.Factor
    normal: jax.Array
    inverse_normal: jax.Array

    @classmethod
    def of(cls, H: cx.SparseMatrix, normal: jax.Array) -> Self:
        """Factor H, once."""
        factor = cx.cholesky(H)
        return cls(factor, normal, factor.solve(normal))

    @property
    def curvature(self) -> jax.Array:
        """a'H⁻¹a."""
        return self.normal @ self.inverse_normal

    def log_det(self) -> jax.Array:
        """log|N'HN|."""
        area = jnp.log(self.normal @ self.normal)
        return self.factor.log_det() + jnp.log(self.curvature) - area

    def solve(self, b: jax.Array) -> jax.Array:
        """N(N'HN)⁻¹N'b, a vector of the plane."""
        x = self.factor.solve(b)
        return x - self.inverse_normal * (self.normal @ x / self.curvature)

    def inverse_diagonal(self) -> jax.Array:
        """Diagonal of N(N'HN)⁻¹N': the variances under the constraint."""
        return self.factor.inverse_diagonal() - self.inverse_normal**2 / self.curvature
