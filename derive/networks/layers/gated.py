"""A product of two linear maps, one through an activation: a gate for every unit."""

from __future__ import annotations

from derive.language.nodes import Sum
from derive.language.tensor import Tensor
from derive.networks.activations import GivenActivation
from derive.networks.activations import activation as find_activation
from derive.networks.initializers import Initializer, initializer

from .base import Layer
from .builder import Builder, apart, whole
from .part import Part
from .registry import in_catalogue


@in_catalogue
class GatedDense(Layer):
    r"""Two fully connected maps over the last axis, one of them the gate of the other.

    .. math::

        g_{bj} = f\Bigl(\sum_i x_{bi} W^g_{ij} + c^g_j\Bigr), \qquad
        h_{bj} = g_{bj} \Bigl(\sum_i x_{bi} W_{ij} + c_j\Bigr)

    With ``"sigmoid"`` it is a gated linear unit, with ``"silu"`` SwiGLU, with ``"gelu"`` GEGLU.

    Parameters
    ----------
    units : int
    activation : str, Activation or callable
        Of the gate.
    use_bias : bool
    kernel_initializer, bias_initializer : str, number or callable
    name : str, optional
        The parameters are ``<name>_gate_kernel``, ``<name>_gate_bias``, ``<name>_kernel`` and ``<name>_bias``.
    trainable : bool

    References
    ----------
    Dauphin, Fan, Auli, Grangier, *Language modeling with gated convolutional networks*, ICML 2017; Shazeer, *GLU variants
    improve transformer*, arXiv:2002.05202 (2020).

    >>> from derive import Sequential
    >>> {n: p.shape for n, p in Sequential([GatedDense(3, use_bias=False)], input_shape=(2,)).parameters.items()}
    {'gated_dense_1_gate_kernel': (2, 3), 'gated_dense_1_kernel': (2, 3)}
    """

    kind = "gated_dense"
    gives = "values"

    def __init__(
        self,
        units: int,
        activation: GivenActivation = "silu",
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name, trainable)
        where = f"GatedDense({units!r})"
        self.units = whole(units, f"{where}: units")
        self.activation = find_activation(activation, where)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializer(kernel_initializer, f"{where}: kernel_initializer")
        self.bias_initializer = initializer(bias_initializer, f"{where}: bias_initializer")

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        *outer, i = x.indices
        j = new.axis(self.units)
        i = apart(i, j)
        at = (*outer, j)
        made = []
        for part in (Part.of(new, "gate"), new):
            kernel = part.parameter("kernel", i, j, init=self.kernel_initializer)
            z = Sum(x[(*outer, i)] * kernel[i, j], i)
            if self.use_bias:
                z += part.parameter("bias", j, init=self.bias_initializer)[j]
            made.append(part.activated(at, z, self.activation) if part is not new else part.define("z", at, z))
        gate, value = made
        return new.define("h", at, gate[at] * value[at])
