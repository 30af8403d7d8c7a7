r"""Losses: forward definitions of a scalar from the model's output and the target ``y``, as data.

================================  ===========================  ==============================================
name                              target ``y``                 cost of an element, an example or a class
================================  ===========================  ==============================================
mean_squared_error                floats, shape of the output  :math:`(z - y)^2`
mean_absolute_error               the same                     :math:`|z - y|`
mean_absolute_percentage_error    the same                     :math:`100\,|z - y| / |y|`
mean_squared_logarithmic_error    the same, not negative       :math:`(\log(1+z) - \log(1+y))^2`
logcosh                           floats, shape of the output  :math:`\log\cosh(z - y)`
huber                             the same                     :math:`d^2/2` or :math:`\delta(|d| - \delta/2)`
poisson                           the same, not negative       :math:`z - y\log z`
cosine                            floats, shape of the output  :math:`1 - z \cdot y / (|z||y|)`
hinge                             -1 or 1                      :math:`\max(0, 1 - yz)`
squared_hinge                     -1 or 1                      :math:`\max(0, 1 - yz)^2`
categorical_hinge                 one-hot                      :math:`\max(0, 1 + \max(1-y)z - yz)`
softmax_cross_entropy             probabilities                :math:`\sum_k y_k(\log\sum_j e^{z_j} - z_k)`
sparse_softmax_cross_entropy      integer labels               :math:`\log\sum_j e^{z_j} - z_y`
sigmoid_binary_cross_entropy      floats in [0, 1]             :math:`\log(1+e^z) - yz`
categorical_cross_entropy         probabilities                :math:`-\sum_k y_k \log p_k`
sparse_categorical_cross_entropy  integer labels               :math:`-\log p_y`
binary_cross_entropy              floats in [0, 1]             :math:`-y\log p - (1-y)\log(1-p)`
kullback_leibler                  probabilities                :math:`\sum_k y_k\log(y_k/p_k)`
================================  ===========================  ==============================================

The scalar is the mean over the batch and all outer axes, and over all elements where the cost is that of an element.

The three with softmax or sigmoid in their name read logits.  Those with ``p`` in their definition read probabilities,
literally: the engine finds the stable form by itself when those probabilities come from a softmax or a sigmoid.  Target
probabilities are declared to sum to 1, a fact that the derivation records where it uses it.

A loss of your own is a function of two tensors, or of two scalars, the cost of an element; it gets everything the
built-in ones get.

>>> from derive import Sequential, layers as L
>>> cauchy = Loss("cauchy", lambda z, y: sympy.log(1 + (z - y)**2), per="element")
>>> d = Sequential([L.Dense(3)], input_shape=(2,)).backprop(cauchy.with_options(sample_weight=True))
>>> print(d.gradient("z1"))
dz1[b,j] = 2 sample_weight[b] (z1[b,j] - y[b,j]) / (B J ((z1[b,j] - y[b,j])^2 + 1))
>>> d.check().ok
True
"""

from __future__ import annotations

import sympy

from derive.networks.catalogue import find
from . import distribution, margin, regression
from .base import LOSSES, Loss, own

_CLIP = "The option clip, 0 by default, raises probabilities below it to it; the gradient is 0 there."
_OPEN = f"0 < p < 1, which softmax and sigmoid give: the logarithm is taken before rounding could make p 0. {_CLIP}"
_LOGITS = "Every finite logit."
_EVERY = "Every finite prediction."
_FUSED = "Fused: no exponential overflows and no logarithm is taken of a rounded 0."
_SCALE = "Squares overflow in float32 for differences above 1.8e19."

LOSSES |= {
    loss.name: loss
    for loss in (
        Loss("mean_squared_error", regression.mean_squared_error, per="element", domain=_EVERY, caveats=_SCALE),
        Loss(
            "mean_absolute_error",
            regression.mean_absolute_error,
            per="element",
            domain=_EVERY,
            caveats="The derivative at z = y is 0.",
        ),
        Loss(
            "mean_absolute_percentage_error",
            regression.mean_absolute_percentage_error,
            per="element",
            domain="Targets other than 0: a smaller |y| than 1e-7 (the option least) counts as that.",
            caveats="The derivative at z = y is 0. Large for targets near 0, whatever the error.",
        ),
        Loss(
            "mean_squared_logarithmic_error",
            regression.mean_squared_logarithmic_error,
            "nonnegative",
            "nonnegative",
            "element",
            domain="z >= 0 and y >= 0: a negative z counts as 0, and its gradient is 0.",
            caveats="End the network in softplus or relu. The derivative at z = 0 is 0, that of the clip.",
        ),
        Loss(
            "logcosh",
            regression.logcosh,
            per="element",
            domain=_EVERY,
            caveats="Evaluated as |d| + log(1 + exp(-2|d|)) - log 2, so that cosh does not overflow; its gradient is tanh "
            "d. The value of a tiny d is right to an absolute, not a relative, rounding error.",
        ),
        Loss(
            "huber",
            regression.huber,
            per="element",
            domain=f"{_EVERY} delta > 0.",
            caveats="Once differentiable: both pieces have the derivative delta at |d| = delta.",
        ),
        Loss(
            "poisson",
            regression.poisson,
            "nonnegative",
            "nonnegative",
            "element",
            domain="z > 0 and y >= 0: in the logarithm a smaller z than 1e-7 (the option least) counts as that.",
            caveats="End the network in softplus. Below the clip only the first term has a gradient, 1.",
        ),
        Loss(
            "cosine",
            distribution.cosine,
            per="example",
            domain="Rows other than 0: a smaller sum of squares than 1e-12 (the option least) counts as that.",
            caveats="The gradient grows as 1/|z|: it does not see lengths. Squares overflow in float32 above 1.8e19.",
        ),
        Loss("hinge", margin.hinge, "signs", per="element", domain=_EVERY, caveats="The derivative at yz = 1 is 0."),
        Loss("squared_hinge", margin.squared_hinge, "signs", per="element", domain=_EVERY, caveats=_SCALE),
        Loss(
            "categorical_hinge",
            margin.categorical_hinge,
            "probabilities",
            per="example",
            domain=f"{_EVERY} One-hot targets.",
            caveats="The strongest wrong class gets the gradient; at a tie the first. The right class takes part in the "
            "maximum as 0.",
        ),
        Loss(
            "softmax_cross_entropy",
            distribution.softmax_cross_entropy,
            "probabilities",
            "logits",
            "class",
            "categorical_cross_entropy",
            _LOGITS,
            _FUSED,
        ),
        Loss(
            "sparse_softmax_cross_entropy",
            distribution.softmax_cross_entropy,
            "labels",
            "logits",
            "class",
            "sparse_categorical_cross_entropy",
            _LOGITS,
            _FUSED,
        ),
        Loss(
            "sigmoid_binary_cross_entropy",
            distribution.sigmoid_binary_cross_entropy,
            "bits",
            "logits",
            "element",
            "binary_cross_entropy",
            _LOGITS,
            _FUSED,
        ),
        Loss(
            "categorical_cross_entropy",
            distribution.categorical_cross_entropy,
            "probabilities",
            "probabilities",
            "class",
            "softmax_cross_entropy",
            _OPEN,
            "Of a probability that is exactly 0 it is infinite, or 0 times infinity.",
        ),
        Loss(
            "sparse_categorical_cross_entropy",
            distribution.categorical_cross_entropy,
            "labels",
            "probabilities",
            "class",
            "sparse_softmax_cross_entropy",
            _OPEN,
            "Of a probability that is exactly 0 it is infinite.",
        ),
        Loss(
            "binary_cross_entropy",
            distribution.binary_cross_entropy,
            "bits",
            "bits",
            "element",
            "sigmoid_binary_cross_entropy",
            _OPEN,
            "Of a probability that is exactly 0 or 1 it is infinite, or 0 times infinity.",
        ),
        Loss(
            "kullback_leibler",
            distribution.kullback_leibler,
            "probabilities",
            "probabilities",
            "example",
            domain=_OPEN,
            caveats="Targets may be 0, where y log y = 0. Its gradient is that of the cross-entropy.",
        ),
    )
}


def loss(given, **options) -> Loss:
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
    >>> loss(lambda z, y: Sum(abs(z[z.letters] - y[z.letters]), *z.letters)).target
    'values'
    """
    return find(given, Loss, own, "a function (output, y) -> scalar expression", options)
