r"""Activation functions: forward definitions, as data.  Their derivatives are derived, here as everywhere.

TABLE

``prelu(u, alpha)`` and ``maxout(z)`` are expressions for layers, :class:`derive.networks.layers.PReLU` and
:class:`derive.networks.layers.Maxout`: the one has a parameter, the other takes an axis away.

The default weights are the initializer of the weights *before* the activation when none is asked for: ``relu`` halves
the second moment, so its weights get twice the variance (gain :math:`\sqrt2`, He et al. 2015), and so do those that are
nearly it; ``selu`` is made for variance :math:`1/n`; the others start near their linear part (gain 1, Glorot and
Bengio 2010).  What an activation gives decides which losses read it, see :mod:`derive.networks.losses`.

An activation of the catalogue is one file of this folder, with a function under :func:`in_catalogue`.  One of your own is a
function of one scalar expression, and gets everything the built-in ones get: the derivation, the exact check, the
program.

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

from types import ModuleType
from typing import Any

from derive.language.errors import DeriveError
from derive.networks.catalogue import find, import_all, table
from .base import ACTIVATIONS, Activation, GivenActivation, in_catalogue, own
from .axis import log_softmax, maxout, softmax
from .kinked import elu, hard_sigmoid, hard_tanh, leaky_relu, prelu, relu, selu, threshold
from .smooth import gaussian, gelu, gelu_tanh, linear, mish, sigmoid, softplus, softsign, swish, tanh

# the names above are for readers and type checkers; an activation is public without being listed
import_all(__name__, __path__)
for _name, _entry in ACTIVATIONS.items():
    if isinstance(globals().get(_name), ModuleType | None):  # a file may be called like its function
        globals()[_name] = _entry.rule
__doc__ = (__doc__ or "").replace(
    "TABLE",
    table(("name", "default weights", "gives", "definition"), ACTIVATIONS.values(), lambda a: (a.init, a.gives)),
)

LAYERS = {"prelu": "layers.PReLU() after this one", "maxout": "layers.Maxout(units, pieces) in the place of Dense"}


def activation(given: GivenActivation, where: str = "activation", **options: Any) -> Activation:
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
