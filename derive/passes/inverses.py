"""A matrix times its inverse is the identity: ``sum_j (A^-1)[x,j] A[j,y] = [x = y]``, either way round."""

from __future__ import annotations

from dataclasses import replace

from derive.language.index import Index
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Row, Term

from .matrices import matrix_of
from .rule import Rule

INVERSE = Rule("inverse", "Inverses", "A matrix times its inverse is the identity, and a sum over one is gone.")


def cancelled(t: Term, inverses: dict[Tensor, Equation], used: list[Equation]) -> Term:
    """The term with every such sum gone; ``inverses`` are the equations of inverses by their tensor."""
    for j in t.bnd:
        holders = [f for f in t.fac if j in f.free_symbols]
        if (
            len(holders) != 2
            or not all(isinstance(f, Read) for f in holders)
            or any(j in r.free_symbols for r in t.rows)
        ):
            continue
        for inverse, matrix in (holders, holders[::-1]):
            ends = _ends(inverse, matrix, inverses.get(inverse.tensor), j)
            if ends is None:
                continue
            used.append(inverses[inverse.tensor])
            left = replace(
                t,
                fac=tuple(f for f in t.fac if f not in holders),
                bnd=tuple(b for b in t.bnd if b != j),
                rows=(*t.rows, Row("==", *ends)),
            )
            return cancelled(left, inverses, used)
    return t


def _ends(inverse: Read, matrix: Read, eq: Equation | None, j: Index) -> tuple[Index, Index] | None:
    """The two letters that the identity ties, where the two meet at j and are one another's inverse."""
    if eq is None:
        return None
    of = matrix_of(eq)
    batch = of.xreplace(dict(zip(eq.idx[:-2], inverse.idx[:-2], strict=True))).idx[:-2]
    if matrix.tensor != of.tensor or matrix.idx[:-2] != batch:
        return None
    row, column = matrix.idx[-2:] if of.idx[-2:] == eq.over else matrix.idx[:-3:-1]
    first, second = inverse.idx[-2:]
    ends = (first, column) if second == row == j else (row, second) if first == column == j else None
    return ends if ends and all(isinstance(e, Index) and e != j for e in ends) else None
