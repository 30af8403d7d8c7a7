"""Losses of values: the cost of one element, a prediction ``z`` against a target ``y``."""

from __future__ import annotations

from sympy import Abs, Expr, Piecewise, Rational, cosh, log

from derive.language.nodes import maximum, relu

TINY = Rational(1, 10**7)


def mean_squared_error(z: Expr, y: Expr) -> Expr:
    r""":math:`(z - y)^2`."""
    return (z - y) ** 2


def mean_absolute_error(z: Expr, y: Expr) -> Expr:
    r""":math:`|z - y|`."""
    return Abs(z - y)


def mean_absolute_percentage_error(z: Expr, y: Expr, least=TINY) -> Expr:
    r""":math:`100\, |z - y| / \max(|y|, \varepsilon)`, in per cent of the target."""
    return 100 * Abs(z - y) / maximum(Abs(y), least)


def mean_squared_logarithmic_error(z: Expr, y: Expr) -> Expr:
    r""":math:`(\log(1 + \max(z, 0)) - \log(1 + y))^2`."""
    return (log(1 + relu(z)) - log(1 + y)) ** 2


def logcosh(z: Expr, y: Expr) -> Expr:
    r""":math:`\log\cosh(z - y)`: half the square near 0, the absolute value less :math:`\log 2` far away."""
    return log(cosh(z - y))


def huber(z: Expr, y: Expr, delta=1) -> Expr:
    r""":math:`d^2/2` where :math:`|d| \le \delta`, :math:`\delta(|d| - \delta/2)` elsewhere, with :math:`d = z - y`.

    References
    ----------
    Huber, *Robust estimation of a location parameter* (1964).
    """
    d = z - y
    return Piecewise((d**2 / 2, Abs(d) <= delta), (delta * (Abs(d) - delta / Rational(2)), True))


def poisson(z: Expr, y: Expr, least=TINY) -> Expr:
    r""":math:`z - y \log\max(z, \varepsilon)`: counts ``y`` of mean ``z``, but for a constant."""
    return z - y * log(maximum(z, least))
