"""Matrices: inverse, determinant and log-determinant as leaves, and what is a sum of products written as one.

``inverse`` and ``logdet`` are leaves of the closed table (:mod:`derive.matrices.leaves`) with their derivatives in terms
of the inverse (:mod:`derive.matrices.rules`); trace, norms and Kronecker products need no leaf.
"""

from .functions import det, inverse, kron, logdet, norm2, solve, trace
from .leaves import Determinant, Inverse, LogDet

__all__ = ["Determinant", "Inverse", "LogDet", "det", "inverse", "kron", "logdet", "norm2", "solve", "trace"]
