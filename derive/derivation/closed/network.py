"""A term of an equation as a product of matrices: its summed letters removed one by one, the rest at the free ones.

Letters are the nodes of a network, a vector stands at one, a matrix joins two (as in
:mod:`derive.show.formulas.matrix_products`, which draws; here values are computed).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from derive.language.index import Index

from .algebra import NoClosedForm, Polynomial, constant, ones
from .functions import commuted, kron, stacked
from .rules import diag, diagonal, hadamard, part, times, trace
from .transposes import HALVES, transposed


@dataclass(frozen=True)
class Edge:
    """A scalar, vector or matrix by the letters that it stands at: none, one or two; or a bracket ``[j <= i]``."""

    value: Polynomial
    at: tuple[Index, ...] = ()
    half: str = ""  # of a bracket: the part of a matrix over these letters that it leaves, "tril" or "triu"


def bracket(first: Index, second: Index) -> Edge:
    """``[first <= second]``, a matrix of ones above and on its diagonal."""
    whole = times(ones(first.size), transposed(ones(second.size)))
    return Edge(part("triu", whole), (first, second), "triu")


def contracted(edges: Sequence[Edge], bound: Sequence[Index], idx: Sequence[Index]) -> Polynomial:
    """``sum_{bound} prod edges`` over the free letters ``idx``, as a scalar, a vector or a matrix.

    Over four letters it is a Kronecker product, of what stands at the first and third and at the second and fourth.
    """
    left = list(bound)
    work = _bracketed([_own_diagonal(e) for e in edges], idx)
    while left:
        done = next(
            (
                (b, made)
                for n in range(len(work) + 1)
                for b in left
                if len(_touching(work, b)) == n and (made := _without(work, b, left)) is not None
            ),
            None,
        )
        if done is None:
            raise NoClosedForm("a sum over a letter that more than two matrices share is no product of matrices")
        letter, work = done
        left = [b for b in left if b != letter and (_touching(work, b) or b not in _letters(edges))]
    return _placed(work, idx) if len(idx) < 3 else _kronecker(work, idx)


def _bracketed(edges: Sequence[Edge], idx: Sequence[Index]) -> list[Edge]:
    """Brackets that hold a summed letter as parts of the matrices beside them."""
    work = list(edges)
    for e in [e for e in edges if e.half and not set(e.at) <= set(idx)]:
        beside = next((f for f in work if f != e and set(f.at) == set(e.at) and len(f.at) == 2), None)
        if beside is not None:
            work = [f for f in work if f not in (e, beside)]
            work.append(Edge(hadamard(_turned(beside, e.at[0]), e.value), e.at))
    return work


def _kronecker(edges: Sequence[Edge], idx: Sequence[Index]) -> Polynomial:
    if len(idx) != 4:
        raise NoClosedForm(f"a tensor of {len(idx)} axes is no matrix")
    for first, second, made in (
        ((idx[0], idx[2]), (idx[1], idx[3]), kron),
        ((idx[0], idx[3]), (idx[1], idx[2]), commuted),
        ((idx[0], idx[1]), (idx[2], idx[3]), stacked),
    ):
        left = [e for e in edges if set(e.at) <= set(first)]
        right = [e for e in edges if e not in left]
        if all(set(e.at) <= set(second) for e in right):
            return made(_placed(left, first), _placed(right, second))
    raise NoClosedForm("it is no product of two matrices, each over two of its four axes")


def _letters(edges: Sequence[Edge]) -> set[Index]:
    return {i for e in edges for i in e.at}


def _touching(edges: Sequence[Edge], letter: Index) -> list[Edge]:
    return [e for e in edges if letter in e.at]


def _own_diagonal(e: Edge) -> Edge:
    return Edge(diagonal(e.value), e.at[:1]) if len(e.at) == 2 and e.at[0] == e.at[1] else e


def _turned(e: Edge, first: Index) -> Polynomial:
    """The matrix of an edge with ``first`` as its rows."""
    return e.value if e.at[0] == first else transposed(e.value)


def _product(vectors: Sequence[Edge]) -> Polynomial | None:
    found: Polynomial | None = None
    for v in vectors:
        found = v.value if found is None else hadamard(found, v.value)
    return found


def _without(edges: Sequence[Edge], j: Index, bound: Sequence[Index]) -> list[Edge] | None:
    """The network without the summed letter j, or None where this way there is no matrix form."""
    here = _touching(edges, j)
    rest = [e for e in edges if j not in e.at]
    if not here:
        return [*rest, Edge(constant(j.size))]
    vectors, matrices = [e for e in here if len(e.at) == 1], [e for e in here if len(e.at) == 2]
    others = [next(i for i in m.at if i != j) for m in matrices]
    weight = _product(vectors)
    if not matrices:
        assert weight is not None
        if len(vectors) == 1:
            return [*rest, Edge(times(transposed(ones(j.size)), weight))]
        first = _product(vectors[1:])
        assert first is not None
        return [*rest, Edge(times(transposed(vectors[0].value), first))]
    if len(matrices) == 1:
        return [*rest, Edge(times(_turned(matrices[0], others[0]), weight or ones(j.size)), (others[0],))]
    if len(matrices) > 2:
        same = [m for m, o in zip(matrices, others, strict=True) if o == others[0]]
        if len(same) < 2:
            return None
        joined = same[0].value if len(same) == 1 else _parallel(same)
        return _without([*(e for e in edges if e not in same), Edge(joined, same[0].at)], j, bound)
    first_, second = (_turned(m, o) for m, o in zip(matrices, others, strict=True))
    middle = times(first_, diag(weight)) if weight is not None else first_
    if others[0] != others[1]:
        return [*rest, Edge(times(middle, transposed(second)), (others[0], others[1]))]
    i = others[0]
    square = times(middle, transposed(second))
    if i in bound and not any(i in e.at for e in rest):
        return [*rest, Edge(trace(square))]
    return [*rest, Edge(diagonal(square), (i,))]


def _parallel(same: Sequence[Edge]) -> Polynomial:
    found = same[0].value
    for e in same[1:]:
        found = hadamard(found, _turned(e, same[0].at[0]))
    return found


def _placed(edges: Sequence[Edge], idx: Sequence[Index]) -> Polynomial:
    result = constant(1)
    for e in edges:
        if not e.at:
            result = times(result, e.value)
    if not idx:
        return result
    vectors = {i: _product([e for e in edges if e.at == (i,)]) for i in idx}
    if len(idx) == 1:
        return times(result, vectors[idx[0]] or ones(idx[0].size))
    i, j = idx
    half = next((e for e in edges if e.half), None)
    if half is not None:
        inside = _placed([e for e in edges if e != half], idx)
        return part(half.half if half.at == (i, j) else HALVES[half.half], inside)
    matrices = [Edge(_turned(e, i), (i, j)) for e in edges if len(e.at) == 2]
    u, v = vectors[i], vectors[j]
    if not matrices:
        return times(result, u or ones(i.size), transposed(v or ones(j.size)))
    body = _parallel(matrices)
    body = times(diag(u), body) if u is not None else body
    return times(result, times(body, diag(v)) if v is not None else body)
