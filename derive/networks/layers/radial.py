"""Radial basis functions: units that answer to how near the input is to their centre."""

from __future__ import annotations

from sympy import Rational, exp

from derive.language.nodes import Sum
from derive.language.tensor import Tensor
from derive.networks.initializers import Initializer, initializer

from .base import Layer
from .builder import Builder, apart, whole
from .registry import in_catalogue


@in_catalogue
class RBF(Layer):
    r"""Gaussian units over the last axis.

    .. math:: d_{bj} = \sum_i (x_{bi} - c_{ji})^2, \qquad h_{bj} = e^{-d_{bj} / (2 s_j^2)}

    Centres and widths are parameters; the classical network keeps them where clustering put them (``trainable=False``)
    and trains the linear layer above: ``t.params |= nx.rbf_centres(model, X)`` sets both from the data.

    Parameters
    ----------
    units : int
        How many centres.
    centres_initializer, widths_initializer : str, number or callable
        standard_normal, which suits standardized inputs, and 1.  A width may not be 0; its sign does not matter.
    name : str, optional
        The parameters are ``<name>_centres`` (J, I) and ``<name>_widths`` (J,).
    trainable : bool

    Notes
    -----
    Far from every centre all units, and so the gradients, underflow to 0: in float32 beyond about 14 widths.

    References
    ----------
    Broomhead, Lowe, *Multivariable functional interpolation and adaptive networks*, Complex Systems 2 (1988).
    Moody, Darken, *Fast learning in networks of locally-tuned processing units*, Neural Computation 1 (1989).

    >>> from derive import Sequential
    >>> model = Sequential([RBF(4)], input_shape=(2,))
    >>> print(model.output.definition.body)
    exp(-d1[b, j]/(2*rbf_1_widths[j]**2))
    >>> print(model.backprop("mean_squared_error").gradient("d1"))
    dd1[b,j] = -h1[b,j] dh1[b,j] / (2 rbf_1_widths[j]^2)
    """

    kind = "rbf"
    gives = "nonnegative"

    def __init__(
        self,
        units: int,
        centres_initializer: Initializer = "standard_normal",
        widths_initializer: Initializer = 1,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name, trainable)
        self.units = whole(units, f"RBF({units!r}): units")
        self.centres_initializer = initializer(centres_initializer, f"RBF({units!r}): centres_initializer")
        self.widths_initializer = initializer(widths_initializer, f"RBF({units!r}): widths_initializer")

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        *outer, i = x.indices
        j = new.axis(self.units)
        i = apart(i, j)
        centres = new.parameter("centres", j, i, init=self.centres_initializer)
        widths = new.parameter("widths", j, init=self.widths_initializer)
        d = new.define("d", (*outer, j), Sum((x[(*outer, i)] - centres[j, i]) ** 2, i))
        return new.define("h", d.indices, exp(-d[d.indices] * widths[j] ** -2 * Rational(1, 2)))
