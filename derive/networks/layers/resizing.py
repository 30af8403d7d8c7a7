"""Larger images: zeros around them, or positions in between."""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Eq, Expr, Integer, Mul, Piecewise, Rational

from derive.language.errors import DeriveError
from derive.language.index import Index
from derive.language.nodes import Iverson, Sum
from derive.language.tensor import Tensor

from .base import Layer
from .builder import Builder
from .geometry import PerAxis, check_rank, pairs, per_axis
from .registry import in_catalogue

NEW, OLD, WITHIN = "pqd", "uvw", "ijk"  # letters: positions of the larger image, of the smaller, between two of those


class ZeroPadding(Layer):
    rank = 2

    def __init__(self, padding: int | Sequence = 1, name: str | None = None):
        super().__init__(name)
        where = type(self).__name__
        if isinstance(padding, str):
            raise DeriveError(
                f"{where}: padding is {padding!r}; accepted is a whole number, or one number or pair "
                f"(before, after) for each of the {self.rank} axes"
            )
        self.padding, self.pairs = padding, pairs(padding, self.rank, where)

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        check_rank(x, self.rank, type(self).__name__, new)
        b, c = x.indices[0], x.indices[-1]
        axes = [Index(OLD[n], size + sum(self.pairs[n])) for n, size in enumerate(x.axes[1:-1])]
        return new.define("h", (b, *axes, c), self._moved(x, b, c, axes))

    def _moved(self, x: Tensor, b: Index, c: Index, axes: list[Index]) -> Expr:
        """The image read ``before`` positions earlier; where nothing is before, at the same position if it exists."""
        at, over, rows = [], [], []
        for n, (i, (before, after), size) in enumerate(zip(axes, self.pairs, x.axes[1:-1], strict=True)):
            if before == 0 and after > 0:  # a bare index must have the size of its axis
                over.append(Index(NEW[n], size))
                rows.append(Iverson(Eq(i, over[-1])))
            at.append(over[-1] if before == 0 and after > 0 else i - before)
        read = x[(b, *at, c)]
        return Sum(Mul(read, *rows), *over) if over else read


@in_catalogue
class ZeroPadding1D(ZeroPadding):
    r"""Zeros before and after a sequence (B, T, C): :math:`h_{b,u,c} = x_{b,\,u - P,\,c}`, zero where that is outside.

    >>> from derive import Sequential
    >>> Sequential([ZeroPadding1D((2,))], input_shape=(5, 3)).shape_of("zero_padding1d_1")
    (9, 3)
    """

    kind, rank = "zero_padding1d", 1


@in_catalogue
class ZeroPadding2D(ZeroPadding):
    r"""Zeros around an image (B, H, W, C): :math:`h_{b,u,v,c} = x_{b,\,u - P,\,v - P,\,c}`, zero if that is outside.

    Parameters
    ----------
    padding : int or tuple
        A number for all sides, or for each axis a number or a pair (before, after).
    name : str, optional

    >>> from derive import Sequential
    >>> model = Sequential([ZeroPadding2D(((1, 2), 3))], input_shape=(4, 5, 2))
    >>> model.shape(model.output), model.output.definition.body
    ((B, 7, 11, 2), x[b, u - 1, v - 3, c])
    """

    kind = "zero_padding2d"


@in_catalogue
class ZeroPadding3D(ZeroPadding):
    """Zeros around a volume (B, D, H, W, C); parameters as for :class:`ZeroPadding2D`.

    >>> from derive import Sequential
    >>> Sequential([ZeroPadding3D(1)], input_shape=(2, 3, 4, 1)).shape_of("zero_padding3d_1")
    (4, 5, 6, 1)
    """

    kind, rank = "zero_padding3d", 3


class UpSampling(Layer):
    rank = 2

    def __init__(self, size: PerAxis = 2, interpolation: str = "nearest", name: str | None = None):
        super().__init__(name)
        where = type(self).__name__
        self.size, self.factors = size, per_axis(size, self.rank, f"{where}: size")
        if interpolation not in ("nearest", "bilinear"):
            raise DeriveError(f"{where}: interpolation is {interpolation!r}; accepted are 'nearest' and 'bilinear'")
        self.interpolation = interpolation

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        check_rank(x, self.rank, type(self).__name__, new)
        b, c = x.indices[0], x.indices[-1]
        olds = [Index(OLD[n], size) for n, size in enumerate(x.axes[1:-1])]
        axes = [Index(NEW[n], f * u.size) for n, (f, u) in enumerate(zip(self.factors, olds, strict=True))]
        body, over = x[(b, *olds, c)], list(olds)
        for n, (f, p, u) in enumerate(zip(self.factors, axes, olds, strict=True)):
            if self.interpolation == "nearest":
                i = Index(WITHIN[n], Integer(f))
                body, over = body * Iverson(Eq(p, f * u + i)), [*over, i]
            else:
                body *= _weights(f, p, u, "st"[n] if n < 2 else "r", new)[p, u]
        return new.define("h", (b, *axes, c), Sum(body, *over))


def _weights(f: int, p: Index, u: Index, letter: str, new: Builder) -> Tensor:
    r"""How much of position ``u`` there is at ``p`` of a larger axis: a hat of width f, summing to 1 at the rim too."""
    twice = 2 * p + 1 - f - 2 * f * u  # 2f times the distance between the centres
    hat = Piecewise(
        (1 - Rational(1, 2 * f) * twice, (twice >= 0) & (twice < 2 * f)),
        (1 + Rational(1, 2 * f) * twice, (twice < 0) & (-2 * f < twice)),
        (0, True),
    )
    made = new.define(f"{letter}hat", (p, u), hat)
    other = Index(f"{u.name}'", u.size)
    return new.define(letter, (p, u), made[p, u] / Sum(made[p, other], other))


@in_catalogue
class UpSampling1D(UpSampling):
    r"""Each position of a sequence (B, T, C) repeated; parameters as for :class:`UpSampling2D`.

    >>> from derive import Sequential
    >>> Sequential([UpSampling1D(3)], input_shape=(4, 2)).shape_of("up_sampling1d_1")
    (12, 2)
    """

    kind, rank = "up_sampling1d", 1


@in_catalogue
class UpSampling2D(UpSampling):
    r"""An image (B, H, W, C) made F times as large, by repetition or by bilinear interpolation.

    .. math:: h_{b,p,q,c} = \sum_{u,i,v,j} x_{b,u,v,c}\,[p = Fu + i]\,[q = Fv + j], \qquad
              h_{b,p,q,c} = \sum_{u,v} S_{pu} T_{qv}\, x_{b,u,v,c}

    with :math:`S_{pu}` falling off linearly with the distance between the centres of p and u, and summing to 1 over u.

    Parameters
    ----------
    size : int or pair of int
    interpolation : "nearest" or "bilinear"
    name : str, optional

    >>> from derive import Sequential
    >>> Sequential([UpSampling2D(2)], input_shape=(4, 5, 2)).shape_of("up_sampling2d_1")
    (8, 10, 2)
    """

    kind = "up_sampling2d"


@in_catalogue
class UpSampling3D(UpSampling):
    """A volume (B, D, H, W, C) made larger; parameters as for :class:`UpSampling2D`.

    >>> from derive import Sequential
    >>> Sequential([UpSampling3D((1, 2, 2))], input_shape=(3, 4, 5, 2)).shape_of("up_sampling3d_1")
    (3, 8, 10, 2)
    """

    kind, rank = "up_sampling3d", 3
