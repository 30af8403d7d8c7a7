r"""The derivatives of the matrix leaves, from their differentials (Magnus, Neudecker, chapter 8).

    Y = A^-1        dY = -Y dA Y            dY[i,j] / dA[p,q] = -Y[i,p] Y[q,j]
    y = log det A   dy = tr(A^-1 dA)        dy / dA[p,q] = (A^-1)[q,p]
    y = det A       dy = y tr(A^-1 dA)      dy / dA[p,q] = y (A^-1)[q,p]

The inverse is a tensor with a name, so that second derivatives are these rules again.
"""

from __future__ import annotations

from sympy import Integer

from derive.language.index import Fresh, Index
from derive.language.matrices import MATRICES, inherited, split_at
from derive.language.naming import primed
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Row, Term

from .work import NEW_NAME, Work


def slope(
    eq: Equation, idx: tuple[Index, ...], over: tuple[Index, ...], inverse: Tensor
) -> tuple[Integer, tuple[Read, ...]]:
    """Coefficient and factors of ``d eq[idx] / d M[over]``, M being the matrix; ``inverse`` holds its inverse."""
    batch, own = split_at(_kind(eq), idx)
    p, q = over
    if eq.reduce == "inverse":
        i, j = own
        return Integer(-1), (Read(inverse, *batch, i, p), Read(inverse, *batch, q, j))
    return Integer(1), (*((Read(eq.tensor, *idx),) if eq.reduce == "det" else ()), Read(inverse, *batch, q, p))


def contributions(
    eq: Equation, x: Tensor, adjoint: Tensor, free: tuple[Index, ...], fresh: Fresh, inverse: Tensor
) -> list[Term]:
    """What a matrix equation adds to the adjoint of ``x`` at the indices ``free``."""
    matrix = matrix_of(eq)
    if matrix.tensor != x:
        return []
    idx, over = tuple(fresh(i) for i in eq.idx), tuple(fresh(i) for i in eq.over)
    read = matrix.xreplace(dict(zip((*eq.idx, *eq.over), (*idx, *over), strict=True)))
    coef, fac = slope(eq, idx, over, inverse)
    rows = tuple(Row("==", m, e) for m, e in zip(free, read.idx, strict=True))
    return [Term(coef, (Read(adjoint, *idx), *fac), idx + over, rows)]


def along(
    eq: Equation, w: Tensor, extra: tuple[Index, ...], jacobians: dict[str, Tensor], fresh: Fresh, inverse: Tensor
) -> list[Term]:
    """The derivative of a matrix equation by ``w[extra]``; ``jacobians`` holds those of what it reads."""
    matrix = matrix_of(eq)
    if matrix.tensor != w and matrix.tensor.name not in jacobians:
        return []
    over = tuple(fresh(i) for i in eq.over)
    read = matrix.xreplace(dict(zip(eq.over, over, strict=True)))
    coef, fac = slope(eq, eq.idx, over, inverse)
    if read.tensor == w:
        return [Term(coef, fac, over, tuple(Row("==", e, m) for e, m in zip(extra, read.idx, strict=True)))]
    return [Term(coef, (*fac, Read(jacobians[read.tensor.name], *read.idx, *extra)), over)]


def is_matrix(eq: Equation) -> bool:
    """Whether an equation is a leaf of :data:`~derive.language.matrices.MATRICES`."""
    return eq.reduce in MATRICES


def matrix_of(eq: Equation) -> Read:
    """The read that a matrix equation takes its inverse or determinant of; ingestion leaves nothing else there."""
    (term,) = eq.terms
    (read,) = term.fac
    assert isinstance(read, Read)
    return read


def _kind(eq: Equation) -> str:
    assert eq.reduce is not None
    return eq.reduce


def inverse_of(work: Work, eq: Equation) -> Tensor:
    """The tensor that holds the inverse of the matrix of ``eq``: itself, one that is there, or a new equation."""
    if eq.reduce == "inverse":
        return eq.tensor
    for other in work.forward:
        if other.reduce == "inverse" and _same_matrix(other, eq):
            return other.tensor
    matrix = matrix_of(eq).tensor
    idx = (*eq.idx, *_letters(eq.idx, eq.over))
    t = work.tensor(work.unused(f"{matrix.name}_inv"), idx, eq.tensor.block, facts=inherited(matrix))
    made = Equation(t, idx, eq.terms, "inverse", eq.over)
    work.insert_after(eq, made)
    work.define(NEW_NAME, made, f"the inverse that the derivative of {eq.name} needs")
    return t


def _same_matrix(a: Equation, b: Equation) -> bool:
    here, there = matrix_of(a), matrix_of(b)
    batch = split_at("inverse", a.idx)[0]
    if here.tensor != there.tensor or len(batch) != len(b.idx):
        return False
    return here.xreplace(dict(zip((*batch, *a.over), (*b.idx, *b.over), strict=True))) == there


def _letters(idx: tuple[Index, ...], over: tuple[Index, ...]) -> tuple[Index, ...]:
    """Two letters for the axes of an inverse, those of its matrix where they are free."""
    out = list(idx)
    for b in over:
        out.append(Index(primed(b.name, {o.name for o in out}), b.size))
    return tuple(out[len(idx) :])
