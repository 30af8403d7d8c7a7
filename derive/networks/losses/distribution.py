"""Losses of distributions.  A cross-entropy is the cost of a class; the right one counts, or each in its share."""

from __future__ import annotations

from collections.abc import Callable

import sympy
from sympy import Expr, Piecewise, Rational, log

from derive.language.define import define
from derive.language.nodes import Sum, maximum, softplus
from derive.language.tensor import Tensor

from .base import named


def softmax_cross_entropy(z: Tensor) -> Callable[[Expr], Expr]:
    r""":math:`\log\sum_j e^{z_j} - z_k`, from logits."""
    *outer, k = z.letters
    lse = define(named("lse"), tuple(outer), log(Sum(sympy.exp(z[z.letters]), k)))
    return lambda at: lse[tuple(outer)] - z[(*outer, at)]


def categorical_cross_entropy(p: Tensor, clip=0) -> Callable[[Expr], Expr]:
    r""":math:`-\log p_k`, from probabilities."""
    outer = p.letters[:-1]
    return lambda at: -log(_least(p[(*outer, at)], clip))


def sigmoid_binary_cross_entropy(z: Expr, y: Expr) -> Expr:
    r""":math:`\log(1 + e^z) - yz`, from a logit."""
    return softplus(z) - y * z


def binary_cross_entropy(p: Expr, y: Expr, clip=0) -> Expr:
    r""":math:`-y\log p - (1-y)\log(1-p)`, from a probability."""
    return -(y * log(_least(p, clip)) + (1 - y) * log(_least(1 - p, clip)))


def kullback_leibler(p: Tensor, y: Tensor, clip=0) -> Expr:
    r""":math:`\sum_k y_k (\log y_k - \log p_k)`, where :math:`0 \log 0 = 0`."""
    k = p.letters[-1]
    wanted = y[p.letters]
    entropy = Piecewise((wanted * log(wanted), wanted > 0), (0, True))
    return Sum(entropy - wanted * log(_least(p[p.letters], clip)), k)


TINY = Rational(1, 10**12)


def cosine(z: Tensor, y: Tensor, least=TINY) -> Expr:
    r""":math:`1 - \sum_k z_k y_k \,/\, \sqrt{\max(\sum_k z_k^2, \varepsilon) \max(\sum_k y_k^2, \varepsilon)}`."""
    *outer, k = z.letters
    at, outer = z.letters, tuple(outer)
    product = Sum(z[at] * y[at], k)
    length = define(named("zz"), outer, maximum(Sum(z[at] ** 2, k), least))
    wanted = define(named("yy"), outer, maximum(Sum(y[at] ** 2, k), least))
    half = -Rational(1, 2)
    return 1 - product * length[outer] ** half * wanted[outer] ** half


def _least(p: Expr, clip) -> Expr:
    return maximum(p, clip) if clip else p
