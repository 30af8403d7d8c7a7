"""Terms read as matrices: which factor stands for rows, which for columns, and what is between them."""

from __future__ import annotations

from collections.abc import Sequence

import sympy
from sympy import Add, Expr, Integer, Mul, Pow
from sympy.logic.boolalg import Boolean

from derive.language.index import Index, Size
from derive.language.nodes import Iverson
from derive.language.tensor import Read
from derive.language.unknown import Unknown
from derive.program.program import Term

from .equations import _split
from .expressions import APPLIED, Context, factor_rank, fraction_of, join, layout, number
from .layout import Apply, Big, Element, Fence, Name, Node, Num, Ones, Power, Product, Sum, Transposed


class NoMatrixForm(Exception):
    """Raised where an equation is not a matrix formula; caught by those who ask."""


class Form:
    """Reads terms as matrices with rows ``row`` and columns ``col`` (None where there is no such axis).

    ``step`` is the first letter of three, such as time: the matrices are then slices, ``h[t] = h[t-1] V``.
    """

    def __init__(self, ctx: Context, row: Index | None, col: Index | None, step: Index | None = None) -> None:
        self.ctx, self.names, self.row, self.col, self.step = ctx, ctx.names, row, col, step
        self.telling = False  # whether anything happened that the index form does not say as shortly

    def term(self, t: Term) -> tuple[int, Node]:
        sign, coef, above, below = _split(t.coef)
        factors = [a for f in t.fac for a in Mul.make_args(f)]
        factors += [Iverson(r.condition) for r in t.rows]
        if not t.bnd:
            body = [self.pointwise(factors, self.row, self.col)] if factors else []
        else:
            body = self.stepped(factors, t.bnd)
        body = [b for b in body if b is not None]
        return sign, fraction_of(
            coef, [layout(a, self.ctx) for a in above] + body, [layout(b, self.ctx) for b in below]
        )

    def stepped(self, factors: Sequence[Expr], bound: tuple[Index, ...]) -> list[Node]:
        """``dU = sum_t x[t]^T dh[t]``: a sum over slices of a matrix product."""
        over = [b for b in bound if self.step is None and self._slices(factors, b)]
        if len(over) != 1 or len(bound) == 1:
            return self.contraction(factors, bound)
        self.step = over[0]
        inside = self.contraction(factors, tuple(b for b in bound if b != over[0]))
        letters = (self.ctx.scope.letter(over[0]),)
        self.step = None
        return [Big("sum", letters, (), join(inside))]

    @staticmethod
    def _slices(factors: Sequence[Expr], letter: Index) -> bool:
        """Whether a letter stands only in the first place of reads with three."""
        reads = [r for f in factors for r in f.atoms(Read) if letter in r.free_symbols]
        return bool(reads) and all(
            len(r.idx) == 3 and letter in r.idx[0].free_symbols and not any(letter in i.free_symbols for i in r.idx[1:])
            for r in reads
        )

    def contraction(self, factors: Sequence[Expr], bound: tuple[Index, ...]) -> list[Node]:
        self.telling = True
        if (
            self.row is None
            and len(factors) == 1
            and isinstance(factors[0], Pow)
            and factors[0].exp == 2
            and len(bound) <= 2
        ):
            inside = self.element(factors[0].base, *bound, *(None,) * (2 - len(bound)))
            return [Power(Fence("norm", inside), Num("2"))]
        if len(bound) == 2 and self.row is None:
            return [Transposed(Ones()), self.pointwise(factors, *bound), Ones()]
        if len(bound) != 1:
            raise NoMatrixForm
        j = bound[0]
        right_free = self.col if self.col is not None else None
        left: list[Expr] = []
        right: list[Expr] = []
        shared: list[Expr] = []
        for f in factors:
            free = self.letters(f)
            if self.row is not None and self.row in free and self.col not in free:
                left.append(f)
            elif self.col is not None and self.col in free and self.row not in free:
                right.append(f)
            elif free == {j}:
                shared.append(f)
            else:
                raise NoMatrixForm
        if self.row is None:
            return self._inner(shared, j)
        if right_free is None:
            vector = self.pointwise(shared, j, None) if shared else Ones()
            return [self.pointwise(left, self.row, j), vector]
        if shared or not left or not right:
            raise NoMatrixForm
        return [self.pointwise(left, self.row, j), self.pointwise(right, j, self.col)]

    def _inner(self, factors: Sequence[Expr], j: Index) -> list[Node]:
        if len(factors) == 1:
            return [Transposed(Ones()), self.pointwise(factors, j, None)]
        if len(factors) == 2:
            return [Transposed(self.pointwise(factors[:1], j, None)), self.pointwise(factors[1:], j, None)]
        raise NoMatrixForm

    def pointwise(self, factors: Sequence[Expr], row: Index | None, col: Index | None) -> Node:
        """A product of factors, element by element: vectors scale rows and columns, matrices multiply elementwise."""
        coef = Integer(1)
        full: list[Expr] = []
        left: list[Expr] = []
        right: list[Expr] = []
        for f in factors:
            if f.is_Rational:
                coef = coef * f
                continue
            free = self.letters(f)
            base, n = (f.base, 2) if isinstance(f, Pow) and f.exp == 2 else (f, 1)
            side = (
                full if col is None or {row, col} <= free else left if row in free else right if col in free else None
            )
            if side is None:
                raise NoMatrixForm
            side += [base] * n
        if coef.is_negative or not (full or left or right):
            raise NoMatrixForm
        if col is None:
            nodes: list[Node] = [self.elementwise(full, row, None)]
        elif full:
            nodes = (
                [self.diagonal(left, row)] * bool(left)
                + [self.elementwise(full, row, col)]
                + [self.diagonal(right, col)] * bool(right)
            )
        elif left and right:
            self.telling = True
            nodes = [self.elementwise(left, row, None), Transposed(self.elementwise(right, col, None))]
        else:  # the same along one axis
            self.telling = True
            nodes = (
                [self.elementwise(left, row, None), Transposed(Ones())]
                if left
                else [Ones(), Transposed(self.elementwise(right, col, None))]
            )
        return join(nodes) if coef == 1 else fraction_of(coef, nodes, [])

    def letters(self, f: Expr) -> set[Index]:
        return {s for s in f.free_symbols if isinstance(s, Index) and s != self.step}

    def diagonal(self, factors: Sequence[Expr], letter: Index | None) -> Node:
        self.telling = True
        return Apply("diag", (self.elementwise(factors, letter, None),))

    def elementwise(self, factors: Sequence[Expr], row: Index | None, col: Index | None) -> Node:
        nodes = [self.element(f, row, col) for f in sorted(factors, key=factor_rank)]
        nodes = [m for n in nodes for m in (n.items if isinstance(n, Product) and n.op else (n,))]
        if len(nodes) == 1:
            return nodes[0]
        self.telling = self.telling or col is not None
        turned = [n.body for n in nodes if isinstance(n, Transposed)]
        if len(turned) == len(nodes):
            return Transposed(Product(tuple(turned), "odot"))
        return Product(tuple(nodes), "odot")

    def element(self, e: Expr, row: Index | None, col: Index | None) -> Node:
        if isinstance(e, Read):
            return self.read(e, row, col)
        if isinstance(e, Add):
            items = sorted(
                (self.signed(a, row, col) for a in Add.make_args(e)), key=lambda s: (s[0] < 0, isinstance(s[1], Num))
            )
            return Sum(tuple(items))
        if e.is_Rational and e.is_positive:
            return number(e)
        if isinstance(e, sympy.exp):
            return Apply("exp", (self.element(e.exp, row, col),))  # not the exponential of a matrix
        if isinstance(e, Mul) or isinstance(e, Pow) and e.exp == 2:
            return self.pointwise(list(Mul.make_args(e)), row, col)
        if isinstance(e, Iverson) and isinstance(e.condition, sympy.Eq):
            return self.one_hot(e.condition, row, col)
        if APPLIED.get(type(e)) and len(e.args) == 1:
            return Apply(APPLIED[type(e)], (self.element(e.args[0], row, col),))
        if isinstance(e, Unknown):
            return Apply(e.called, (self.element(e.args[2], row, col),))
        if isinstance(e, Size):
            return layout(e, self.ctx)
        raise NoMatrixForm

    def signed(self, e: Expr, row: Index | None, col: Index | None) -> tuple[int, Node]:
        if e.could_extract_minus_sign():
            return -1, self.element(-e, row, col)
        return 1, self.element(e, row, col)

    def read(self, r: Read, row: Index | None, col: Index | None) -> Node:
        name, idx = self.names.name(r.tensor), r.idx
        shown: Name | Element = name
        if self.step is not None and len(idx) > 1 and self.step in idx[0].free_symbols:  # a slice
            if idx[0].free_symbols & {row, col}:
                raise NoMatrixForm
            shown, idx = Element(name, (layout(idx[0], self.ctx),)), idx[1:]
        if idx == tuple(i for i in (row, col) if i is not None):
            return shown
        if col is not None and idx == (col, row):
            self.telling = True
            return Transposed(shown)
        if col is not None and idx in ((row,), (col,)):
            self.telling = True
            return join([shown, Transposed(Ones())] if idx == (row,) else [Ones(), Transposed(shown)])
        raise NoMatrixForm

    def one_hot(self, condition: Boolean, row: Index | None, col: Index | None) -> Node:
        for letter, gathered in ((condition.lhs, condition.rhs), (condition.rhs, condition.lhs)):
            if col is not None and letter == col and isinstance(gathered, Read) and gathered.idx == (row,):
                self.telling = True
                return Apply("onehot", (self.names.name(gathered.tensor),))
        raise NoMatrixForm
