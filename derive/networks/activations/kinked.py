"""Activations in pieces, of one scalar ``u``.  The derivative at a kink is that of the piece written there."""

from __future__ import annotations

from sympy import Expr, Piecewise, Rational, exp

from derive.language.nodes import relu

from .base import in_catalogue

SELU_ALPHA = Rational("1.6732632423543772")  # the fixed point of zero mean and unit variance, Klambauer et al. (2017)
LEAK = Rational(1, 100)
SELU_SCALE = Rational("1.0507009873554805")

# defined with the language, because its derivative at the kink is a convention of the language
in_catalogue(init="he_normal", gives="nonnegative", caveats="The derivative at the kink is 0.")(relu)


@in_catalogue(gives="values", caveats="The step has no gradient: training through it is refused. 1 at u = 0.")
def threshold(u: Expr) -> Expr:
    r"""The step :math:`[u \ge 0]` of Rosenblatt's perceptron.

    Its derivative is zero wherever it has one, so there is no gradient to descend: training through it is refused.
    Rosenblatt's own rule trains a single layer of it: after each example, :math:`w \leftarrow w + (y - h)\,x`.

    References
    ----------
    Rosenblatt, *The perceptron: a probabilistic model for information storage and organization in the brain* (1958).
    """
    return Piecewise((1, u >= 0), (0, True))


@in_catalogue(init="he_normal", gives="values", caveats="The derivative at the kink is alpha.")
def leaky_relu(u: Expr, alpha: float | Expr = LEAK) -> Expr:
    r""":math:`u` where it is positive, :math:`\alpha u` elsewhere.

    References
    ----------
    Maas, Hannun, Ng, *Rectifier nonlinearities improve neural network acoustic models* (2013).
    """
    return Piecewise((u, u > 0), (alpha * u, True))


def prelu(u: Expr, alpha: Expr) -> Expr:
    r""":math:`u` where it is positive, :math:`\alpha u` elsewhere, with a parameter :math:`\alpha` that is learned.

    ``alpha`` is an expression over a parameter, one for all units or one each, so this takes part in a layer
    and is no activation by name.

    References
    ----------
    He et al., *Delving deep into rectifiers* (2015).

    >>> from derive import indices, tensor
    >>> b, k = indices("b k")
    >>> prelu(tensor("z", b, k)[b, k], tensor("a", k)[k])
    Piecewise((z[b, k], z[b, k] > 0), (a[k]*z[b, k], True))
    """
    return Piecewise((u, u > 0), (alpha * u, True))


@in_catalogue(
    init="he_normal",
    gives="values",
    caveats="The derivative at the kink is alpha. The exponential is read only where u is not positive, so its overflow "
    "elsewhere is never seen.",
)
def elu(u: Expr, alpha: float | Expr = 1) -> Expr:
    r""":math:`u` where it is positive, :math:`\alpha(e^u - 1)` elsewhere.

    References
    ----------
    Clevert, Unterthiner, Hochreiter, *Fast and accurate deep network learning by exponential linear units* (2016).
    """
    return Piecewise((u, u > 0), (alpha * (exp(u) - 1), True))


@in_catalogue(
    init="lecun_normal",
    gives="values",
    caveats="The derivative at the kink is that of the left piece, lambda alpha. The exponential is read only where u is "
    "not positive.",
)
def selu(u: Expr) -> Expr:
    r""":math:`\lambda u` where it is positive, :math:`\lambda\alpha(e^u - 1)` elsewhere; keeps mean 0 and variance 1.

    References
    ----------
    Klambauer et al., *Self-normalizing neural networks* (2017).
    """
    return SELU_SCALE * elu(u, SELU_ALPHA)


@in_catalogue(
    gives="nonnegative",
    caveats="The derivative at both kinks is 0. Reaches 0 and 1 exactly, where a cross-entropy has no value.",
)
def hard_sigmoid(u: Expr) -> Expr:
    r""":math:`u/6 + 1/2`, cut off at 0 and 1.

    References
    ----------
    Howard et al., *Searching for MobileNetV3* (2019).
    """
    return Piecewise((0, u <= -3), (1, u >= 3), (u / 6 + Rational(1, 2), True))


@in_catalogue(gives="values", caveats="The derivative at both kinks is 0.")
def hard_tanh(u: Expr) -> Expr:
    r""":math:`u`, cut off at -1 and 1.

    References
    ----------
    Collobert, *Large scale machine learning* (2004).
    """
    return Piecewise((-1, u <= -1), (1, u >= 1), (u, True))
