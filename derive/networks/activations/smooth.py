"""Smooth activations of one scalar ``u``: each is its forward definition, and nothing else."""

from __future__ import annotations

import sympy
from sympy import Abs, Expr, Rational, erfc, exp, pi, sqrt

from derive.language.nodes import sigmoid, softplus


def linear(u: Expr) -> Expr:
    r"""The identity, :math:`u`."""
    return u


def tanh(u: Expr) -> Expr:
    r"""The hyperbolic tangent, :math:`\tanh u = (e^u - e^{-u}) / (e^u + e^{-u})`."""
    return sympy.tanh(u)


def softsign(u: Expr) -> Expr:
    r""":math:`u / (1 + |u|)`; its derivative :math:`1/(1+|u|)^2` falls only as a power.

    References
    ----------
    Bergstra et al., *Quadratic polynomials learn better image features* (2009).
    """
    return u / (1 + Abs(u))


def swish(u: Expr, beta=1) -> Expr:
    r""":math:`u\,\sigma(\beta u)`; with :math:`\beta = 1` also called silu.

    References
    ----------
    Ramachandran, Zoph, Le, *Searching for activation functions* (2017).
    """
    return u * sigmoid(beta * u)


def mish(u: Expr) -> Expr:
    r""":math:`u \tanh(\log(1 + e^u))`.

    References
    ----------
    Misra, *Mish: a self regularized non-monotonic activation function* (2019).
    """
    return u * tanh(softplus(u))


def gelu(u: Expr) -> Expr:
    r""":math:`u\,\Phi(u) = \frac u2 \operatorname{erfc}(-u/\sqrt2)`, with the normal distribution :math:`\Phi`.

    References
    ----------
    Hendrycks, Gimpel, *Gaussian error linear units* (2016).
    """
    return u * erfc(-u / sqrt(2)) / 2


def gelu_tanh(u: Expr) -> Expr:
    r""":math:`\frac u2 (1 + \tanh v) = u\,\sigma(2v)` with :math:`v = \sqrt{2/\pi}\,(u + 0.044715 u^3)`.

    References
    ----------
    Hendrycks, Gimpel, *Gaussian error linear units* (2016), the approximation.
    """
    return u * sigmoid(2 * sqrt(2 / pi) * (u + Rational("0.044715") * u**3))


def gaussian(u: Expr) -> Expr:
    r""":math:`e^{-u^2}`, the bump of radial basis functions."""
    return exp(-(u**2))


__all__ = ["linear", "sigmoid", "tanh", "softplus", "softsign", "swish", "mish", "gelu", "gelu_tanh", "gaussian"]
