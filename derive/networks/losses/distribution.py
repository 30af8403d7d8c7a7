"""Losses of distributions.  A cross-entropy is the cost of a class; the right one counts, or each in its share."""

from __future__ import annotations

from collections.abc import Callable

import sympy
from sympy import Expr, Piecewise, Rational, log

from derive.language.define import define
from derive.language.nodes import Sum, maximum, softplus
from derive.language.tensor import Tensor

from .base import in_catalogue, named

_CLIP = "The option clip, 0 by default, raises probabilities below it to it; the gradient is 0 there."
_OPEN = f"0 < p < 1, which softmax and sigmoid give: the logarithm is taken before rounding could make p 0. {_CLIP}"
_LOGITS = "Every finite logit."
_FUSED = "Fused: no exponential overflows and no logarithm is taken of a rounded 0."
TINY = Rational(1, 10**12)


@in_catalogue(
    "sparse_softmax_cross_entropy",
    target="labels",
    reads="logits",
    per="class",
    twin="sparse_categorical_cross_entropy",
    domain=_LOGITS,
    caveats=_FUSED,
)
@in_catalogue(
    target="probabilities",
    reads="logits",
    per="class",
    twin="categorical_cross_entropy",
    domain=_LOGITS,
    caveats=_FUSED,
)
def softmax_cross_entropy(z: Tensor) -> Callable[[Expr], Expr]:
    r""":math:`\log\sum_j e^{z_j} - z_k`, from logits."""
    *outer, k = z.indices
    lse = define(named("lse"), tuple(outer), log(Sum(sympy.exp(z[z.indices]), k)))
    return lambda at: lse[tuple(outer)] - z[(*outer, at)]


@in_catalogue(
    "sparse_categorical_cross_entropy",
    target="labels",
    reads="probabilities",
    per="class",
    twin="sparse_softmax_cross_entropy",
    domain=_OPEN,
    caveats="Of a probability that is exactly 0 it is infinite.",
)
@in_catalogue(
    target="probabilities",
    reads="probabilities",
    per="class",
    twin="softmax_cross_entropy",
    domain=_OPEN,
    caveats="Of a probability that is exactly 0 it is infinite, or 0 times infinity.",
)
def categorical_cross_entropy(p: Tensor, clip: float | Expr = 0) -> Callable[[Expr], Expr]:
    r""":math:`-\log p_k`, from probabilities."""
    outer = p.indices[:-1]
    return lambda at: -log(_least(p[(*outer, at)], clip))


@in_catalogue(target="bits", reads="logits", per="element", twin="binary_cross_entropy", domain=_LOGITS, caveats=_FUSED)
def sigmoid_binary_cross_entropy(z: Expr, y: Expr) -> Expr:
    r""":math:`\log(1 + e^z) - yz`, from a logit."""
    return softplus(z) - y * z


@in_catalogue(
    target="bits",
    reads="bits",
    per="element",
    twin="sigmoid_binary_cross_entropy",
    domain=_OPEN,
    caveats="Of a probability that is exactly 0 or 1 it is infinite, or 0 times infinity.",
)
def binary_cross_entropy(p: Expr, y: Expr, clip: float | Expr = 0) -> Expr:
    r""":math:`-y\log p - (1-y)\log(1-p)`, from a probability."""
    return -(y * log(_least(p, clip)) + (1 - y) * log(_least(1 - p, clip)))


@in_catalogue(
    target="probabilities",
    reads="probabilities",
    per="example",
    domain=_OPEN,
    caveats="Targets may be 0, where y log y = 0. Its gradient is that of the cross-entropy.",
)
def kullback_leibler(p: Tensor, y: Tensor, clip: float | Expr = 0) -> Expr:
    r""":math:`\sum_k y_k (\log y_k - \log p_k)`, where :math:`0 \log 0 = 0`."""
    k = p.indices[-1]
    wanted = y[p.indices]
    entropy = Piecewise((wanted * log(wanted), wanted > 0), (0, True))
    return Sum(entropy - wanted * log(_least(p[p.indices], clip)), k)


@in_catalogue(
    per="example",
    domain="Rows other than 0: a smaller sum of squares than 1e-12 (the option least) counts as that.",
    caveats="The gradient grows as 1/|z|: it does not see lengths. Squares overflow in float32 above 1.8e19.",
)
def cosine(z: Tensor, y: Tensor, least: float | Expr = TINY) -> Expr:
    r""":math:`1 - \sum_k z_k y_k \,/\, \sqrt{\max(\sum_k z_k^2, \varepsilon) \max(\sum_k y_k^2, \varepsilon)}`."""
    *before, k = z.indices
    at, outer = z.indices, tuple(before)
    product = Sum(z[at] * y[at], k)
    length = define(named("zz"), outer, maximum(Sum(z[at] ** 2, k), least))
    wanted = define(named("yy"), outer, maximum(Sum(y[at] ** 2, k), least))
    half = -Rational(1, 2)
    return 1 - product * length[outer] ** half * wanted[outer] ** half


def _least(p: Expr, clip: float | Expr) -> Expr:
    return maximum(p, clip) if clip else p
