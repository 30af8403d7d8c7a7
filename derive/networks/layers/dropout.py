"""Dropout: a product with a mask that is drawn outside the equations."""

from __future__ import annotations

from fractions import Fraction

from sympy import Rational

from derive.language.errors import DeriveError, ShapeError
from derive.language.index import Index
from derive.language.tensor import Tensor

from .base import Layer
from .builder import Builder
from .numbers import exact
from .registry import in_catalogue


@in_catalogue
class Dropout(Layer):
    r"""Each element is kept with probability 1 - rate, and then made larger by as much.

    .. math:: h_{b,i} = \frac{m_{b,i}}{1 - \text{rate}}\, x_{b,i}, \qquad m_{b,i} \in \{0, 1\}

    The mask m is an input ``<name>_mask`` with role "random", listed in ``model.random`` with its probability and drawn
    for every training step; ``model.forward()`` has no dropout.

    Parameters
    ----------
    rate : float
        The share that is dropped, from 0, below 1.
    name : str, optional

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, *Dropout*, JMLR 15 (2014).

    >>> from derive import Sequential
    >>> from derive.networks.layers import Dense
    >>> model = Sequential([Dropout(0.5), Dense(3)], input_shape=(2,))
    >>> model.random["dropout_1_mask"]
    Random(name='dropout_1_mask', tensor=<float tensor dropout_1_mask(B, I)>, chance=Fraction(1, 2), layer='dropout_1')
    >>> [t.name for t in model.forward().program.inputs]
    ['dense_1_bias', 'dense_1_kernel', 'x']
    """

    kind = "dropout"

    def __init__(self, rate: float, name: str | None = None):
        super().__init__(name)
        self.rate, self._rate = rate, exact(rate, f"{type(self).__name__}: rate")
        if not 0 <= self._rate < 1:
            raise DeriveError(f"{type(self).__name__}: rate is {rate}; accepted is a number from 0, below 1")

    def masked(self, x: Tensor, new: Builder) -> tuple[Index, ...]:
        """The letters of the mask."""
        return x.indices

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        if not new.training:
            return x
        kept = Rational(1) - self._rate
        letters = self.masked(x, new)
        mask = new.draw("mask", *letters, chance=Fraction(int(kept.p), int(kept.q)))
        return new.define("h", x.indices, mask[letters] * x[x.indices] / kept)


@in_catalogue
class SpatialDropout(Dropout):
    r"""Dropout of whole channels: :math:`h_{b,p,q,c} = \frac{m_{b,c}}{1 - \text{rate}}\, x_{b,p,q,c}`.

    Parameters as for :class:`Dropout`; for sequences, images and volumes.

    References
    ----------
    Tompson, Goroshin, Jain, LeCun, Bregler, *Efficient object localization using convolutional networks*, CVPR 2015.

    >>> from derive import Sequential
    >>> Sequential([SpatialDropout(0.2)], input_shape=(4, 5, 3)).random["spatial_dropout_1_mask"].tensor
    <float tensor spatial_dropout_1_mask(B, C)>
    """

    kind = "spatial_dropout"

    def masked(self, x: Tensor, new: Builder) -> tuple[Index, ...]:
        if x.rank < 3:
            raise ShapeError(
                f"SpatialDropout reads (B, T, C), (B, H, W, C) or (B, D, H, W, C); it was given {new.shape(x)}"
            )
        return x.indices[0], x.indices[-1]
