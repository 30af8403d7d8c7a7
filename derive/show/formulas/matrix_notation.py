r"""Index equations -> matrix notation, where there is one.

The networks of :mod:`derive.show.formulas.matrix_products` are made here, of the factors of a term.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import sympy
from sympy import Expr, Mul, Pow

from derive.language.index import Index
from derive.language.matrices import MATRICES
from derive.language.nodes import Iverson
from derive.language.tensor import Read
from derive.language.unknown import Unknown
from derive.program.program import Equation, Program, Term

from .equations import _positive_first, _split
from .expressions import APPLIED, Context, fraction_of, layout, matrix_of
from .forms import Form, NoMatrixForm
from .layout import Apply, Fence, Inverted, Node, Num, Ones, Part, Sum, Transposed
from .matrix_products import IDENTITY, Edge, Ranks, joined, placed, summed
from .names import Namer


@dataclass
class Notation:
    """What a derivation's names mean in matrix notation: inverses by their matrix, symmetric tensors."""

    names: Namer = field(default_factory=Namer)
    inverses: dict[str, Node] = field(default_factory=dict)
    symmetric: set[Node] = field(default_factory=set)

    @classmethod
    def of(cls, program: Program, names: Namer | None = None) -> Notation:
        found = cls(names or Namer())
        for e in program.equations:
            if e.reduce == "inverse" and e.tensor.rank == 2:
                matrix = matrix_of(e.terms[0].fac[0], e.over, Context(names=found.names))
                found.inverses[e.name] = Inverted(matrix)
        return found

    def equation(self, eq: Equation, ranks: Ranks | None = None) -> tuple[Node, Node] | None:
        """Both sides, or None where there is no matrix form; ``ranks`` splits the axes of a derivative."""
        lhs = self.names.name(eq.tensor)
        try:
            if eq.reduce in MATRICES:
                plain = len(eq.idx) in (0, 2) and len(eq.terms[0].fac[0].idx) == 2
                return (lhs, self.leaf(eq, eq.reduce)) if plain else None
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

    def tidy(self, node: Node) -> Node:
        """Symmetric matrices without their transposes, everywhere inside."""
        if isinstance(node, Transposed) and node.body in self.symmetric:
            return node.body
        parts: dict[str, Any] = {f.name: self._tidied(getattr(node, f.name)) for f in fields(node)}
        node = replace(node, **parts)
        return node.body if isinstance(node, Transposed) and node.body in self.symmetric else node

    def _tidied(self, part: Part) -> Part:
        if isinstance(part, tuple):
            return tuple(map(self._tidied, part))
        return part if part is None or isinstance(part, (str, int)) else self.tidy(part)

    def mirror(self, eq: Equation, ranks: Ranks | None) -> Node | None:
        """``H_B_A = H_A_B^T``: a block that is read from another one."""
        if ranks is None or len(eq.terms) != 1 or len(eq.terms[0].fac) != 1 or eq.terms[0].coef != 1:
            return None
        read, own = eq.terms[0].fac[0], eq.idx[: ranks[0]]
        same = isinstance(read, Read) and read.idx == (*eq.idx[ranks[0] :], *own)
        return Transposed(self.names.name(read.tensor)) if same and not eq.terms[0].rows else None

    def leaf(self, eq: Equation, kind: str) -> Node:
        read = eq.terms[0].fac[0]
        matrix = matrix_of(read, eq.over, Context(names=self.names))
        return Inverted(matrix) if kind == "inverse" else Apply(kind, (matrix,))

    # -- a term -----------------------------------------------------------------------------------------------------

    def term(self, t: Term, idx: tuple[Index, ...], ranks: Ranks | None) -> tuple[int, Node]:
        sign, number, above, below = _split(t.coef)
        ctx = Context(names=self.names)
        edges: list[Edge] = []
        scalars, under = [layout(a, ctx) for a in above], [layout(b, ctx) for b in below]
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
        edges = summed(edges, t.bnd)
        scalars += [e.node for e in edges if not e.at]
        body = placed([e for e in edges if e.at], idx, ranks)
        return sign, fraction_of(number, [*scalars, *body], under)

    def edges(self, f: Expr, letters: tuple[Index, ...]) -> list[Edge]:
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
        row, column, *_ = (*letters, None)
        return [Edge(self.elementwise(f, row, column), letters)]

    def read(self, r: Read) -> Edge:
        if not all(isinstance(i, Index) for i in r.idx) or len(r.idx) > 2:
            raise NoMatrixForm
        name = self.inverses.get(r.tensor.name) or self.names.name(r.tensor)
        if len(r.idx) == 2 and any(f.is_symmetric for f in r.tensor.facts):
            self.symmetric |= {name, name.body} if isinstance(name, Inverted) else {name}
        return Edge(name, r.idx)

    def elementwise(self, f: Expr, row: Index | None, column: Index | None) -> Node:
        if isinstance(f, Pow) and f.exp.is_Number and f.exp.is_negative:
            under = self.elementwise(f.base**-f.exp, row, column)
            return fraction_of(sympy.Integer(1), [], [under])
        if isinstance(f, sympy.Abs):
            return Fence("abs", self.elementwise(f.args[0], row, column))
        if f.is_Add and any(a.is_Rational or _is_scalar(a) for a in f.args):
            return Sum(tuple(_positive_first([self.addend(a, row, column) for a in f.args])))
        if len(f.args) == 1 and f.args[0].is_Add and type(f) in APPLIED:
            return Apply(APPLIED[type(f)], (self.elementwise(f.args[0], row, column),))
        if isinstance(f, Unknown):
            return Apply(f.called, (self.elementwise(f.args[2], row, column),))
        if isinstance(f, sympy.exp):
            return Apply("exp", (self.elementwise(f.args[0], row, column),))
        return Form(Context(names=self.names), row, column).element(f, row, column)

    def addend(self, e: Expr, row: Index | None, column: Index | None) -> tuple[int, Node]:
        """An addend of a vector or matrix; a scalar is added to every element."""
        sign, e = (-1, -e) if e.could_extract_minus_sign() else (1, e)
        if not _letters(e):
            ones = [Ones()] if column is None else [Ones(), Transposed(Ones())]
            return sign, joined(*([] if e == 1 else [layout(e, Context(names=self.names))]), *ones)
        return sign, self.elementwise(e, row, column)


def _is_scalar(e: Expr) -> bool:
    return not _letters(e)


def _letters(f: Expr) -> tuple[Index, ...]:
    return tuple(sorted({s for s in f.free_symbols if isinstance(s, Index)}, key=lambda i: (i.name, i.uid)))
