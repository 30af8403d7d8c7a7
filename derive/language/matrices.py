r"""The leaves of matrices: :class:`Inverse`, :class:`Determinant` and :class:`LogDet`, and the closed table of them.

Each binds the two indices that name the rows and the columns of its matrix; an inverse is read at two more:

    Inverse(A[p, q], (p, q), i, j)      (A^-1)[i, j]
    LogDet(A[b, p, q], p, q)            log det A[b], for every b

``MATRICES`` says of each how many axes its value adds; how the exact check computes it stands in
:mod:`derive.exact.matrices`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from sympy import Expr, Symbol, Tuple
from sympy.printing.printer import Printer

from .errors import IndexCaptureError, ShapeError
from .facts import Follows
from .index import Index, as_sympy, same_size
from .nodes import Reduction
from .tensor import Tensor


class MatrixFunction(Reduction):
    """Base: args are the element of the matrix, its two bound indices, and the indices that the value is read at."""

    ranks = 0

    def __new__(cls, body: Expr, *rest: Expr | tuple[Index, ...]) -> Self:
        paired = bool(rest) and isinstance(rest[0], (tuple, list, Tuple))
        binders, given = (tuple(rest[0]), rest[1:]) if paired else (rest[:2], rest[2:])
        shown = f"{cls.__name__}({body}, {', '.join(map(str, (*binders, *given)))})"
        if len(binders) != 2 or len(given) != cls.ranks:
            raise IndexCaptureError(
                f"{shown}: takes the two indices of the matrix"
                + (
                    ", and the two that it is read at, as in Inverse(A[p, q], (p, q), i, j)"
                    if cls.ranks
                    else f", as in {cls.__name__}(A[p, q], p, q)"
                )
            )
        checked = Reduction.__new__(cls, body, *binders)
        p, q = checked.binders
        if not same_size(p.size, q.size):
            raise ShapeError(
                f"{shown}: the matrix is {p.size} x {q.size}; only a square one has "
                f"{'an inverse' if cls.ranks else 'a determinant'}"
            )
        if not cls.ranks:
            return checked
        at = tuple(as_sympy(e, cls.__name__) for e in given)
        if any(e.free_symbols & {p, q} for e in at):
            raise IndexCaptureError(f"{shown}: {p} and {q} are bound by the matrix; read it at other letters")
        return Expr.__new__(cls, checked.body, Tuple(p, q), *at)

    @property
    def at(self) -> tuple[Expr, ...]:
        return self.args[2:]

    @property
    def free_symbols(self) -> set[Symbol]:
        return (self.body.free_symbols - set(self.binders)).union(*(e.free_symbols for e in self.at))

    def _sympystr(self, printer: Printer) -> str:
        names = ",".join(str(b) for b in self.binders)
        inside = f"[{', '.join(printer._print(e) for e in self.at)}]" if self.at else ""
        return f"{KINDS[type(self)]}[{names}]({printer._print(self.body)}){inside}"


class Inverse(MatrixFunction):
    r"""``Inverse(A[p, q], (p, q), i, j)``: the element :math:`(A^{-1})_{ij}`.

    >>> from derive import indices, tensor
    >>> p, q, i, j = indices("p q i j", size="N")
    >>> Inverse(tensor("A", p, q)[p, q], (p, q), i, j)
    inverse[p,q](A[p, q])[i, j]
    """

    ranks = 2


class Determinant(MatrixFunction):
    r""":math:`\det A`; its derivative :math:`\det A\; A^{-\top}` is for regular matrices.

    >>> from derive import indices, tensor
    >>> p, q = indices("p q", size="N")
    >>> Determinant(tensor("A", p, q)[p, q], p, q)
    det[p,q](A[p, q])
    """


class LogDet(MatrixFunction):
    r""":math:`\log\det A`, for matrices of positive determinant; not defined elsewhere.

    >>> from derive import indices, tensor
    >>> p, q = indices("p q", size="N")
    >>> LogDet(tensor("A", p, q)[p, q], p, q)
    logdet[p,q](A[p, q])
    """


class LogAbsDet(MatrixFunction):
    r""":math:`\log|\det A|` of regular matrices, whatever the sign; what ``log(abs(det A))`` is read as.

    >>> from derive import indices, tensor
    >>> p, q = indices("p q", size="N")
    >>> LogAbsDet(tensor("A", p, q)[p, q], p, q)
    logabsdet[p,q](A[p, q])
    """


@dataclass(frozen=True)
class MatrixPrimitive:
    """One matrix leaf.

    Attributes
    ----------
    name : str
        What ``Equation.reduce`` says.
    node : type
    """

    name: str
    node: type[MatrixFunction]

    @property
    def ranks(self) -> int:
        """How many axes of the value are the matrix's own."""
        return self.node.ranks


_TABLE = (
    MatrixPrimitive("inverse", Inverse),
    MatrixPrimitive("det", Determinant),
    MatrixPrimitive("logdet", LogDet),
    MatrixPrimitive("logabsdet", LogAbsDet),
)

MATRICES: dict[str, MatrixPrimitive] = {p.name: p for p in _TABLE}
KINDS = {p.node: p.name for p in _TABLE}


def split_at(kind: str, idx: tuple[Index, ...]) -> tuple[tuple[Index, ...], tuple[Index, ...]]:
    """The indices of an equation as (those of the batch, those of the matrix)."""
    ranks = MATRICES[kind].ranks
    return idx[: len(idx) - ranks], idx[len(idx) - ranks :]


def inherited(matrix: Tensor) -> tuple[Follows, ...]:
    """What is known of the inverse, as the matrix is declared so: symmetric, positive definite."""
    return (
        tuple(Follows(f.kind, matrix.name) for f in matrix.facts if f.kind in ("symmetric", "positive_definite"))
        if matrix.rank == 2
        else ()
    )
