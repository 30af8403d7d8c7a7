r"""Networks of vectors and matrices: the summed letters of a term removed, the rest placed at the letters that are left.

A term is a network: letters are its nodes, a vector stands at one letter, a matrix joins two, a bracket ``[i = j]`` is
the identity.  Summed letters are removed one by one,

    x[i] A[i,j]          A^T x            two matrices that meet     A[i,j] B[j,k]          A B
    x[i] y[i]            x^T y            ... with a vector there    A[i,j] v[j] B[j,k]     A diag(v) B
    A[i,j] alone at j    A 1              ... at both ends           A[i,j] B[j,i]          tr(A B)

and what is left stands at the letters of the left-hand side: a scalar, a vector, ``u v^T``, ``diag(u) M`` (a matrix of a
vector; ``diagonal(M)`` is the vector of a matrix), or for a derivative by a matrix a Kronecker product.  There ``vec``
stacks rows, so that :math:`(A \otimes B)_{(i,k),(j,l)} = A_{ij} B_{kl}`, as ``dv.kron`` has it, and K is the commutation
matrix, :math:`K \operatorname{vec} X = \operatorname{vec} X^\top`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from derive.language.index import Index

from .forms import NoMatrixForm
from .layout import Apply, Fence, Inverted, Letter, Node, Num, Ones, Power, Product, Transposed, children

IDENTITY = Letter("I")


Ranks: TypeAlias = tuple[int, int]  # how the axes of a derivative split: those of what is derived, and of by what


@dataclass(frozen=True)
class Edge:
    """A scalar, vector or matrix of the network, by the letters that it stands at: none, one or two."""

    node: Node
    at: tuple[Index, ...] = ()


def transposed(node: Node) -> Node:
    """The transpose, written as far inside as it goes."""
    if isinstance(node, Transposed):
        return node.body
    if node == IDENTITY or isinstance(node, Apply) and node.fn == "diag":
        return node
    if isinstance(node, Product) and not node.op:
        return Product(tuple(map(transposed, reversed(node.items))))
    if isinstance(node, Product) and node.op == "odot":
        return Product(tuple(map(transposed, node.items)), "odot")
    if isinstance(node, Inverted):
        return Inverted(transposed(node.body))
    return Transposed(node)


def joined(*nodes: Node) -> Node:
    flat = [m for n in nodes if n != IDENTITY for m in (n.items if isinstance(n, Product) and not n.op else (n,))]
    return flat[0] if len(flat) == 1 else Product(tuple(flat)) if flat else IDENTITY


def _hadamard(nodes: list[Node]) -> Node:
    flat = [m for n in nodes for m in (n.items if isinstance(n, Product) and n.op == "odot" else (n,))]
    return flat[0] if len(flat) == 1 else Product(tuple(flat), "odot")


def _fewest(node: Node) -> Node:
    """A scalar, or what is inside a trace or a norm, or its transpose: the one with fewer transposes."""
    other = transposed(node)
    return other if _transposes(other) < _transposes(node) else node


def _transposes(node: Node) -> int:
    return isinstance(node, Transposed) + sum(map(_transposes, children(node)))


def _turned(e: Edge, first: Index) -> Node:
    """The matrix of an edge with ``first`` as its rows."""
    return e.node if e.at[0] == first else transposed(e.node)


def _diagonal(node: Node) -> Node:
    return Apply("diag", (node,))


def _trace(node: Node) -> Node:
    return Apply("tr", (node,))


def _inner(a: Node, b: Node) -> Node:
    """``a^T b``, the way round that has fewer transposes."""
    return _fewest(joined(transposed(a), b))


def _total(node: Node) -> Node:
    """The sum of a vector: a trace of what it is the diagonal of, the squared norm where that is ``A A^T``."""
    if not (isinstance(node, Apply) and node.fn == "diagonal"):
        return _fewest(joined(transposed(Ones()), node))
    inside = node.args[0]
    two = inside.items if isinstance(inside, Product) and not inside.op and len(inside.items) == 2 else None
    if two and two[1] == transposed(two[0]):
        return Power(Fence("norm", _fewest(two[0])), Num("2"))
    return _trace(_fewest(inside))


# -- removing the summed letters --------------------------------------------------------------------------------------


def summed(edges: list[Edge], bound: Iterable[Index]) -> list[Edge]:
    """The network with the summed letters removed, those with the fewest edges first."""
    left = list(bound)
    if any(not _touching(edges, b) for b in left):
        raise NoMatrixForm
    while True:
        edges = _own_diagonals(edges, left)
        left = [b for b in left if _touching(edges, b)]
        if not left:
            return edges
        few = next((b for n in (1, 2, 3) for b in left if len(_touching(edges, b)) == n), None)
        new = None if few is None else _without(edges, few)
        if new is None:
            new = _parallel(edges)
        if new is None:
            raise NoMatrixForm
        edges = new


def _touching(edges: Iterable[Edge], letter: Index) -> list[Edge]:
    return [e for e in edges if letter in e.at]


def _own_diagonals(edges: Sequence[Edge], bound: Sequence[Index]) -> list[Edge]:
    """``A[i,i]`` as the vector diag(A); the trace where i is summed and stands nowhere else."""
    out = []
    for e in edges:
        if len(e.at) == 2 and e.at[0] == e.at[1]:
            alone = e.at[0] in bound and len(_touching(edges, e.at[0])) == 1
            out.append(Edge(_trace(e.node), ()) if alone else Edge(Apply("diagonal", (e.node,)), e.at[:1]))
        else:
            out.append(e)
    return out


def _parallel(edges: Sequence[Edge]) -> list[Edge] | None:
    """Two matrices over the same two letters, or two vectors at one, as an elementwise product; None if there are none."""
    for n, e in enumerate(edges):
        for o in edges[n + 1 :]:
            if e.at and set(e.at) == set(o.at) and len(e.at) == len(o.at):
                rest = [x for x in edges if x is not e and x is not o]
                both = e.node, o.node if o.at == e.at else transposed(o.node)
                return [*rest, Edge(_hadamard(list(both)), e.at)]
    return None


def _without(edges: Sequence[Edge], j: Index) -> list[Edge] | None:
    """The network without the summed letter j, or None where this way there is no matrix form."""
    here = _touching(edges, j)
    rest = [e for e in edges if j not in e.at]
    vectors, matrices = [e for e in here if len(e.at) == 1], [e for e in here if len(e.at) == 2]
    others = [next(i for i in m.at if i != j) for m in matrices]
    if len(others) == 2 and others[0] == others[1] and len(vectors) == 0:
        return _double(rest, matrices, others[0])
    if len(vectors) > 1 and (matrices or len(vectors) > 2):
        return None  # an elementwise product first
    if not matrices:
        if len(vectors) == 1:
            return [*rest, Edge(_total(vectors[0].node))]
        a, b = (v.node for v in vectors)
        return [*rest, Edge(Power(Fence("norm", a), Num("2")) if a == b else _inner(a, b))]
    if len(matrices) == 1:
        vector = vectors[0].node if vectors else Ones()
        return [*rest, Edge(joined(_turned(matrices[0], others[0]), vector), (others[0],))]
    if len(matrices) == 2 and others[0] != others[1]:
        middle = [_diagonal(v.node) for v in vectors]
        first, second = _turned(matrices[0], others[0]), _turned(matrices[1], j)
        return [*rest, Edge(joined(first, *middle, second), tuple(others))]
    return None


def _double(rest: Sequence[Edge], matrices: Sequence[Edge], i: Index) -> list[Edge]:
    """Two matrices that join the same letters, one of them summed: the diagonal of their product, ``sum_j A[i,j] B[j,i]``."""
    a, b = (_turned(m, i) for m in matrices)
    return [*rest, Edge(Apply("diagonal", (joined(a, transposed(b)),)), (i,))]


# -- what is left, at the letters of the left-hand side ------------------------------------------------------------------


def placed(edges: list[Edge], idx: tuple[Index, ...], ranks: Ranks | None) -> list[Node]:
    edges = _own_diagonals(edges, ())
    while (merged := _parallel(edges)) is not None:
        edges = merged
    if len(idx) > 2:
        return _kronecker(_scaled(edges, idx), idx, ranks)
    vectors = {e.at[0]: e.node for e in edges if len(e.at) == 1}
    matrix = next((e for e in edges if len(e.at) == 2), None)
    if not idx:
        return []
    if len(idx) == 1:
        return [vectors.get(idx[0], Ones())]
    i, j = idx
    if matrix is None:
        return [vectors.get(i, Ones()), transposed(vectors.get(j, Ones()))]
    node = _turned(matrix, i)
    left, right = ([_diagonal(vectors[x])] if x in vectors else [] for x in (i, j))
    return [joined(*left, node, *right)]


def _scaled(edges: list[Edge], idx: Sequence[Index]) -> list[Edge]:
    """The network with vectors that stand at one end of a matrix multiplied into it, ``diag(u) M``."""
    for i in idx:
        vectors, matrices = ([e for e in _touching(edges, i) if len(e.at) == n] for n in (1, 2))
        if len(vectors) == 1 and len(matrices) == 1:
            m = matrices[0]
            j = next(x for x in m.at if x != i)
            scaled = Edge(joined(_diagonal(vectors[0].node), _turned(m, i)), (i, j))
            edges = [*(e for e in edges if e is not m and e is not vectors[0]), scaled]
    return edges


def _kronecker(edges: Sequence[Edge], idx: tuple[Index, ...], ranks: Ranks | None) -> list[Node]:
    """``A (x) B``, ``vec(A) vec(B)^T`` or ``diag(vec(A))``, where the axes split into those of two tensors."""
    if ranks is None or sum(ranks) != len(idx) or max(ranks) > 2 or min(ranks) < 1:
        raise NoMatrixForm
    rows, columns = idx[: ranks[0]], idx[ranks[0] :]
    found = {e.at: e for e in edges}
    spots = {i: [e for e in edges if i in e.at] for i in idx}
    if len(idx) == 4:
        weights = [e for e in edges if set(e.at) == set(rows)]
        deltas = [e for e in edges if e.node == IDENTITY]
        ties = [{a, b} for a, b in zip(rows, columns, strict=True)]
        tied = sorted(map(_names, (set(d.at) for d in deltas))) == sorted(map(_names, ties))
        if len(edges) == 3 and len(weights) == 1 and tied:
            return [_diagonal(Apply("vec", (_turned(weights[0], rows[0]),)))]
    if any(len(s) > 1 for s in spots.values()):
        raise NoMatrixForm
    if len(idx) == 4 and len(found) == 2 and {frozenset(rows), frozenset(columns)} == {frozenset(a) for a in found}:
        a, b = (next(_turned(e, x[0]) for e in edges if set(e.at) == set(x)) for x in (rows, columns))
        return [Apply("vec", (a,)), transposed(Apply("vec", (b,)))]
    for pairs in _pairings(rows, columns):
        parts = [p for pair in pairs if (p := _between(edges, spots, *pair)) is not None]
        if len(parts) == len(pairs):
            return [Product(tuple(parts), "otimes")]
    if len(idx) == 4:
        first, second = _between(edges, spots, rows[0], columns[1]), _between(edges, spots, rows[1], columns[0])
        if first is not None and second is not None:
            return [Product((first, second), "otimes"), Letter("K")]
    raise NoMatrixForm


def _names(letters: Iterable[Index]) -> list[str]:
    return sorted(f"{i.name}:{i.uid}" for i in letters)


def _pairings(rows: Sequence[Index], columns: Sequence[Index]) -> list[list[tuple[Index | None, Index | None]]]:
    """The row and the column letter of each factor of a Kronecker product; None where a tensor is a vector."""
    if len(rows) == len(columns):
        return [list(zip(rows, columns, strict=True))]
    if len(rows) > len(columns):
        return [[(rows[0], columns[0]), (rows[1], None)], [(rows[0], None), (rows[1], columns[0])]]
    return [[(rows[0], columns[0]), (None, columns[1])], [(None, columns[0]), (rows[0], columns[1])]]


def _between(
    edges: Sequence[Edge], spots: Mapping[Index, Sequence[Edge]], row: Index | None, column: Index | None
) -> Node | None:
    """The factor over a row and a column letter: a matrix, an outer product, a column or a row."""
    here = [e for i in (row, column) if i is not None for e in spots[i]]
    if any(set(e.at) - {row, column} for e in here):
        return None
    if row is None:
        return transposed(here[0].node) if here else transposed(Ones())
    if column is None:
        return here[0].node if here else Ones()
    if here and len(here[0].at) == 2:
        return _turned(here[0], row)
    u, v = (spots[i][0].node if spots[i] else Ones() for i in (row, column))
    return joined(u, transposed(v))
