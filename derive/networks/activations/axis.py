"""Activations that look at a whole axis: the last one of the tensor they are given."""

from __future__ import annotations

import sympy
from sympy import Expr

from derive.language.index import Index
from derive.language.nodes import Max, Sum
from derive.language.tensor import Tensor

from .base import in_catalogue


def _beside(k: Index) -> Index:
    """Another letter over the same axis."""
    return Index(f"{k.name}'", k.size)


@in_catalogue(
    whole_axis=True,
    letter="p",
    gives="probabilities",
    caveats="Computed as exp(u - lse) with a shifted lse, so nothing overflows; its logarithm is never that of a rounded 0.",
)
def softmax(z: Tensor, letters: tuple[Index, ...]) -> Expr:
    r""":math:`p_k = e^{z_k} / \sum_{k'} e^{z_{k'}}` over the last axis.

    References
    ----------
    Bridle, *Probabilistic interpretation of feedforward classification network outputs* (1990).

    >>> from derive import indices, tensor
    >>> b, k = indices("b k")
    >>> softmax(tensor("z", b, k), (b, k))
    exp(z[b, k])/sum[k'](exp(z[b, k']))
    """
    *outer, k = letters
    other = _beside(k)
    return sympy.exp(z[(*outer, k)]) / Sum(sympy.exp(z[(*outer, other)]), other)


@in_catalogue(
    whole_axis=True, gives="values", caveats="Computed with a shifted log-sum-exp; finite for every finite input."
)
def log_softmax(z: Tensor, letters: tuple[Index, ...]) -> Expr:
    r""":math:`z_k - \log\sum_{k'} e^{z_{k'}}` over the last axis.

    >>> from derive import indices, tensor
    >>> b, k = indices("b k")
    >>> log_softmax(tensor("z", b, k), (b, k))
    -log(sum[k'](exp(z[b, k']))) + z[b, k]
    """
    *outer, k = letters
    other = _beside(k)
    return z[(*outer, k)] - sympy.log(Sum(sympy.exp(z[(*outer, other)]), other))


def maxout(z: Tensor) -> Expr:
    r""":math:`h_k = \max_r z_{kr}` over the last axis, the pieces; the result lacks that axis.

    The pieces of a unit come from weights :math:`W_{ikr}`, so this takes part in a layer and is no activation by
    name.  The gradient goes to the first of the largest pieces.

    References
    ----------
    Goodfellow et al., *Maxout networks* (2013).

    >>> from derive import indices, tensor
    >>> b, k, r = indices("b k r")
    >>> maxout(tensor("z", b, k, r))
    max[r](z[b, k, r])
    """
    return Max(z[z.indices], z.indices[-1])
