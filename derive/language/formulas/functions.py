r"""What people write with matrices, as tensors and index expressions.

    inverse(A)       A_inv[i,j] = (A^-1)[i,j]          a leaf
    logdet(A)        log det A                         a leaf
    det(A)           det A                             a leaf
    solve(A, b)      sum_j A_inv[i,j] b[j]             the inverse times the right-hand side
    trace(A)         sum_i A[i,i]
    norm2(x)         sqrt(sum of all squares)          of a matrix this is the Frobenius norm
    kron(A, B)       K[i M + k, j N + l] = A[i,j] B[k,l]

Axes before the last two are a batch.
"""

from __future__ import annotations

from collections.abc import Iterable

import sympy
from sympy import Eq, Expr

from derive.language.define import define
from derive.language.errors import DeriveError, ShapeError
from derive.language.index import Index, same_size
from derive.language.matrices import Determinant, Inverse, LogDet
from derive.language.naming import primed
from derive.language.nodes import Iverson, Sum
from derive.language.tensor import Read, Tensor


def letters_of(t: Tensor, taken: Iterable[Index] = ()) -> tuple[Index, ...]:
    """An index for every axis of a tensor, its own letters where they are free and distinct."""
    found: list[Index] = []
    own = tuple(taken)
    for n, axis in enumerate(t.axes):
        letter = t.letters[n] if n < len(t.letters) else None
        name = letter.name if letter is not None else "ijklmnpq"[n % 8]
        found.append(Index(primed(name, {i.name for i in (*found, *own)}), axis))
    return tuple(found)


def _square(t: Tensor, what: str) -> tuple[Index, ...]:
    if not isinstance(t, Tensor):
        raise DeriveError(
            f"{what}({t}): takes a tensor, as made by dv.tensor or dv.define; an expression of elements goes "
            f"into dv.{'Inverse' if what == 'inverse' else 'LogDet'}(A[p, q], ...)"
        )
    if t.rank < 2 or not same_size(*t.axes[-2:]):
        raise ShapeError(
            f"{what}({t.name}): {t.name} has axes ({', '.join(map(str, t.axes))}); accepted is a square matrix, "
            f"or a batch of them: two last axes of one size"
        )
    return letters_of(t)


def inverse(t: Tensor, name: str | None = None) -> Tensor:
    r"""The inverse :math:`A^{-1}` of a square matrix, or of each in a batch; named ``A_inv`` if not otherwise.

    Parameters
    ----------
    t : Tensor
        Axes (..., N, N).
    name : str, optional

    Returns
    -------
    Tensor
        Computed, of the same axes.

    Raises
    ------
    ShapeError
        If the last two axes are not of one size.

    References
    ----------
    Magnus, Neudecker, *Matrix Differential Calculus*, 3rd ed., chapter 8: :math:`dA^{-1} = -A^{-1}\,dA\,A^{-1}`.

    >>> import derive as dv
    >>> p, q = dv.indices("p q", size="N")
    >>> A, a = dv.tensor("A", p, q), dv.tensor("a", p)
    >>> f = dv.define("f", (), dv.Sum(a[p] * dv.inverse(A)[p, q] * a[q], p, q))
    >>> print(dv.backprop(f, wrt=[a]).program.equation("A_inv"))
    A_inv[p,q] = (A^-1)[p,q]
    """
    *batch, i, j = _square(t, "inverse")
    p, q = (Index(f"{x.name}'", x.size) for x in (i, j))
    if any(p.name == x.name or q.name == x.name for x in (*batch, i, j)):
        p, q = (Index(f"{x.name}''", x.size) for x in (i, j))
    return define(name or f"{t.name}_inv", (*batch, i, j), Inverse(t[(*batch, p, q)], (p, q), i, j))


def logdet(t: Tensor) -> Expr:
    r""":math:`\log\det A` of a matrix of positive determinant, as an expression; of a batch, over its indices.

    >>> import derive as dv
    >>> p, q = dv.indices("p q", size="N")
    >>> A = dv.tensor("A", p, q, facts=[dv.positive_definite])
    >>> print(dv.backprop(dv.define("f", (), dv.logdet(A)), wrt=[A]).gradient(A))
    dA[p,q] = A_inv[q,p]
    """
    *batch, p, q = _square(t, "logdet")
    return LogDet(t[(*batch, p, q)], p, q)


def det(t: Tensor) -> Expr:
    """The determinant of a regular square matrix, as an expression."""
    *batch, p, q = _square(t, "det")
    return Determinant(t[(*batch, p, q)], p, q)


def solve(t: Tensor, right: Tensor, name: str | None = None) -> Tensor:
    r"""The solution X of :math:`A X = B` for a vector or matrix B: the inverse times the right-hand side.

    >>> import derive as dv
    >>> p, q = dv.indices("p q", size="N")
    >>> A, b = dv.tensor("A", p, q), dv.tensor("b", p)
    >>> dv.solve(A, b).axes
    (N,)
    """
    *batch, i, j = _square(t, "solve")
    if batch:
        raise ShapeError(
            f"solve({t.name}, {right.name}): {t.name} is a batch; write Sum(inverse({t.name})[b, i, j] * "
            f"{right.name}[...], j)"
        )
    if right.rank not in (1, 2) or not same_size(right.axes[0], t.axes[0]):
        raise ShapeError(
            f"solve({t.name}, {right.name}): {t.name} has axes ({', '.join(map(str, t.axes))}), {right.name} "
            f"({', '.join(map(str, right.axes))}); the first axis of {right.name} must be {t.axes[0]}"
        )
    inv = inverse(t)
    rest = letters_of(right, (i, j))[1:]
    return define(name or f"{t.name}_solve", (i, *rest), Sum(inv[i, j] * right[(j, *rest)], j))


def trace(t: Tensor) -> Expr:
    """``sum_i A[i, i]`` of a square matrix, over the batch indices of the rest.

    >>> import derive as dv
    >>> trace(dv.tensor("A", *dv.indices("p q", size="N")))
    sum[p](A[p, p])
    """
    *batch, p, _ = _square(t, "trace")
    return Sum(t[(*batch, p, p)], p)


def norm2(t: Tensor) -> Expr:
    """``sqrt(sum x^2)`` over all axes: the Euclidean norm of a vector, the Frobenius norm of a matrix.

    >>> import derive as dv
    >>> norm2(dv.tensor("x", *dv.indices("i")))
    sqrt(sum[i](x[i]**2))
    """
    at = letters_of(t)
    if not at:
        return sympy.Abs(Read(t))
    return sympy.sqrt(Sum(t[at] ** 2, *at))


def kron(a: Tensor, b: Tensor, name: str | None = None) -> Tensor:
    r"""The Kronecker product :math:`K_{iM+k,\,jN+l} = A_{ij} B_{kl}`, its positions kept as mixed-radix rows.

    >>> import derive as dv
    >>> A, B = dv.tensor("A", *dv.indices("i j")), dv.tensor("B", *dv.indices("k l"))
    >>> dv.kron(A, B).axes
    (I*K, J*L)
    """
    for t in (a, b):
        if not isinstance(t, Tensor) or t.rank != 2:
            raise ShapeError(f"kron({a}, {b}): takes two matrices, tensors of two axes")
    i, j = letters_of(a)
    k, l = letters_of(b, (i, j))  # noqa: E741  the letters of the formula
    r, c = (Index(n, x) for n, x in (("r", i.size * k.size), ("c", j.size * l.size)))
    taken = {x.name for x in (i, j, k, l)}
    r, c = (Index(x.name + ("'" if x.name in taken else ""), x.size) for x in (r, c))
    body = Sum(a[i, j] * b[k, l] * Iverson(Eq(r, i * k.size + k)) * Iverson(Eq(c, j * l.size + l)), i, j, k, l)
    return define(name or f"{a.name}_kron_{b.name}", (r, c), body)
