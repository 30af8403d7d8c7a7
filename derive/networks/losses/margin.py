"""Losses of margins: how far a score is on the right side."""

from __future__ import annotations

from sympy import Expr

from derive.language.index import Index
from derive.language.nodes import Max, Sum, relu
from derive.language.tensor import Tensor

from .base import EVERY, SCALE, in_catalogue


@in_catalogue(target="signs", per="element", domain=EVERY, caveats="The derivative at yz = 1 is 0.")
def hinge(z: Expr, y: Expr) -> Expr:
    r""":math:`\max(0, 1 - yz)` for a sign :math:`y = \pm1`.

    References
    ----------
    Cortes, Vapnik, *Support-vector networks* (1995).
    """
    return relu(1 - y * z)


@in_catalogue(target="signs", per="element", domain=EVERY, caveats=SCALE)
def squared_hinge(z: Expr, y: Expr) -> Expr:
    r""":math:`\max(0, 1 - yz)^2` for a sign :math:`y = \pm1`."""
    return relu(1 - y * z) ** 2


@in_catalogue(
    target="probabilities",
    per="example",
    domain=f"{EVERY} One-hot targets.",
    caveats="The strongest wrong class gets the gradient; at a tie the first. The right class takes part in the maximum "
    "as 0.",
)
def categorical_hinge(z: Tensor, y: Tensor) -> Expr:
    r""":math:`\max(0,\; 1 + \max_k (1 - y_k) z_k - \sum_k y_k z_k)` for a one-hot row ``y``.

    References
    ----------
    Weston, Watkins, *Support vector machines for multi-class pattern recognition* (1999).
    """
    *outer, k = z.indices
    other = Index(f"{k.name}'", k.size)
    at = (*outer, other)
    return relu(1 + Max((1 - y[at]) * z[at], other) - Sum(y[z.indices] * z[z.indices], k))
