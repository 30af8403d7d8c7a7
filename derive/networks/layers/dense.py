"""The fully connected layer."""

from __future__ import annotations

from sympy import Expr

from derive.language.errors import DeriveError, ShapeError
from derive.language.index import Index
from derive.language.nodes import Sum
from derive.language.tensor import Tensor
from derive.networks.activations import GivenActivation
from derive.networks.activations import activation as find_activation
from derive.networks.initializers import Initializer, initializer

from .base import Layer
from .builder import Builder, apart, whole
from .embedding import Embedding
from .registry import in_catalogue


@in_catalogue
class Dense(Layer):
    r"""A fully connected layer over the last axis.

    .. math:: z_{bj} = \sum_i x_{bi} W_{ij} + c_j, \qquad h_{bj} = f(z_{bj})

    Parameters
    ----------
    units : int
        The size of the last axis of the output; with ``tied_to`` it is the number of rows of the table.
    activation : str, Activation or callable, optional
        A name of :mod:`derive.networks.activations`, or your own function of one scalar expression; linear by default.
    use_bias : bool
    kernel_initializer, bias_initializer : str, number or callable
        Initializers; the kernel's default is the activation's (he_normal for relu, else glorot_uniform), the bias
        starts at zero.
    tied_to : Embedding, optional
        A layer of the same model, whose table is the kernel: :math:`z_{bv} = \sum_i x_{bi} E_{vi} + c_v`, as of a language
        model's last layer.  The table's gradient is the sum of both.
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
        units: int | None = None,
        activation: GivenActivation = None,
        use_bias: bool = True,
        kernel_initializer: Initializer | None = None,
        bias_initializer: Initializer = "zeros",
        tied_to: Embedding | str | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name, trainable)
        where = f"Dense({units!r})" if name is None else f"Dense({units!r}, name={name!r})"
        if isinstance(tied_to, Embedding):
            units = tied_to.input_dim if units is None else units
        elif tied_to is not None and not isinstance(tied_to, str):
            raise DeriveError(
                f"{where}: tied_to is {tied_to!r}; accepted is a layer L.Embedding of the same model, or its name"
            )
        self.units, self.tied_to = whole(units, f"{where}: units"), tied_to
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
        if self.tied_to is not None:
            table = self._table(x, new)
            j = apart(Index("v", table.axes[0]), *outer, i)
            return self._mapped((*outer, j), Sum(x[(*outer, i)] * table[j, i], i), j, new)
        j = new.axis(self.units)
        i = apart(i, j)
        kernel = new.parameter("kernel", i, j, init=self.kernel_initializer)
        return self._mapped((*outer, j), Sum(x[(*outer, i)] * kernel[i, j], i), j, new)

    def _mapped(self, at: tuple[Index, ...], z: Expr, j: Index, new: Builder) -> Tensor:
        if self.use_bias:
            z += new.parameter("bias", j, init=self.bias_initializer)[j]
        return new.activated(at, z, self.activation)

    def _table(self, x: Tensor, new: Builder) -> Tensor:
        """The table of the embedding that this layer is tied to, of a row as wide as what comes in."""
        name = self.tied_to if isinstance(self.tied_to, str) else new.names.get(self.tied_to)
        found = None if name is None else new.parameters.get(f"{name}_table")
        if found is None:
            raise DeriveError(
                f"tied_to is {name or 'an Embedding'}, which does not stand before this layer in the model; accepted is an "
                f"L.Embedding that this model calls earlier"
            )
        if found.shape != (self.units, new.number(x.axes[-1])):
            raise ShapeError(
                f"tied to {found.name} of shape {found.shape}, but the layer has {self.units} units and was given "
                f"{new.shape(x)}; accepted is what has the {found.shape[1]} channels of a row, and {found.shape[0]} units"
            )
        new.same(found.tensor.axes[1], x.axes[-1], "a tied table")
        return found.tensor
