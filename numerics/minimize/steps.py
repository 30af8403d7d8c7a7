r"""One step each: the linear algebra of Newton's method.

newton                (H + m I) p = -g          Cholesky; an indefinite H is said, or damped
newton-cg             H p = -g by conjugate gradients on products, stopped early and at negative curvature
root                  J p = -y
gauss-newton          min |J p + y|
levenberg-marquardt   (J'J + m D) p = -J'y      D the diagonal of J'J
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .history import NewtonError

SINGULAR = 1e-13  # relative to the largest singular value or eigenvalue


def newton_step(H: np.ndarray, g: np.ndarray, damping: float | str) -> tuple[np.ndarray, float]:
    """``(p, m)`` with m the damping used: the given one, or with "auto" the least of a growing sequence that works."""
    asymmetric = np.max(np.abs(H - H.T), initial=0.0)
    if asymmetric > 1e-5 * max(np.max(np.abs(H), initial=0.0), 1e-300):
        raise NewtonError(f"the Hessian is not symmetric: it differs from its transpose by {asymmetric:.1e}")
    shift = 0.0 if damping == "auto" else float(damping)
    scale = max(float(np.max(np.abs(np.diag(H)), initial=0.0)), 1e-300)
    for _ in range(60):
        p = _by_cholesky(H, g, shift)
        if p is not None:
            return p, shift
        if damping != "auto":
            break
        shift = max(10 * shift, 1e-6 * scale)
    lowest = np.linalg.eigvalsh(H)[0]
    what = "singular" if abs(lowest) <= SINGULAR * scale else "not positive definite"
    raise NewtonError(
        f"the Hessian is {what}: its smallest eigenvalue is {lowest:.3e} (damping {shift:g}); pass "
        f'damping="auto" to add the multiple of the identity that is needed'
    )


def _by_cholesky(H: np.ndarray, g: np.ndarray, shift: float) -> np.ndarray | None:
    n = len(g)
    try:
        L = np.linalg.cholesky(H + shift * np.eye(n, dtype=H.dtype))
    except np.linalg.LinAlgError:
        return None
    diagonal = np.diag(L)
    if not np.all(np.isfinite(diagonal)) or np.min(diagonal) ** 2 <= SINGULAR * np.max(diagonal) ** 2:
        return None
    return -np.linalg.solve(L.T, np.linalg.solve(L, g))


def cg_step(product: Callable[[np.ndarray], np.ndarray], g: np.ndarray, most: int) -> tuple[np.ndarray, int]:
    """Conjugate gradients to a tolerance that tightens with the gradient (so that convergence stays superlinear)."""
    norm = float(np.linalg.norm(g))
    p, r = np.zeros_like(g), g.copy()
    d, rr = -r, norm**2
    for n in range(most):
        Hd = product(d)
        curvature = float(d @ Hd)
        if not np.isfinite(curvature):
            raise NewtonError("a Hessian-vector product is not finite")
        if curvature <= 1e-14 * float(d @ d):
            return (-g if n == 0 else p), n + 1  # downhill for as long as it bends up
        p, r = p + rr / curvature * d, r + rr / curvature * Hd
        new = float(r @ r)
        if np.sqrt(new) <= min(0.1, norm) * norm:
            return p, n + 1
        d, rr = new / rr * d - r, new
    return p, most


def root_step(J: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The tangent's own root: y + J p = 0."""
    values = np.linalg.svd(J, compute_uv=False)
    if values[-1] <= SINGULAR * values[0] or values[0] == 0:
        raise NewtonError(
            f"the Jacobian is singular: its smallest singular value is {values[-1]:.3e}, the largest "
            f'{values[0]:.3e}; method="levenberg-marquardt" takes damped steps'
        )
    return -np.linalg.solve(J, y)


def least_squares_step(J: np.ndarray, y: np.ndarray, shift: float) -> np.ndarray:
    """Gauss-Newton, or Levenberg-Marquardt with ``shift`` times the diagonal of J'J."""
    if shift == 0:
        p, _, rank, values = np.linalg.lstsq(J, -y, rcond=None)
        if rank < J.shape[1]:
            raise NewtonError(
                f"the Jacobian has rank {rank} of {J.shape[1]} (smallest singular value "
                f'{values[-1]:.3e}); method="levenberg-marquardt" takes damped steps'
            )
        return p
    weights = np.sqrt(shift) * np.maximum(np.linalg.norm(J, axis=0), 1e-12)
    rows, right = np.vstack([J, np.diag(weights)]), np.concatenate([y, np.zeros(len(weights))])
    return -np.linalg.lstsq(rows, right, rcond=None)[0]
