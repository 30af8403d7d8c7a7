r"""Index equations -> matrix notation, where there is one.

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

from dataclasses import dataclass, field, fields, replace

import sympy
from sympy import Mul, Pow

from ..errors import DeriveError
from ..index import Index
from ..nodes import Iverson
from ..program import Equation, Term
from ..show.equations import _positive_first, _split
from ..show.expressions import APPLIED, Context, fraction_of, layout
from ..show.layout import (
    Apply,
    Fence,
    Inverted,
    Letter,
    Node,
    Num,
    Ones,
    Power,
    Product,
    Sum,
    Transposed,
    children,
)
from ..show.matrix import NoMatrixForm, _Form
from ..show.names import Namer
from ..tensor import Read
from .rules import is_matrix
from .show import matrix_of

IDENTITY = Letter("I")


@dataclass(frozen=True)
class Edge:
    """A scalar, vector or matrix of the network, by the letters that it stands at: none, one or two."""

    node: Node
    at: tuple[Index, ...] = ()


@dataclass
class Notation:
    """What a derivation's names mean in matrix notation: inverses by their matrix, symmetric tensors."""

    names: Namer = field(default_factory=Namer)
    inverses: dict[str, Node] = field(default_factory=dict)
    symmetric: set[Node] = field(default_factory=set)

    @classmethod
    def of(cls, program, names: Namer | None = None) -> Notation:
        found = cls(names or Namer())
        for e in program.equations:
            if e.reduce == "inverse" and e.tensor.rank == 2:
                matrix = matrix_of(e.terms[0].fac[0], e.over, Context(names=found.names))
                found.inverses[e.name] = Inverted(matrix)
        return found

    def equation(self, eq: Equation, ranks: tuple[int, int] | None = None) -> tuple[Node, Node] | None:
        """Both sides, or None where there is no matrix form; ``ranks`` splits the axes of a derivative."""
        lhs = self.names.name(eq.tensor)
        try:
            if is_matrix(eq):
                return (lhs, self.leaf(eq)) if len(eq.idx) in (0, 2) and len(eq.terms[0].fac[0].idx) == 2 else None
            if eq.reduce is not None or len(eq.idx) > 4:
                return None
            if len(eq.idx) > 2 and (mirror := self.mirror(eq, ranks)) is not None:
                return lhs, mirror
            items = [self.term(t, eq.idx, ranks) for t in eq.terms]
        except NoMatrixForm:
            return None
        if not items:
            return lhs, Num("0")
        items = _positive_first(items)
        rhs = items[0][1] if len(items) == 1 and items[0][0] > 0 else Sum(tuple(items))
        return lhs, self.tidy(rhs)

    def tidy(self, node):
        """Symmetric matrices without their transposes, everywhere inside."""
        if isinstance(node, tuple):
            return tuple(map(self.tidy, node))
        if not isinstance(node, Node):
            return node
        if isinstance(node, Transposed) and node.body in self.symmetric:
            return node.body
        node = replace(node, **{f.name: self.tidy(getattr(node, f.name)) for f in fields(node)})
        return node.body if isinstance(node, Transposed) and node.body in self.symmetric else node

    def mirror(self, eq: Equation, ranks) -> Node | None:
        """``H_B_A = H_A_B^T``: a block that is read from another one."""
        if ranks is None or len(eq.terms) != 1 or len(eq.terms[0].fac) != 1 or eq.terms[0].coef != 1:
            return None
        read, own = eq.terms[0].fac[0], eq.idx[:ranks[0]]
        same = isinstance(read, Read) and read.idx == (*eq.idx[ranks[0]:], *own)
        return Transposed(self.names.name(read.tensor)) if same and not eq.terms[0].rows else None

    def leaf(self, eq: Equation) -> Node:
        read = eq.terms[0].fac[0]
        matrix = matrix_of(read, eq.over, Context(names=self.names))
        return Inverted(matrix) if eq.reduce == "inverse" else Apply(eq.reduce, (matrix,))

    # -- a term -----------------------------------------------------------------------------------------------------

    def term(self, t: Term, idx, ranks) -> tuple[int, Node]:
        sign, number, above, below = _split(t.coef)
        ctx = Context(names=self.names)
        edges, scalars, under = [], [layout(a, ctx) for a in above], [layout(b, ctx) for b in below]
        factors = [a for f in t.fac for a in Mul.make_args(f)] + [Iverson(r.condition) for r in t.rows]
        for f in factors:
            letters = _letters(f)
            if not letters:
                if f.is_Rational:
                    raise NoMatrixForm
                base, exponent = f.as_base_exp() if isinstance(f, Pow) else (f, sympy.Integer(1))
                low = exponent.is_Number and exponent.is_negative
                (under if low else scalars).append(layout(base**-exponent if low else f, ctx))
                continue
            edges += self.edges(f, letters)
        edges = _summed(edges, t.bnd)
        scalars += [e.node for e in edges if not e.at]
        body = _placed([e for e in edges if e.at], idx, ranks)
        return sign, fraction_of(number, [*scalars, *body], under)

    def edges(self, f, letters) -> list[Edge]:
        """The factor as vectors and matrices; the square of a vector is two of it, so that it can meet itself."""
        if isinstance(f, Iverson):
            c = f.condition
            if not (isinstance(c, sympy.Eq) and isinstance(c.lhs, Index) and isinstance(c.rhs, Index)):
                raise NoMatrixForm
            return [Edge(IDENTITY, (c.lhs, c.rhs))]
        if isinstance(f, Pow) and f.exp.is_Integer and 2 <= f.exp <= 3 and isinstance(f.base, Read):
            return [e for _ in range(int(f.exp)) for e in self.edges(f.base, letters)]
        if isinstance(f, Read):
            return [self.read(f)]
        if len(letters) > 2:
            raise NoMatrixForm
        return [Edge(self.elementwise(f, *letters, *(None,) * (2 - len(letters))), letters)]

    def read(self, r: Read) -> Edge:
        if not all(isinstance(i, Index) for i in r.idx) or len(r.idx) > 2:
            raise NoMatrixForm
        name = self.inverses.get(r.tensor.name) or self.names.name(r.tensor)
        if len(r.idx) == 2 and any(f.is_symmetric for f in r.tensor.facts):
            self.symmetric |= {name, name.body} if isinstance(name, Inverted) else {name}
        return Edge(name, r.idx)

    def elementwise(self, f, row, column) -> Node:
        if isinstance(f, Pow) and f.exp.is_Number and f.exp.is_negative:
            under = self.elementwise(f.base**-f.exp, row, column)
            return fraction_of(sympy.Integer(1), [], [under])
        if isinstance(f, sympy.Abs):
            return Fence("abs", self.elementwise(f.args[0], row, column))
        if f.is_Add and any(a.is_Rational or _is_scalar(a) for a in f.args):
            return Sum(tuple(_positive_first([self.addend(a, row, column) for a in f.args])))
        if len(f.args) == 1 and f.args[0].is_Add and type(f) in APPLIED:
            return Apply(APPLIED[type(f)], (self.elementwise(f.args[0], row, column),))
        if isinstance(f, sympy.exp):
            return Apply("exp", (self.elementwise(f.args[0], row, column),))
        return _Form(Context(names=self.names), row, column).element(f, row, column)

    def addend(self, e, row, column) -> tuple[int, Node]:
        """An addend of a vector or matrix; a scalar is added to every element."""
        sign, e = (-1, -e) if e.could_extract_minus_sign() else (1, e)
        if not _letters(e):
            ones = [Ones()] if column is None else [Ones(), Transposed(Ones())]
            return sign, _product(*([] if e == 1 else [layout(e, Context(names=self.names))]), *ones)
        return sign, self.elementwise(e, row, column)


def _is_scalar(e) -> bool:
    return not _letters(e)


def _letters(f) -> tuple[Index, ...]:
    return tuple(sorted({s for s in f.free_symbols if isinstance(s, Index)}, key=lambda i: (i.name, i.uid)))


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


def _product(*nodes: Node) -> Node:
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
    return _fewest(_product(transposed(a), b))


def _total(node: Node) -> Node:
    """The sum of a vector: a trace of what it is the diagonal of, the squared norm where that is ``A A^T``."""
    if not (isinstance(node, Apply) and node.fn == "diagonal"):
        return _fewest(_product(transposed(Ones()), node))
    inside = node.args[0]
    two = inside.items if isinstance(inside, Product) and not inside.op and len(inside.items) == 2 else None
    if two and two[1] == transposed(two[0]):
        return Power(Fence("norm", _fewest(inside.items[0])), Num("2"))
    return _trace(_fewest(inside))


# -- removing the summed letters --------------------------------------------------------------------------------------

def _summed(edges: list[Edge], bound) -> list[Edge]:
    """The network with the summed letters removed, those with the fewest edges first."""
    left = list(bound)
    if any(not _touching(edges, b) for b in left):
        raise NoMatrixForm
    while True:
        edges = _own_diagonals(edges, left)
        left = [b for b in left if _touching(edges, b)]
        if not left:
            return edges
        done = None
        for wanted in (1, 2, 3):
            done = next((b for b in left if len(_touching(edges, b)) == wanted), None)
            if done is not None:
                break
        if done is None:
            done = _parallel(edges, left)
            if done is None:
                raise NoMatrixForm
            edges = done
            continue
        new = _without(edges, done)
        if new is None:
            merged = _parallel(edges, left)
            if merged is None:
                raise NoMatrixForm
            edges = merged
            continue
        edges = new


def _touching(edges, letter) -> list[Edge]:
    return [e for e in edges if letter in e.at]


def _own_diagonals(edges, bound):
    """``A[i,i]`` as the vector diag(A); the trace where i is summed and stands nowhere else."""
    out = []
    for e in edges:
        if len(e.at) == 2 and e.at[0] == e.at[1]:
            alone = e.at[0] in bound and len(_touching(edges, e.at[0])) == 1
            out.append(Edge(_trace(e.node), ()) if alone else Edge(Apply("diagonal", (e.node,)), e.at[:1]))
        else:
            out.append(e)
    return out


def _parallel(edges, bound) -> list[Edge] | None:
    """Two matrices over the same two letters, or two vectors at one, as an elementwise product; None if there are none."""
    for n, e in enumerate(edges):
        for o in edges[n + 1:]:
            if e.at and set(e.at) == set(o.at) and len(e.at) == len(o.at):
                rest = [x for x in edges if x is not e and x is not o]
                both = e.node, o.node if o.at == e.at else transposed(o.node)
                return [*rest, Edge(_hadamard(list(both)), e.at)]
    return None


def _without(edges, j) -> list[Edge] | None:
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
        return [*rest, Edge(_product(_turned(matrices[0], others[0]), vector), (others[0],))]
    if len(matrices) == 2 and others[0] != others[1]:
        middle = [_diagonal(v.node) for v in vectors]
        first, second = _turned(matrices[0], others[0]), _turned(matrices[1], j)
        return [*rest, Edge(_product(first, *middle, second), tuple(others))]
    return None


def _double(rest, matrices, i) -> list[Edge]:
    """Two matrices that join the same letters, one of them summed: the diagonal of their product, ``sum_j A[i,j] B[j,i]``."""
    a, b = (_turned(m, i) for m in matrices)
    return [*rest, Edge(Apply("diagonal", (_product(a, transposed(b)),)), (i,))]


# -- what is left, at the letters of the left-hand side ------------------------------------------------------------------

def _placed(edges: list[Edge], idx, ranks) -> list[Node]:
    edges = _own_diagonals(edges, ())
    while (merged := _parallel(edges, ())) is not None:
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
    return [_product(*left, node, *right)]


def _scaled(edges, idx) -> list[Edge]:
    """The network with vectors that stand at one end of a matrix multiplied into it, ``diag(u) M``."""
    for i in idx:
        vectors, matrices = ([e for e in _touching(edges, i) if len(e.at) == n] for n in (1, 2))
        if len(vectors) == 1 and len(matrices) == 1:
            m = matrices[0]
            j = next(x for x in m.at if x != i)
            joined = Edge(_product(_diagonal(vectors[0].node), _turned(m, i)), (i, j))
            edges = [*(e for e in edges if e is not m and e is not vectors[0]), joined]
    return edges


def _kronecker(edges, idx, ranks) -> list[Node]:
    """``A (x) B``, ``vec(A) vec(B)^T`` or ``diag(vec(A))``, where the axes split into those of two tensors."""
    if ranks is None or sum(ranks) != len(idx) or max(ranks) > 2 or min(ranks) < 1:
        raise NoMatrixForm
    rows, columns = idx[:ranks[0]], idx[ranks[0]:]
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
        parts = [_between(edges, spots, *pair) for pair in pairs]
        if None not in parts:
            return [Product(tuple(parts), "otimes")]
    if len(idx) == 4:
        crossed = [_between(edges, spots, rows[0], columns[1]), _between(edges, spots, rows[1], columns[0])]
        if None not in crossed:
            return [Product(tuple(crossed), "otimes"), Letter("K")]
    raise NoMatrixForm


def _names(letters) -> list[str]:
    return sorted(f"{i.name}:{i.uid}" for i in letters)


def _pairings(rows, columns):
    """The row and the column letter of each factor of a Kronecker product; None where a tensor is a vector."""
    if len(rows) == len(columns):
        return [list(zip(rows, columns, strict=True))]
    if len(rows) > len(columns):
        return [[(rows[0], columns[0]), (rows[1], None)], [(rows[0], None), (rows[1], columns[0])]]
    return [[(rows[0], columns[0]), (None, columns[1])], [(None, columns[0]), (rows[0], columns[1])]]


def _between(edges, spots, row, column) -> Node | None:
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
    return _product(u, transposed(v))


def matrix_notation(d, format: str = "text") -> str:
    """Every equation of a derivation in matrix notation, one line each; in index notation, and said, where there is none.

    Parameters
    ----------
    d : Derivation
    format : {"text", "latex"}

    Returns
    -------
    str
        Lines ``name = formula``; in LaTeX an ``align*`` environment.

    >>> import derive as dv
    >>> print(dv.matrix_notation(dv.derive_matrix("tr(X^2*B)", "X")))
    f  = tr(X B X)
    dX = B^T X^T + X^T B^T
    """
    if format not in ("text", "latex"):
        raise DeriveError(f"matrix_notation(format={format!r}): give 'text' or 'latex'")
    notation, ranks = Notation.of(d.program), ranks_of(d)
    forms = [(e, notation.equation(e, ranks.get(e.name))) for e in d.program.equations]
    if format == "latex":
        from ..latex import equation_latex
        from ..show.tex import render
        lines = [f"{render(f[0])} &= {render(f[1])}" if f else equation_latex(e).replace("=", "&=", 1) +
                 r" && \text{(index notation)}" for e, f in forms]
        return "\\begin{align*}\n" + " \\\\\n".join(lines) + "\n\\end{align*}"
    from ..text import equation_text, render
    pairs = [(render(f[0]), render(f[1])) if f else (*equation_text(e).split(" = ", 1),) for e, f in forms]
    width = max((len(left) for (left, _), (_, f) in zip(pairs, forms, strict=True) if f), default=0)
    return "\n".join(f"{left:<{width}} = {right}" + ("" if f else "   (index notation: no matrix form)")
                     for (left, right), (_, f) in zip(pairs, forms, strict=True))


def ranks_of(d) -> dict[str, tuple[int, int]]:
    """How the axes of every Jacobian and Hessian of a derivation split: those of what is derived, and of by what."""
    found = {}
    for group, value in d.results:
        if group == "hessian":
            by = {t.name: t.rank for t in d.wrt}
            found |= {t.name: (by[a], by[b]) for (a, b), t in value.items()}
        elif group == "jacobian":
            found |= {t.name: (d.loss.rank, t.rank - d.loss.rank) for t in value.values()}
    return found
