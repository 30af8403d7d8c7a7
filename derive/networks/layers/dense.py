"""The fully connected layer."""

from __future__ import annotations

from derive.language.nodes import Sum
from derive.language.tensor import Tensor
from derive.networks.activations import GivenActivation
from derive.networks.activations import activation as find_activation
from derive.networks.initializers import Initializer, initializer

from .base import Layer
from .builder import Builder, apart, whole
from .registry import in_catalogue


@in_catalogue
class Dense(Layer):
    r"""A fully connected layer over the last axis.

    .. math:: z_{bj} = \sum_i x_{bi} W_{ij} + c_j, \qquad h_{bj} = f(z_{bj})

    Parameters
    ----------
    units : int
        The size of the last axis of the output.
    activation : str, Activation or callable, optional
        A name of :mod:`derive.networks.activations`, or your own function of one scalar expression; linear by default.
    use_bias : bool
    kernel_initializer, bias_initializer : str, number or callable
        Initializers; the kernel's default is the activation's (he_normal for relu, else glorot_uniform), the bias
        starts at zero.
    name : str, optional
        ``dense_1`` and so on if not given; the parameters are ``<name>_kernel`` (I, J) and ``<name>_bias`` (J,).
    trainable : bool

    >>> from derive import Sequential
    >>> model = Sequential([Dense(3, activation="tanh")], input_shape=(2,))
    >>> {name: p.shape for name, p in model.parameters.items()}
    {'dense_1_kernel': (2, 3), 'dense_1_bias': (3,)}
    """

    kind = "dense"

    def __init__(
        self,
        units: int,
        activation: GivenActivation = None,
        use_bias: bool = True,
        kernel_initializer: Initializer | None = None,
        bias_initializer: Initializer = "zeros",
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name, trainable)
        where = f"Dense({units!r})" if name is None else f"Dense({units!r}, name={name!r})"
        self.units = whole(units, f"{where}: units")
        self.activation = find_activation(activation, where)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializer(
            kernel_initializer if kernel_initializer is not None else self.activation.init,
            f"{where}: kernel_initializer",
        )
        self.bias_initializer = initializer(bias_initializer, f"{where}: bias_initializer")
        self.gives = self.activation.gives

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        *outer, i = x.indices
        j = new.axis(self.units)
        i = apart(i, j)
        kernel = new.parameter("kernel", i, j, init=self.kernel_initializer)
        z = Sum(x[(*outer, i)] * kernel[i, j], i)
        if self.use_bias:
            z += new.parameter("bias", j, init=self.bias_initializer)[j]
        return new.activated((*outer, j), z, self.activation)
