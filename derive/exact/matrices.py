"""The checker's own table of matrix leaves: inverse, determinant and log-determinant in any field, by elimination.

Over dual numbers this differentiates the elimination itself, which the derivation (d inv(A) = -inv(A) dA inv(A)) knows
nothing of: neither can copy the other's mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from .abstract import Element, Field, V
from .field import DualField, Undefined

Matrix: TypeAlias = Sequence[list[V]]  # its rows


def _pivot(F: Field[V], rows: Matrix[V], column: int) -> int:
    """The row to eliminate with: any pivot in an exact field, the largest one in reals."""
    regular = []
    for n in range(column, len(rows)):
        base, v = _primal(F, rows[n][column])
        if not base.is_zero(v):
            regular.append((n, v))
    if not regular:
        raise Undefined("a singular matrix")
    return regular[0][0] if F.exact else max(regular, key=lambda r: abs(r[1]))[0]


def _primal(F: Field[Element], v: Element) -> tuple[Field[Element], Element]:
    """The value under all tangents, and its field: a pivot with a zero value has no inverse whatever its tangent is."""
    return _primal(F.base, v[0]) if isinstance(F, DualField) else (F, v)


def eliminated(F: Field[V], matrix: Matrix[V], right: Matrix[V]) -> tuple[Matrix[V], V]:
    """``(solution of matrix X = right, determinant)`` over a field, by Gaussian elimination."""
    size = len(matrix)
    rows = [[*a, *b] for a, b in zip(matrix, right, strict=True)]
    determinant = F.one
    for c in range(size):
        n = _pivot(F, rows, c)
        if n != c:
            rows[c], rows[n], determinant = rows[n], rows[c], F.neg(determinant)
        determinant = F.mul(determinant, rows[c][c])
        scale = F.div(F.one, rows[c][c])
        rows[c] = [F.mul(v, scale) for v in rows[c]]
        for r in range(size):
            if r != c and not F.is_zero(rows[r][c]):
                factor = rows[r][c]
                rows[r] = [F.sub(v, F.mul(factor, u)) for v, u in zip(rows[r], rows[c], strict=True)]
    return [row[size:] for row in rows], determinant


def _inverse(F: Field[V], matrix: Matrix[V]) -> Matrix[V]:
    identity = [[F.one if i == j else F.zero for j in range(len(matrix))] for i in range(len(matrix))]
    return eliminated(F, matrix, identity)[0]


def _determinant(F: Field[V], matrix: Matrix[V]) -> V:
    return eliminated(F, matrix, [[] for _ in matrix])[1]


def _magnitude(F: Field[V], v: V) -> V:
    return F.neg(v) if F.sign(v) < 0 else v


# what ``Equation.reduce`` says -> ``(F, rows)`` of a matrix as lists of field elements: nested lists, or one element
MATRIX_VALUES: dict[str, Callable[[Field[Any], Matrix[Any]], Any]] = {
    "inverse": _inverse,
    "det": _determinant,
    "logdet": lambda F, matrix: F.log(_determinant(F, matrix)),
    "logabsdet": lambda F, matrix: F.log(_magnitude(F, _determinant(F, matrix))),
}
