"""Newton's method on derived equations: minimization, roots, least squares, and Hessian-free for many parameters."""

from .history import Iteration, NewtonError, NewtonResult
from .solve import newton

__all__ = ["Iteration", "NewtonError", "NewtonResult", "newton"]
