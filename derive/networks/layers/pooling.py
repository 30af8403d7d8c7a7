"""Pooling: the largest or the mean value of a window; over the positions that exist."""

from __future__ import annotations

from sympy import And, Expr, Integer, Mul, Piecewise

from derive.language.errors import ShapeError
from derive.language.index import Index
from derive.language.nodes import Max, Sum
from derive.language.tensor import Tensor

from .base import Layer
from .builder import Builder
from .geometry import AXES, OUT, Padding, PerAxis, Reach, Window
from .registry import in_catalogue


class Pool(Layer):
    """What the poolings share: a window, by default one that moves by its own size."""

    rank = 2

    def __init__(
        self,
        pool_size: PerAxis = 2,
        strides: PerAxis | None = None,
        padding: Padding = "valid",
        name: str | None = None,
    ):
        super().__init__(name)
        self.pool_size, self.strides, self.padding = pool_size, strides, padding
        self.window = Window.of(
            type(self).__name__, self.rank, pool_size, pool_size if strides is None else strides, padding
        )

    def reach(self, x: Tensor, new: Builder) -> list[Reach]:
        """The window over ``x``; every window holds a position of the image, whatever its size."""
        if not isinstance(self.window.padding, str):
            for n, (sides, taps) in enumerate(zip(self.window.padding, self.window.size, strict=True)):
                if max(sides) >= taps:
                    raise ShapeError(
                        f"{type(self).__name__}: along the {AXES[self.rank][n]} (axis {n + 1}) a window of "
                        f"{taps} lies wholly in the padding ({sides[0]} before, {sides[1]} "
                        f"after); accepted is less padding than the window"
                    )
        return self.window.over(x, new)


class MaxPool(Pool):
    def connect(self, x: Tensor, new: Builder) -> Tensor:
        b, c, reach = x.indices[0], x.indices[-1], self.reach(x, new)
        read = x[(b, *(a.at for a in reach), c)]
        return new.define("h", (b, *(a.u for a in reach), c), Max(read, *(a.r for a in reach)))


class AvgPool(Pool):
    def __init__(
        self,
        pool_size: PerAxis = 2,
        strides: PerAxis | None = None,
        padding: Padding = "valid",
        count_padding: bool = False,
        name: str | None = None,
    ):
        super().__init__(pool_size, strides, padding, name)
        self.count_padding = bool(count_padding)

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        b, c, reach = x.indices[0], x.indices[-1], self.reach(x, new)
        total = Sum(x[(b, *(a.at for a in reach), c)], *(a.r for a in reach))
        return new.define(
            "h", (b, *(a.u for a in reach), c), total * Mul(*(self._share(a, n, new) for n, a in enumerate(reach)))
        )

    def _share(self, a: Reach, n: int, new: Builder) -> Expr:
        """One over how many positions a window has along one axis."""
        if self.count_padding or not a.padded:
            return 1 / a.r.size
        exists = And(a.at >= 0, a.at < a.size)
        count = new.define(f"n{OUT[n]}", (a.u,), Sum(Piecewise((Integer(1), exists), (0, True)), a.r))
        return 1 / count[a.u]


@in_catalogue
class MaxPool1D(MaxPool):
    r"""The largest value of a window of a sequence (B, T, C): :math:`h_{b,u,c} = \max_r x_{b,\,Su + r - P,\,c}`.

    Parameters as for :class:`MaxPool2D`.

    >>> from derive import Sequential
    >>> Sequential([MaxPool1D(3, strides=2)], input_shape=(7, 2)).shape_of("max_pool1d_1")
    (3, 2)
    """

    kind, rank = "max_pool1d", 1


@in_catalogue
class MaxPool2D(MaxPool):
    r"""The largest value of a window of an image (B, H, W, C).

    .. math:: h_{b,u,v,c} = \max_{r,s}\; x_{b,\,Su + r - P,\,Sv + s - P,\,c}

    Only positions that exist take part, so padding never wins.  The gradient goes to the first maximiser, row by row.

    Parameters
    ----------
    pool_size : int or pair of int
    strides : int or pair of int, optional
        The size itself if not given; less than it makes windows overlap.
    padding : "valid", "same", int, or tuple
        As for :class:`Conv2D`; less than the window.
    name : str, optional

    References
    ----------
    Riesenhuber, Poggio, *Hierarchical models of object recognition in cortex*, Nature Neuroscience 2 (1999).

    >>> from derive import Sequential
    >>> model = Sequential([MaxPool2D(2)], input_shape=(6, 8, 3))
    >>> model.output.definition.body, model.output.axes
    (max[r,s](x[b, r + 2*u, s + 2*v, c]), (B, floor(H/2), floor(W/2), C))
    """

    kind = "max_pool2d"


@in_catalogue
class MaxPool3D(MaxPool):
    """The largest value of a window of a volume (B, D, H, W, C); parameters as for :class:`MaxPool2D`.

    >>> from derive import Sequential
    >>> Sequential([MaxPool3D((1, 2, 2))], input_shape=(3, 4, 5, 2)).shape_of("max_pool3d_1")
    (3, 2, 2, 2)
    """

    kind, rank = "max_pool3d", 3


@in_catalogue
class AvgPool1D(AvgPool):
    r"""The mean of a window of a sequence (B, T, C): :math:`h_{b,u,c} = \frac1R \sum_r x_{b,\,Su + r - P,\,c}`.

    Parameters as for :class:`AvgPool2D`.

    >>> from derive import Sequential
    >>> Sequential([AvgPool1D(2)], input_shape=(7, 2)).shape_of("avg_pool1d_1")
    (3, 2)
    """

    kind, rank = "avg_pool1d", 1


@in_catalogue
class AvgPool2D(AvgPool):
    r"""The mean of a window of an image (B, H, W, C).

    .. math:: h_{b,u,v,c} = \frac{1}{n_u n_v} \sum_{r,s} x_{b,\,Su + r - P,\,Sv + s - P,\,c}

    Parameters
    ----------
    pool_size, strides, padding, name
        As for :class:`MaxPool2D`.
    count_padding : bool
        Whether padding counts: then :math:`n_u` is the window's size everywhere (PyTorch's default), otherwise the
        number of its positions inside the image (TensorFlow's).

    >>> from derive import Sequential
    >>> Sequential([AvgPool2D(2)], input_shape=(6, 8, 3)).output.definition.body
    sum[r,s](x[b, r + 2*u, s + 2*v, c])/4
    """

    kind = "avg_pool2d"


@in_catalogue
class AvgPool3D(AvgPool):
    """The mean of a window of a volume (B, D, H, W, C); parameters as for :class:`AvgPool2D`.

    >>> from derive import Sequential
    >>> Sequential([AvgPool3D(2, strides=1)], input_shape=(3, 4, 5, 2)).shape_of("avg_pool3d_1")
    (2, 3, 4, 2)
    """

    kind, rank = "avg_pool3d", 3


class GlobalPool(Layer):
    def between(self, x: Tensor, new: Builder) -> tuple[Index, ...]:
        """The axes between the batch and the channels."""
        if x.rank < 3:
            raise ShapeError(
                f"{type(self).__name__} reads (B, T, C), (B, H, W, C) or (B, D, H, W, C); it was given {new.shape(x)}"
            )
        return x.indices[1:-1]


@in_catalogue
class GlobalMaxPool(GlobalPool):
    r"""The largest value of each channel: :math:`h_{b,c} = \max_{p,q} x_{b,p,q,c}`; also for sequences and volumes.

    >>> from derive import Sequential
    >>> Sequential([GlobalMaxPool()], input_shape=(6, 8, 3)).output.definition.body
    max[p,q](x[b, p, q, c])
    """

    kind = "global_max_pool"

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        return new.define("h", (x.indices[0], x.indices[-1]), Max(x[x.indices], *self.between(x, new)))


@in_catalogue
class GlobalAvgPool(GlobalPool):
    r"""The mean of each channel: :math:`h_{b,c} = \frac1{HW} \sum_{p,q} x_{b,p,q,c}`; also for sequences and volumes.

    References
    ----------
    Lin, Chen, Yan, *Network in network*, ICLR 2014.

    >>> from derive import Sequential
    >>> Sequential([GlobalAvgPool()], input_shape=(6, 8, 3)).output.definition.body
    sum[p,q](x[b, p, q, c])/(H*W)
    """

    kind = "global_avg_pool"

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        over = self.between(x, new)
        return new.define("h", (x.indices[0], x.indices[-1]), Sum(x[x.indices], *over) / Mul(*(i.size for i in over)))
