r"""Windows that move over an image: sizes, strides, dilations and paddings of convolution and pooling.

Along each axis a window of ``R`` taps, ``D`` apart, moves by ``S`` over ``H`` positions with ``P`` and ``Q`` positions
of padding before and after.  Tap ``r`` of output ``u`` reads position

.. math:: S u + D r - P, \qquad 0 \le u < U = \lfloor (H + P + Q - D(R - 1) - 1)/S \rfloor + 1

"valid" has no padding.  "same" is TensorFlow's: :math:`U = \lceil H/S \rceil`, and of the padding that this needs,
:math:`S(U - 1) + D(R - 1) + 1 - H` or none, the larger half stands after.  The window is made of numbers, the image's
size stays a symbol: where the padding before depends on it, as with an odd window and stride 2, it is a formula of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sympy import Expr, Integer, expand, floor

from derive.language.errors import DeriveError, ShapeError
from derive.language.index import Index
from derive.language.tensor import Tensor

from .builder import Builder, whole
from .sizes import quotient

AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
SHAPES = {1: "(B, T, C)", 2: "(B, H, W, C)", 3: "(B, D, H, W, C)"}
PerAxis = int | Sequence[int]  # one number for all axes, or one each
Padding = str | int | Sequence[int | Sequence[int]]
Pairs = tuple[tuple[int, int], ...]
OUT, TAPS = "uvw", "rst"  # the letters of outputs and of taps


@dataclass(frozen=True)
class Reach:
    """A window in its place along one axis: the output's index, the taps' index, and what they read."""

    u: Index
    r: Index
    at: Expr
    padded: bool  # whether a window reads outside at some size of what is read
    size: Expr  # of what is read


@dataclass(frozen=True)
class Window:
    """The geometry of a layer: one number an axis; padding is "valid", "same" or ``((before, after), ...)``."""

    where: str
    size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: str | Pairs
    dilation: tuple[int, ...]

    @classmethod
    def of(
        cls,
        where: str,
        rank: int,
        size: PerAxis,
        stride: PerAxis = 1,
        padding: Padding = "valid",
        dilation: PerAxis = 1,
    ) -> Window:
        """Checked; numbers stand for all axes."""
        return cls(
            where,
            per_axis(size, rank, f"{where}: the window"),
            per_axis(stride, rank, f"{where}: strides"),
            paddings(padding, rank, where),
            per_axis(dilation, rank, f"{where}: dilation_rate"),
        )

    @property
    def rank(self) -> int:
        return len(self.size)

    def over(self, x: Tensor, new: Builder) -> list[Reach]:
        """The window over the axes of ``x`` between the batch and the channels."""
        check_rank(x, self.rank, self.where, new)
        return [self._along(n, axis, x, new) for n, axis in enumerate(x.axes[1:-1])]

    def _along(self, n: int, size: Expr, x: Tensor, new: Builder) -> Reach:
        taps, step, apart = self.size[n], self.stride[n], self.dilation[n]
        width = apart * (taps - 1) + 1
        if self.padding == "same":
            out = quotient(size - 1, step) + 1 if step > 1 else size
            before, padded = _same_before(size, out, step, width, new), width > 1
        else:
            sides = self.pair(n)
            have, around = new.number(size), sum(sides)
            if have + around < width:
                raise ShapeError(self._no_output(n, have, width, around, x, new))
            out = expand(quotient(size + around - width, step) + 1)
            before, padded = Integer(sides[0]), around > 0
        u, r = Index(OUT[n], out), Index(TAPS[n], Integer(taps))
        return Reach(u, r, step * u + apart * r - before, padded, size)

    def pair(self, n: int) -> tuple[int, int]:
        """The padding before and after along an axis, where it is no word of :meth:`over`'s: none if it is "valid"."""
        return (0, 0) if isinstance(self.padding, str) else self.padding[n]

    def _no_output(self, n: int, have: int, width: int, padding: int, x: Tensor, new: Builder) -> str:
        shape = tuple(new.number(a) for a in x.axes[1:])
        dilated = f" with dilation {self.dilation[n]}" if self.dilation[n] > 1 else ""
        said = (
            f"{self.where}: no output is left along the {AXES[self.rank][n]} (axis {n + 1}): a window of "
            f"{self.size[n]}{dilated} spans {width}, and there are {have}"
            f"{f' + {padding} of padding' if padding else ''}"
        )
        first = self.rank > 1 and shape[0] < min(shape[1:])
        hint = (
            (
                f"; {new.shape(x)} looks channel-first: images are {SHAPES[self.rank]}, so input_shape "
                f"{(*shape[1:], shape[0])}"
            )
            if first
            else "; use padding='same', a smaller window or a larger input"
        )
        return said + hint


def _same_before(size: Expr, out: Expr, step: int, width: int, new: Builder) -> Expr:
    """The positions of "same" padding before an axis: a number where it is one at every size, else a formula of the size.

    ``size`` positions are ``missing`` short of ``out`` whole strides; what is padded is ``max(width - step + missing, 0)``.
    """
    cases = [max(width - step + missing, 0) // 2 for missing in range(step)]
    missing = expand(step * out - size)
    if len(set(cases)) == 1:
        return Integer(cases[0])
    if step == 2:
        return cases[0] + (cases[1] - cases[0]) * missing
    if width >= step:
        return floor((width - step + missing) / 2)
    new.equal.append((size, Integer(new.number(size))))  # a window that leaves gaps: its formula is a max of sizes
    return Integer(cases[-new.number(size) % step])


def check_rank(x: Tensor, rank: int, where: str, new: Builder) -> None:
    """An image of the right number of axes, or an error that says the order of axes."""
    if x.rank != rank + 2:
        raise ShapeError(f"{where} reads {SHAPES[rank]}, channels last; it was given {x.rank} axes, {new.shape(x)}")


def per_axis(value: PerAxis, rank: int, what: str) -> tuple[int, ...]:
    """One positive whole number for every axis, given one for all or one each."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != rank:
            raise ShapeError(
                f"{what} is {tuple(value)!r}; accepted is one number, or {rank}, one an axis ({', '.join(AXES[rank])})"
            )
        return tuple(whole(v, what) for v in value)
    return (whole(value, what),) * rank


def paddings(value: Padding, rank: int, where: str) -> str | Pairs:
    """ "valid", "same", a number for all sides, one for each axis, or a pair ``(before, after)`` for each axis."""
    if isinstance(value, str):
        if value not in ("valid", "same"):
            raise DeriveError(f"{where}: padding is {value!r}; accepted are {_accepted(rank)}")
        return value
    return pairs(value, rank, where)


def pairs(value: int | Sequence[int | Sequence[int]], rank: int, where: str) -> Pairs:
    """The numbers (before, after) for each axis, of one number, one for each axis or a pair for each."""
    if not isinstance(value, Sequence):
        return ((_count(value, where),) * 2,) * rank
    if len(value) != rank:
        raise ShapeError(f"{where}: padding is {value!r}; accepted are {_accepted(rank)}")
    each = [tuple(v) if isinstance(v, Sequence) and not isinstance(v, str) else (v, v) for v in value]
    if any(len(p) != 2 for p in each):
        raise ShapeError(f"{where}: padding is {value!r}; a pair is (before, after)")
    return tuple((_count(p[0], where), _count(p[1], where)) for p in each)


def _accepted(rank: int) -> str:
    return f"'valid', 'same', a whole number, or one number or pair (before, after) for each of the {rank} axes"


def _count(value: Any, where: str) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < 0:
        raise ShapeError(f"{where}: padding {value!r} is not a whole number from 0")
    return value.__index__()
