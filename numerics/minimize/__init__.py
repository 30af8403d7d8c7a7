"""Newton's method on derived equations: minimization, roots, least squares, and Hessian-free for many parameters."""

from .history import Iteration, NewtonError, NewtonResult
from .pictures import convergence, curvature, tangents
from .solve import newton

__all__ = ["Iteration", "NewtonError", "NewtonResult", "convergence", "curvature", "newton", "tangents"]
