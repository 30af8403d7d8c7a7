"""Inputs on which a declared equality holds, in any field: no root is taken, so that they exist mod p."""

from __future__ import annotations

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
