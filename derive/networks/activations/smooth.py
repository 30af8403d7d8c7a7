"""Smooth activations of one scalar ``u``: each is its forward definition, and nothing else."""

from __future__ import annotations

import sympy
from sympy import Abs, Expr, Rational, erfc, exp, pi, sqrt

from derive.language.nodes import sigmoid, softplus

from .base import in_catalogue

_SATURATES = "Flat far from 0: the derivative underflows to 0, a dead unit rather than a wrong one."
_RELU_LIKE = "Linear for large u, zero for very negative u; no exponential overflows on either side."

# defined with the language, because derivatives and the engine's own rewrites are written with them
in_catalogue(
    gives="bits",
    caveats=f"{_SATURATES} The derivative s (1 - s) loses relative, not absolute, digits for large u, where 1 - s rounds.",
)(sigmoid)
in_catalogue(
    init="he_normal",
    gives="positive",
    caveats="Evaluated as max(u, 0) + log1p(exp(-|u|)), so nothing overflows. Underflows to 0 for u below -104 in float32.",
)(softplus)


@in_catalogue(gives="values", caveats="None.")
def linear(u: Expr) -> Expr:
    r"""The identity, :math:`u`."""
    return u


@in_catalogue(
    gives="values",
    caveats=f"{_SATURATES} The derivative 1 - h^2 loses relative, not absolute, digits where h is near 1 or -1.",
)
def tanh(u: Expr) -> Expr:
    r"""The hyperbolic tangent, :math:`\tanh u = (e^u - e^{-u}) / (e^u + e^{-u})`."""
    return sympy.tanh(u)


@in_catalogue(
    gives="values",
    caveats="The absolute value is not smooth at 0, but u/(1 + |u|) is, once: the derivative there is 1.",
)
def softsign(u: Expr) -> Expr:
    r""":math:`u / (1 + |u|)`; its derivative :math:`1/(1+|u|)^2` falls only as a power.

    References
    ----------
    Bergstra et al., *Quadratic polynomials learn better image features* (2009).
    """
    return u / (1 + Abs(u))


@in_catalogue("silu", init="he_normal", gives="values", caveats=_RELU_LIKE)
@in_catalogue(init="he_normal", gives="values", caveats=_RELU_LIKE)
def swish(u: Expr, beta: float | Expr = 1) -> Expr:
    r""":math:`u\,\sigma(\beta u)`; with :math:`\beta = 1` also called silu.

    References
    ----------
    Ramachandran, Zoph, Le, *Searching for activation functions* (2017).
    """
    return u * sigmoid(beta * u)


@in_catalogue(init="he_normal", gives="values", caveats=_RELU_LIKE)
def mish(u: Expr) -> Expr:
    r""":math:`u \tanh(\log(1 + e^u))`.

    References
    ----------
    Misra, *Mish: a self regularized non-monotonic activation function* (2019).
    """
    return u * tanh(softplus(u))


@in_catalogue(
    init="he_normal",
    gives="values",
    caveats=f"{_RELU_LIKE} erfc keeps the digits of the left tail, which 1 + erf loses.",
)
def gelu(u: Expr) -> Expr:
    r""":math:`u\,\Phi(u) = \frac u2 \operatorname{erfc}(-u/\sqrt2)`, with the normal distribution :math:`\Phi`.

    References
    ----------
    Hendrycks, Gimpel, *Gaussian error linear units* (2016).
    """
    return u * erfc(-u / sqrt(2)) / 2


@in_catalogue(
    init="he_normal",
    gives="values",
    caveats=f"{_RELU_LIKE} Written with the sigmoid, which is the same function and keeps the digits of the left tail. "
    f"Differs from gelu by at most 5e-4.",
)
def gelu_tanh(u: Expr) -> Expr:
    r""":math:`\frac u2 (1 + \tanh v) = u\,\sigma(2v)` with :math:`v = \sqrt{2/\pi}\,(u + 0.044715 u^3)`.

    References
    ----------
    Hendrycks, Gimpel, *Gaussian error linear units* (2016), the approximation.
    """
    return u * sigmoid(2 * sqrt(2 / pi) * (u + Rational("0.044715") * u**3))


@in_catalogue(gives="positive", caveats="Local: far from 0 both the value and the derivative underflow to 0.")
def gaussian(u: Expr) -> Expr:
    r""":math:`e^{-u^2}`, the bump of radial basis functions."""
    return exp(-(u**2))
