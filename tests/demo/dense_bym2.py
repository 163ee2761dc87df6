"""Slow twin of the demo's model: dense NumPy, the constraint by an explicit basis of its plane.

Nothing is shared with the demo: the intrinsic prior is taken apart by its eigenvalues, the
latent vector is written z = (beta, u, v) with u = B w for an orthonormal basis B of sum(u) = 0,
and everything is done in the coordinates (beta, w, v).
"""

import numpy as np
from scipy.special import expit, gammaln


class DenseBym2:
    """-log of the Laplace approximation of p(y | sigma, phi), and the mode behind it."""

    def __init__(
        self, counts: np.ndarray, expected: np.ndarray, covariate: np.ndarray, edges: np.ndarray
    ) -> None:
        n = counts.size
        laplacian = np.zeros((n, n))
        for i, j in edges:
            laplacian[[i, j], [i, j]] += 1.0
            laplacian[[i, j], [j, i]] -= 1.0
        eigenvalues, vectors = np.linalg.eigh(laplacian)
        self.basis = vectors[:, 1:]
        self.gen_logdet = float(np.log(eigenvalues[1:]).sum())
        variances = ((self.basis / eigenvalues[1:]) * self.basis).sum(axis=1)
        self.scale = float(np.exp(np.log(variances).mean()))
        self.spectrum = self.scale * eigenvalues[1:]
        self.counts, self.expected = counts, expected
        self.fixed = np.stack([np.ones(n), covariate], axis=1)

    def design(self, par: np.ndarray) -> np.ndarray:
        sigma, phi = np.exp(par[0]), expit(par[1])
        structured = sigma * np.sqrt(phi) * self.basis
        return np.hstack(
            [self.fixed, structured, sigma * np.sqrt(1 - phi) * np.eye(self.counts.size)]
        )

    def prior(self) -> np.ndarray:
        return np.concatenate([[0.01, 0.01], self.spectrum, np.ones(self.counts.size)])

    def mode(self, par: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Newton's method in (beta, w, v): the mode and the Hessian there."""
        J, q = self.design(par), self.prior()
        z = np.zeros(q.size)
        for _ in range(100):
            mean = self.expected * np.exp(J @ z)
            H = np.diag(q) + (J.T * mean) @ J
            step = np.linalg.solve(H, q * z - J.T @ (self.counts - mean))
            z = z - step / max(1.0, np.abs(J @ step).max())
            if np.abs(step).max() < 1e-13:
                break
        mean = self.expected * np.exp(J @ z)
        return z, np.diag(q) + (J.T * mean) @ J

    def nll(self, par: np.ndarray) -> float:
        """-log p(y | par) by Laplace; the two 2 pi terms of prior and integral cancel."""
        (z, H), q = self.mode(par), self.prior()
        eta = self.design(par) @ z + np.log(self.expected)
        fit = -(self.counts * eta - np.exp(eta) - gammaln(self.counts + 1)).sum()
        # log|scale R|_* is the sum of the logs of the very eigenvalues held in `spectrum`.
        prior = 0.5 * (q * z * z).sum() - 0.5 * np.log(q).sum()
        return float(fit + prior + 0.5 * np.linalg.slogdet(H)[1])

    def eta_moments(self, par: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of the linear predictor in the Gaussian approximation."""
        (z, H), J = self.mode(par), self.design(par)
        return J @ z, np.einsum("ij,ji->i", J, np.linalg.solve(H, J.T))
