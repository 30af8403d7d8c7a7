"""Normalization by the root of the mean square alone."""

from __future__ import annotations

from sympy import sqrt

from derive.language.nodes import Sum
from derive.language.tensor import Tensor

from .base import Layer
from .builder import Builder
from .numbers import exact
from .registry import in_catalogue


@in_catalogue
class RMSNorm(Layer):
    r"""Each example's channels divided by the root of their mean square, over the last axis.

    .. math:: h_{b,c} = \gamma_c\, \frac{x_{b,c}}{\sqrt{\frac1C \sum_{c'} x_{b,c'}^2 + \epsilon}}

    Parameters
    ----------
    epsilon : float
    name : str, optional
        The parameter is ``<name>_gamma`` (C,).
    trainable : bool

    References
    ----------
    Zhang, Sennrich, *Root mean square layer normalization*, NeurIPS 2019.

    >>> from derive import Sequential
    >>> list(Sequential([RMSNorm()], input_shape=(4,)).parameters)
    ['rms_norm_1_gamma']
    """

    kind = "rms_norm"
    gives = "values"

    def __init__(self, epsilon: float = 1e-6, name: str | None = None, trainable: bool = True):
        super().__init__(name, trainable)
        self.epsilon, self._eps = epsilon, exact(epsilon, "RMSNorm: epsilon")

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        *kept, c = x.indices
        square = new.define("ms", tuple(kept), Sum(x[x.indices] ** 2, c) / c.size)
        hat = new.define("xh", x.indices, x[x.indices] / sqrt(square[tuple(kept)] + self._eps))
        return new.define("h", x.indices, new.parameter("gamma", c, init="ones")[c] * hat[x.indices])
