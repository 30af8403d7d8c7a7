r"""Losses: forward definitions of a scalar from the model's output and the target ``y``, as data.

TABLE

The scalar is the mean over the batch and all outer axes, and over all elements where the cost is that of an element.

The three with softmax or sigmoid in their name read logits.  Those with ``p`` in their definition read probabilities,
literally: the engine finds the stable form by itself when those probabilities come from a softmax or a sigmoid.  Target
probabilities are declared to sum to 1, a fact that the derivation records where it uses it.

A loss of the catalogue is one file of this folder, with a function under :func:`in_catalogue`.  A loss of your own is
a function of two tensors, or of two scalars, the cost of an element; it gets everything the built-in ones get.

>>> from derive import Sequential, layers as L
>>> cauchy = Loss("cauchy", lambda z, y: sympy.log(1 + (z - y)**2), per="element")
>>> d = Sequential([L.Dense(3)], input_shape=(2,)).backprop(cauchy.with_options(sample_weight=True))
>>> print(d.gradient("z1"))
dz1[b,j] = 2 sample_weight[b] (z1[b,j] - y[b,j]) / (B J ((z1[b,j] - y[b,j])^2 + 1))
>>> d.check().ok
True
"""

from __future__ import annotations

from typing import Any

import sympy

from derive.networks.catalogue import find, import_all, table
from .base import LOSSES, Loss, in_catalogue, own

import_all(__name__, __path__)
__doc__ = (__doc__ or "").replace(
    "TABLE",
    table(
        ("name", "target y", "reads", "cost of", "definition"),
        LOSSES.values(),
        lambda loss: (loss.target, loss.reads, f"each {loss.per}"),
    ),
)


def loss(given: Any, **options: Any) -> Loss:
    """The loss of a name, of a :class:`Loss`, or of your own function ``(output, y) -> scalar expression``.

    Parameters
    ----------
    given : str, dict, Loss or callable
        A dict has a name and options, as ``{"name": "huber", "delta": 2}``.
    label_smoothing : number in [0, 1), optional
        For classes and bits: this share of the target goes to all classes evenly.
    ignored : int, optional
        For labels: examples with this number for a label, such as -100 or one of the classes, have no cost and no
        gradient, and the mean is over the others; a batch of nothing else costs 0.
    sample_weight, class_weight : bool, optional
        Add the input ``sample_weight`` (B,) or ``class_weight`` (K,), which multiplies the cost of each.
    **options
        Numbers in the definition: ``delta`` of huber, ``clip`` of the losses of probabilities, ``least`` of the others
        that clip, or what your function takes.

    >>> loss("mean_squared_error").target
    'values'
    >>> loss("huber", delta=2).config()
    {'name': 'huber', 'delta': 2}
    >>> from derive import Sum
    >>> loss(lambda z, y: Sum(abs(z[z.indices] - y[z.indices]), *z.indices)).target
    'values'
    """
    return find(given, Loss, own, "a function (output, y) -> scalar expression", options)
