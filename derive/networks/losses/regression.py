"""Losses of values: the cost of one element, a prediction ``z`` against a target ``y``."""

from __future__ import annotations

from sympy import Abs, Expr, Piecewise, Rational, cosh, log

from derive.language.nodes import maximum, relu

from .base import EVERY, SCALE, in_catalogue

TINY = Rational(1, 10**7)


@in_catalogue(per="element", domain=EVERY, caveats=SCALE)
def mean_squared_error(z: Expr, y: Expr) -> Expr:
    r""":math:`(z - y)^2`."""
    return (z - y) ** 2


@in_catalogue(per="element", domain=EVERY, caveats="The derivative at z = y is 0.")
def mean_absolute_error(z: Expr, y: Expr) -> Expr:
    r""":math:`|z - y|`."""
    return Abs(z - y)


@in_catalogue(
    per="element",
    domain="Targets other than 0: a smaller |y| than 1e-7 (the option least) counts as that.",
    caveats="The derivative at z = y is 0. Large for targets near 0, whatever the error.",
)
def mean_absolute_percentage_error(z: Expr, y: Expr, least: float | Expr = TINY) -> Expr:
    r""":math:`100\, |z - y| / \max(|y|, \varepsilon)`, in per cent of the target."""
    return 100 * Abs(z - y) / maximum(Abs(y), least)


@in_catalogue(
    target="nonnegative",
    reads="nonnegative",
    per="element",
    domain="z >= 0 and y >= 0: a negative z counts as 0, and its gradient is 0.",
    caveats="End the network in softplus or relu. The derivative at z = 0 is 0, that of the clip.",
)
def mean_squared_logarithmic_error(z: Expr, y: Expr) -> Expr:
    r""":math:`(\log(1 + \max(z, 0)) - \log(1 + y))^2`."""
    return (log(1 + relu(z)) - log(1 + y)) ** 2


@in_catalogue(
    per="element",
    domain=EVERY,
    caveats="Evaluated as |d| + log(1 + exp(-2|d|)) - log 2, so that cosh does not overflow; its gradient is tanh d. The "
    "value of a tiny d is right to an absolute, not a relative, rounding error.",
)
def logcosh(z: Expr, y: Expr) -> Expr:
    r""":math:`\log\cosh(z - y)`: half the square near 0, the absolute value less :math:`\log 2` far away."""
    return log(cosh(z - y))


@in_catalogue(
    per="element",
    domain=f"{EVERY} delta > 0.",
    caveats="Once differentiable: both pieces have the derivative delta at |d| = delta.",
)
def huber(z: Expr, y: Expr, delta: float | Expr = 1) -> Expr:
    r""":math:`d^2/2` where :math:`|d| \le \delta`, :math:`\delta(|d| - \delta/2)` elsewhere, with :math:`d = z - y`.

    References
    ----------
    Huber, *Robust estimation of a location parameter* (1964).
    """
    d = z - y
    return Piecewise((d**2 / 2, Abs(d) <= delta), (delta * (Abs(d) - delta / Rational(2)), True))


@in_catalogue(
    target="nonnegative",
    reads="nonnegative",
    per="element",
    domain="z > 0 and y >= 0: in the logarithm a smaller z than 1e-7 (the option least) counts as that.",
    caveats="End the network in softplus. Below the clip only the first term has a gradient, 1.",
)
def poisson(z: Expr, y: Expr, least: float | Expr = TINY) -> Expr:
    r""":math:`z - y \log\max(z, \varepsilon)`: counts ``y`` of mean ``z``, but for a constant."""
    return z - y * log(maximum(z, least))
