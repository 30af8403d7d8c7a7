"""Activations that learn: a slope for each unit, or the largest of several linear pieces."""

from __future__ import annotations

from derive.language.nodes import Sum
from derive.language.tensor import Tensor
from derive.networks.activations import maxout, prelu
from derive.networks.initializers import Initializer, PerGate, initializer

from .base import Layer
from .builder import Builder, apart, whole
from .registry import in_catalogue


@in_catalogue
class PReLU(Layer):
    r"""A leaky relu whose slope is learned.

    .. math:: h_{bk} = z_{bk} \text{ where } z_{bk} > 0, \quad \alpha_k z_{bk} \text{ elsewhere}

    The derivative at the kink is that of the left piece, :math:`\alpha_k`.

    Parameters
    ----------
    shared : bool
        One slope for all units instead of one for each position of the last axis (a channel, in images).
    alpha_initializer : str, number or callable
        Of the slope; 0.25.
    name : str, optional
        The parameter is ``<name>_slope``, (K,) or ().
    trainable : bool

    References
    ----------
    He, Zhang, Ren, Sun, *Delving deep into rectifiers*, ICCV 2015.

    >>> from derive import Sequential
    >>> from derive.networks.layers import Dense
    >>> model = Sequential([Dense(3), PReLU()], input_shape=(2,))
    >>> print(model.backprop("mean_squared_error").gradient("prelu_1_slope"))
    d_prelu_1_slope[j] = sum_b dh2[b,j] {0 if z1[b,j] > 0; z1[b,j] otherwise}
    """

    kind = "prelu"
    gives = "values"

    def __init__(
        self,
        shared: bool = False,
        alpha_initializer: Initializer = 0.25,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name, trainable)
        self.shared, self.alpha_initializer = bool(shared), initializer(alpha_initializer, "PReLU: alpha_initializer")

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        axes = () if self.shared else x.indices[-1:]
        slope = new.parameter("slope", *axes, init=self.alpha_initializer)
        return new.define("h", x.indices, prelu(x[x.indices], slope[axes]))


@in_catalogue
class Maxout(Layer):
    r"""The largest of several linear functions of the last axis.

    .. math:: z_{bjr} = \sum_i x_{bi} W_{ijr} + c_{jr}, \qquad h_{bj} = \max_r z_{bjr}

    The gradient goes to the first of the largest pieces.

    Parameters
    ----------
    units : int
        The size of the last axis of the output.
    pieces : int
        How many linear functions each unit chooses among.
    use_bias : bool
    kernel_initializer, bias_initializer : str, number or callable
        Of every piece by itself.
    name : str, optional
        The parameters are ``<name>_kernel`` (I, J, R) and ``<name>_bias`` (J, R).
    trainable : bool

    References
    ----------
    Goodfellow, Warde-Farley, Mirza, Courville, Bengio, *Maxout networks*, ICML 2013.

    >>> from derive import Sequential
    >>> model = Sequential([Maxout(3, pieces=2)], input_shape=(5,))
    >>> model.parameters["maxout_1_kernel"].shape, model.output.definition.body
    ((5, 3, 2), max[r](z1[b, j, r]))
    """

    kind = "maxout"
    gives = "values"

    def __init__(
        self,
        units: int,
        pieces: int = 2,
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name, trainable)
        self.units = whole(units, f"Maxout({units!r}): units")
        self.pieces = whole(pieces, f"Maxout({units!r}): pieces")
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializer(kernel_initializer, f"Maxout({units!r}): kernel_initializer")
        self.bias_initializer = initializer(bias_initializer, f"Maxout({units!r}): bias_initializer")

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        *outer, i = x.indices
        j, r = new.axis(self.units), new.axis(self.pieces, "r")
        i = apart(i, j)
        kernel = new.parameter("kernel", i, j, r, init=PerGate(self.kernel_initializer, axis=2))
        body = Sum(x[(*outer, i)] * kernel[i, j, r], i)
        if self.use_bias:
            body += new.parameter("bias", j, r, init=PerGate(self.bias_initializer, axis=1))[j, r]
        return new.define("h", (*outer, j), maxout(new.define("z", (*outer, j, r), body)))
