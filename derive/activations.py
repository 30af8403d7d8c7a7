r"""Activation functions: forward definitions, as data.  Their derivatives are derived, here as everywhere.

=======  =====================================================  ================
name     definition                                             default weights
=======  =====================================================  ================
linear   :math:`u`                                              glorot_uniform
sigmoid  :math:`1/(1+e^{-u})`                                   glorot_uniform
tanh     :math:`\tanh u`                                        glorot_uniform
relu     :math:`\max(u, 0)`, with :math:`relu'(0)=0`            he_normal
softmax  :math:`e^{u_k} / \sum_{k'} e^{u_{k'}}`                 glorot_uniform
=======  =====================================================  ================

The last column is the initializer of the weights *before* the activation when none is asked for: ``relu`` halves the
second moment, so its weights get twice the variance (gain :math:`\sqrt2`, He et al. 2015); the others start near
their linear part (gain 1, Glorot and Bengio 2010).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import sympy
from sympy import Expr

from .errors import DeriveError
from .hints import did_you_mean
from .index import Index
from .nodes import Sum, relu, sigmoid
from .tensor import Tensor


@dataclass(frozen=True)
class Activation:
    """A named activation.

    Attributes
    ----------
    name : str
    rule : callable
        ``u -> expression`` of one scalar, or ``(z, letters) -> expression`` if it looks at a whole axis.
    init : str
        The default initializer of the weights before it.
    letter : str
        How the activated tensor is called, followed by the layer's position: ``h1``.
    whole_axis : bool
        Whether the rule reads other elements than its own, as softmax does.
    gives : str
        "values", "probabilities" (of exclusive classes) or "bits" (probabilities of independent yes-or-no answers).
    """

    name: str
    rule: Callable
    init: str = "glorot_uniform"
    letter: str = "h"
    whole_axis: bool = False
    gives: str = "values"

    def __call__(self, z: Tensor) -> Expr:
        """The activated element at the letters of ``z``."""
        return self.rule(z, z.letters) if self.whole_axis else self.rule(z[z.letters])


def linear(u: Expr) -> Expr:
    """The identity."""
    return u


def softmax(z: Tensor, letters: tuple[Index, ...]) -> Expr:
    r""":math:`p_k = e^{z_k} / \sum_{k'} e^{z_{k'}}` over the last axis.

    >>> from derive import indices, tensor
    >>> b, k = indices("b k")
    >>> softmax(tensor("z", b, k), (b, k))
    exp(z[b, k])/sum[k'](exp(z[b, k']))
    """
    *outer, k = letters
    other = Index(f"{k.name}'", k.size)
    return sympy.exp(z[(*outer, k)]) / Sum(sympy.exp(z[(*outer, other)]), other)


ACTIVATIONS: dict[str, Activation] = {a.name: a for a in (
    Activation("linear", linear),
    Activation("sigmoid", sigmoid, gives="bits"),
    Activation("tanh", sympy.tanh),
    Activation("relu", relu, init="he_normal"),
    Activation("softmax", softmax, letter="p", whole_axis=True, gives="probabilities"),
)}


def activation(given, where: str = "activation") -> Activation:
    """The activation of a name, of an :class:`Activation`, or of your own function of one scalar expression.

    >>> activation("relu").init
    'he_normal'
    >>> swish = activation(lambda u: u*sigmoid(u))
    """
    if isinstance(given, Activation):
        return given
    if given is None:
        return ACTIVATIONS["linear"]
    if isinstance(given, str):
        if given not in ACTIVATIONS:
            raise DeriveError(f"{where}: unknown activation {given!r}{did_you_mean(given, ACTIVATIONS)}; accepted are "
                              f"{', '.join(ACTIVATIONS)} or a function of one scalar expression")
        return ACTIVATIONS[given]
    if callable(given):
        return Activation(getattr(given, "__name__", "custom").strip("<>"), given, gives="anything")
    raise DeriveError(f"{where}: activation {given!r} is {type(given).__name__}; accepted are "
                      f"{', '.join(ACTIVATIONS)} or a function of one scalar expression")
