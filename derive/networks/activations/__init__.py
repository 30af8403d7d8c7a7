r"""Activation functions: forward definitions, as data.  Their derivatives are derived, here as everywhere.

=============  ===========================================================  ================  ==============
name           definition                                                   default weights   gives
=============  ===========================================================  ================  ==============
linear         :math:`u`                                                    glorot_uniform    values
threshold      :math:`[u \ge 0]`, for prediction only                       glorot_uniform    values
sigmoid        :math:`1/(1+e^{-u})`                                         glorot_uniform    bits
tanh           :math:`\tanh u`                                              glorot_uniform    values
relu           :math:`\max(u, 0)`, with :math:`relu'(0)=0`                  he_normal         nonnegative
leaky_relu     :math:`u` or :math:`\alpha u`, alpha = 0.01                  he_normal         values
elu            :math:`u` or :math:`\alpha(e^u - 1)`, alpha = 1              he_normal         values
selu           :math:`\lambda u` or :math:`\lambda\alpha(e^u - 1)`          lecun_normal      values
gelu           :math:`\frac u2 \operatorname{erfc}(-u/\sqrt2)`              he_normal         values
gelu_tanh      :math:`u\,\sigma(2\sqrt{2/\pi}\,(u + 0.044715 u^3))`         he_normal         values
softplus       :math:`\log(1 + e^u)`                                        he_normal         positive
softsign       :math:`u/(1+|u|)`                                            glorot_uniform    values
swish, silu    :math:`u\,\sigma(\beta u)`, beta = 1                         he_normal         values
mish           :math:`u\tanh(\log(1+e^u))`                                  he_normal         values
hard_sigmoid   :math:`u/6 + 1/2`, cut off at 0 and 1                        glorot_uniform    nonnegative
hard_tanh      :math:`u`, cut off at -1 and 1                               glorot_uniform    values
gaussian       :math:`e^{-u^2}`                                             glorot_uniform    positive
softmax        :math:`e^{u_k} / \sum_{k'} e^{u_{k'}}`                       glorot_uniform    probabilities
log_softmax    :math:`u_k - \log\sum_{k'} e^{u_{k'}}`                       glorot_uniform    values
=============  ===========================================================  ================  ==============

``prelu(u, alpha)`` and ``maxout(z)`` are expressions for layers, :class:`derive.networks.layers.PReLU` and
:class:`derive.networks.layers.Maxout`: the one has a parameter, the other takes an axis away.

The default weights are the initializer of the weights *before* the activation when none is asked for: ``relu`` halves
the second moment, so its weights get twice the variance (gain :math:`\sqrt2`, He et al. 2015), and so do those that are
nearly it; ``selu`` is made for variance :math:`1/n`; the others start near their linear part (gain 1, Glorot and
Bengio 2010).  What an activation gives decides which losses read it, see :mod:`derive.networks.losses`.

An activation of your own is a function of one scalar expression, and gets everything the built-in ones get: the
derivation, the exact check, the program.

>>> from derive import Sequential, layers as L
>>> import sympy
>>> def bent(u):
...     return (sympy.sqrt(u**2 + 1) - 1)/2 + u
>>> d = Sequential([L.Dense(3, activation=bent)], input_shape=(2,)).backprop("mean_squared_error")
>>> print(d.gradient("z1"))
dz1[b,j] = dh1[b,j] (z1[b,j] / (2 sqrt(z1[b,j]^2 + 1)) + 1)
>>> d.check().ok
True
"""

from __future__ import annotations

from derive.language.errors import DeriveError
from derive.networks.catalogue import find
from .axis import log_softmax, maxout, softmax
from .base import ACTIVATIONS, Activation, own
from .kinked import elu, hard_sigmoid, hard_tanh, leaky_relu, prelu, relu, selu, threshold
from .smooth import gaussian, gelu, gelu_tanh, linear, mish, sigmoid, softplus, softsign, swish, tanh

_SATURATES = "Flat far from 0: the derivative underflows to 0, a dead unit rather than a wrong one."
_RELU_LIKE = "Linear for large u, zero for very negative u; no exponential overflows on either side."

ACTIVATIONS |= {
    a.name: a
    for a in (
        Activation("linear", linear, caveats="None."),
        Activation(
            "threshold", threshold, caveats="The step has no gradient: training through it is refused. 1 at u = 0."
        ),
        Activation(
            "sigmoid",
            sigmoid,
            gives="bits",
            caveats=f"{_SATURATES} The derivative s (1 - s) loses relative, not "
            f"absolute, digits for large u, where 1 - s rounds.",
        ),
        Activation(
            "tanh",
            tanh,
            caveats=f"{_SATURATES} The derivative 1 - h^2 loses relative, not absolute, digits "
            f"where h is near 1 or -1.",
        ),
        Activation("relu", relu, init="he_normal", gives="nonnegative", caveats="The derivative at the kink is 0."),
        Activation("leaky_relu", leaky_relu, init="he_normal", caveats="The derivative at the kink is alpha."),
        Activation(
            "elu",
            elu,
            init="he_normal",
            caveats="The derivative at the kink is alpha. The exponential is read "
            "only where u is not positive, so its overflow elsewhere is never seen.",
        ),
        Activation(
            "selu",
            selu,
            init="lecun_normal",
            caveats="The derivative at the kink is that of the left piece, "
            "lambda alpha. The exponential is read only where u is not positive.",
        ),
        Activation(
            "gelu",
            gelu,
            init="he_normal",
            caveats=f"{_RELU_LIKE} erfc keeps the digits of the left tail, which 1 + erf loses.",
        ),
        Activation(
            "gelu_tanh",
            gelu_tanh,
            init="he_normal",
            caveats=f"{_RELU_LIKE} Written with the sigmoid, which is the "
            f"same function and keeps the digits of the left tail. Differs from gelu by at most 5e-4.",
        ),
        Activation(
            "softplus",
            softplus,
            init="he_normal",
            gives="positive",
            caveats="Evaluated as max(u, 0) + "
            "log1p(exp(-|u|)), so nothing overflows. Underflows to 0 for u below -104 in float32.",
        ),
        Activation(
            "softsign",
            softsign,
            caveats="The absolute value is not smooth at 0, but u/(1 + |u|) is, once: the derivative there is 1.",
        ),
        Activation("swish", swish, init="he_normal", caveats=_RELU_LIKE),
        Activation("silu", swish, init="he_normal", caveats=_RELU_LIKE),
        Activation("mish", mish, init="he_normal", caveats=_RELU_LIKE),
        Activation(
            "hard_sigmoid",
            hard_sigmoid,
            gives="nonnegative",
            caveats="The derivative at both kinks is 0. Reaches 0 and 1 exactly, where a cross-entropy has no value.",
        ),
        Activation("hard_tanh", hard_tanh, caveats="The derivative at both kinks is 0."),
        Activation(
            "gaussian",
            gaussian,
            gives="positive",
            caveats="Local: far from 0 both the value and the derivative underflow to 0.",
        ),
        Activation(
            "softmax",
            softmax,
            letter="p",
            whole_axis=True,
            gives="probabilities",
            caveats="Computed as "
            "exp(u - lse) with a shifted lse, so nothing overflows; its logarithm is never that of a rounded 0.",
        ),
        Activation(
            "log_softmax",
            log_softmax,
            whole_axis=True,
            caveats="Computed with a shifted log-sum-exp; finite for every finite input.",
        ),
    )
}

LAYERS = {"prelu": "layers.PReLU() after this one", "maxout": "layers.Maxout(units, pieces) in the place of Dense"}


def activation(given, where: str = "activation", **options) -> Activation:
    """The activation of a name, of an :class:`Activation`, or of your own function of one scalar expression.

    Parameters
    ----------
    given : str, dict, Activation, callable or None
        A dict has a name and options, as ``{"name": "leaky_relu", "alpha": 0.2}``.
    where : str
        What an error should say it is about.
    **options
        Numbers in the definition: ``alpha`` of leaky_relu and elu, ``beta`` of swish, or what your function takes.

    >>> activation("relu").init
    'he_normal'
    >>> activation("leaky_relu", alpha=0.2).config()
    {'name': 'leaky_relu', 'alpha': 0.2}
    >>> own = activation(lambda u: u**2*sigmoid(u))
    """
    if isinstance(given, str) and given in LAYERS:
        raise DeriveError(f"{where}: {given!r} is a layer, not a function of one value; accepted is {LAYERS[given]}")
    return find(
        "linear" if given is None else given, Activation, own, "a function of one scalar expression", options, where
    )
