"""Inputs on which a declared equality or structure holds, in any field: no root is taken, so that they exist mod p."""

from __future__ import annotations

from collections.abc import Sequence

from derive.language.facts import structure_of
from derive.language.tensor import Tensor

from .abstract import Element
from .compile import Array
from .field import CaseField
from .matrices import eliminated


def make_orthogonal(array: Array, field: CaseField) -> None:
    """Cayley's ``Q = (I + S)^-1 (I - S)`` with ``S' = -S`` of the elements above the diagonal: ``Q'Q = I``."""
    n = array.shape[0]
    plus = [[field.one if i == j else field.zero for j in range(n)] for i in range(n)]
    minus = [list(row) for row in plus]
    for i in range(n):
        for j in range(i + 1, n):
            s = array.data[i * n + j]
            plus[i][j], plus[j][i] = s, field.neg(s)
            minus[i][j], minus[j][i] = field.neg(s), s
    array.data[:] = [v for row in eliminated(field, plus, minus)[0] for v in row]


def make_unit(array: Array, field: CaseField) -> None:
    """The stereographic ``x = (2 t, t't - 1) / (t't + 1)`` of all elements but the last: ``x'x = 1``."""
    t = array.data[:-1]
    square = field.zero
    for v in t:
        square = field.add(square, field.mul(v, v))
    scale = field.div(field.one, field.add(square, field.one))
    double = field.add(scale, scale)
    last = field.mul(field.sub(square, field.one), scale)
    array.data[:] = [*(field.mul(double, v) for v in t), last]


def make_structured(array: Array, kind: str, field: CaseField) -> None:
    """A matrix of a declared structure: zeros where it has none, first row and column along its diagonals."""
    rows, columns = array.shape
    for i in range(rows):
        for j in range(columns):
            if not is_free(kind, i, j):
                array.data[i * columns + j] = field.zero
            elif kind == "toeplitz":
                least = min(i, j)
                array.data[i * columns + j] = array.data[(i - least) * columns + j - least]


def is_free(kind: str, i: int, j: int) -> bool:
    """Whether an entry at (i, j) may be other than zero."""
    return {"diagonal": i == j, "lower_triangular": i >= j, "upper_triangular": i <= j}.get(kind, True)


def gathered(t: Tensor, data: Sequence[Element], field: CaseField, shape: Sequence[int]) -> Sequence[Element]:
    """What a change of each free entry by these numbers changes the matrix by: each adds wherever its entry stands.

    Of the entries of a symmetric matrix (i, j) and (j, i) are one, so that both numbers add at both places.  The map is
    its own adjoint: it makes the gradient by all entries that by the free ones.  Unchanged where nothing is tied.
    """
    kind = structure_of(t) if t.is_input else None
    if kind is None:
        return data
    rows, columns = shape[-2:]
    out = []
    for at in range(len(data)):
        block, place = divmod(at, rows * columns)
        i, j = divmod(place, columns)
        if not is_free(kind, i, j):
            out.append(field.zero)
            continue
        same = {(i, j), (j, i)} if kind == "symmetric" else {(i, j)}
        if kind == "toeplitz":
            same = {(p, p + j - i) for p in range(rows) if 0 <= p + j - i < columns}
        total = field.zero
        for p, q in sorted(same):
            total = field.add(total, data[block * rows * columns + p * columns + q])
        out.append(total)
    return out
