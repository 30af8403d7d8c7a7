"""Terms and equations -> layout trees.

Terms that are sums over the same letters are written under one sign, what all terms share is written once in front, a
coefficient such as 1/B goes in front of a sum and under the rest, and conditions on summed letters go under the sign.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import sympy
from sympy import Expr, Integer, Mul, Pow, Rational

from derive.language.index import Index, Size
from derive.language.matrices import MATRICES, split_at
from derive.language.tensor import Read
from derive.program.program import Equation, Row, Term
from derive.program.terms import primitive

from .expressions import Context, factor_rank, fraction_of, layout, matrix_of, read, relation, scalar_names
from .layout import Apply, Big, Entry, Fence, Inverted, Node, Num, Relation, Sum
from .letters import open_scope
from .names import Namer
from .unfolded import Unfolded, by_member, unfolded
from .windows import one_window

Signed: TypeAlias = tuple[int, Node]  # an item of a sum


@dataclass(frozen=True)
class Piece:
    """A term made ready: ``coef * prod(outer) * sum_{bnd: under} of alternatives``, each a sign and its factors."""

    coef: Expr
    outer: tuple[Expr, ...]
    brackets: tuple[Row, ...]  # conditions on free letters only
    bnd: tuple[Index, ...] = ()
    under: tuple[Row, ...] = ()
    inside: tuple[tuple[int, tuple[Expr, ...]], ...] = ()


def page_layout(eq: Equation, names: Namer) -> tuple[Node, Node]:
    """The two sides of an equation as a page shows them: places of flat axes and of windows solved."""
    eq = one_window(eq)
    shown = unfolded(eq)
    if shown.free == eq.idx:
        return equation_layout(eq, names)
    return _unfolded_layout(shown, names)


def member_layouts(eq: Equation, names: Namer) -> tuple[tuple[Node, Node], ...]:
    """The two sides for each element of a short axis whose elements have letters; nothing where there is no such axis."""
    for axis in range(eq.tensor.rank):
        if names.members(eq.tensor, axis) and (found := by_member(eq, axis)):
            return tuple(_unfolded_layout(u, names) for u in found)
    return ()


def _unfolded_layout(shown: Unfolded, names: Namer) -> tuple[Node, Node]:
    ctx = _context(shown.free, shown.terms, names)
    return read(shown.lhs, ctx), terms_layout(shown.terms, shown.free, ctx)


def equation_layout(eq: Equation, names: Namer | None = None) -> tuple[Node, Node]:
    """The two sides of an equation."""
    ctx = equation_context(eq, names or Namer())
    lhs = read(Read(eq.tensor, *eq.idx), ctx)
    if eq.reduce is None:
        return lhs, terms_layout(eq.terms, eq.idx, ctx)
    if eq.reduce in MATRICES:
        return lhs, matrix_equation(eq, eq.reduce, ctx)
    inner = ctx.bind(eq.over)
    body = terms_layout(eq.terms, eq.idx, inner)
    letters = tuple(inner.scope.letter(i) for i in eq.over)
    return lhs, Big(eq.reduce, letters, conditions(eq.guards, inner), body)


def matrix_equation(eq: Equation, kind: str, ctx: Context) -> Node:
    """The right-hand side of an equation that is an inverse or a determinant."""
    node = matrix_of(eq.terms[0].fac[0], eq.over, ctx)
    if kind != "inverse":
        return Apply(kind, (node,))
    return Entry(Inverted(node), tuple(layout(i, ctx) for i in split_at(kind, eq.idx)[1]))


def equation_context(eq: Equation, names: Namer) -> Context:
    """Free letters first; then the names that stand bare in the equation are not for bound letters."""
    return _context(eq.idx, eq.terms, names)


def _context(free: Sequence[Index], terms: Iterable[Term], names: Namer) -> Context:
    bare: set[str] = set()
    for t in terms:
        for part in (t.coef, *t.fac, *(s for r in t.rows for s in (r.lhs, r.rhs))):
            bare |= scalar_names(part)
    return Context(open_scope(free, names.letters).reserve(bare), names)


def terms_layout(terms: Sequence[Term], free: Sequence[Index], ctx: Context) -> Node:
    """The layout of a sum of terms."""
    if not terms:
        return Num("0")
    pieces = _merge([_piece(t) for t in terms])
    if len(pieces) == 1:
        sign, node = _piece_layout(pieces[0], free, ctx)
        return node if sign > 0 else Sum(((-1, node),))
    coef, shared, brackets, pieces = _common(_bias_last(pieces, free))
    items = _positive_first([_piece_layout(p, free, ctx) for p in pieces])
    body = Sum(tuple(items))
    if coef == 1 and not shared and not brackets:
        return body
    sign, number, above, below = _split(coef)
    up, down = [layout(a, ctx) for a in above], [layout(b, ctx) for b in below]
    _place(_ordered(shared, free), ctx, up, down)
    up += [body, *(Fence("iverson", c) for c in conditions(brackets, ctx))]
    node = fraction_of(number, up, down)
    return node if sign > 0 else Sum(((-1, node),))


def _bias_last(pieces: Iterable[Piece], free: Sequence[Index]) -> list[Piece]:
    """``sum_i x[b,i] W[i,k] + c[k]``: what is constant along some axis, and not summed, comes after the rest."""

    def late(p: Piece) -> bool:
        letters = {s for f in p.outer for s in f.free_symbols}
        return (
            p.coef == 1
            and not p.bnd
            and not p.brackets
            and len(p.outer) == 1
            and isinstance(p.outer[0], Read)
            and (not set(free) <= letters if free else p.outer[0].tensor.role != "computed")
        )

    return sorted(pieces, key=late)


def _piece(t: Term) -> Piece:
    coef, factors = t.coef, []
    for f in t.fac:
        for a in Mul.make_args(f):
            if a.is_Add and a.atoms(Read):
                content, a = primitive(a)
                coef = coef * content
            if (
                a.atoms(Read)
                or any(not isinstance(s, Size) for s in a.free_symbols)
                or not a.is_Rational
                and not a.free_symbols
            ):
                factors.append(a)
            else:
                coef = coef * a
    bound = set(t.bnd)
    under = tuple(r for r in t.rows if r.free_symbols & bound)
    brackets = tuple(r for r in t.rows if r not in under)
    if not bound:
        return Piece(coef, tuple(factors), brackets)
    outer = tuple(f for f in factors if not f.free_symbols & bound)
    inner = tuple(f for f in factors if f.free_symbols & bound)
    return Piece(coef, outer, brackets, t.bnd, under, ((1, inner),))


def _merge(pieces: list[Piece]) -> list[Piece]:
    """Write sums over the same letters under one sign where that reads better."""
    done: list[Piece] = []
    for p in pieces:
        for n, q in enumerate(done):
            joined = _joined(q, p) if p.bnd else None
            if joined is not None:
                done[n] = joined
                break
        else:
            done.append(p)
    return done


def _joined(p: Piece, q: Piece) -> Piece | None:
    if [(b.name, b.size) for b in p.bnd] != [(b.name, b.size) for b in q.bnd]:
        return None
    if Counter(p.outer) != Counter(q.outer) or p.brackets != q.brackets or q.coef not in (p.coef, -p.coef):
        return None
    same = dict(zip(q.bnd, p.bnd, strict=True))
    if [r.xreplace(same) for r in q.under] != list(p.under):
        return None
    flip = 1 if q.coef == p.coef else -1
    more = tuple((flip * s, tuple(f.xreplace(same) for f in fac)) for s, fac in q.inside)
    shared = _shared((p.inside[0][1], more[0][1]))
    simple = all(len(fac) <= 1 for _, fac in p.inside + more)
    if not (shared or simple or p.coef not in (1, -1)):
        return None
    return Piece(p.coef, p.outer, p.brackets, p.bnd, p.under, p.inside + more)


def _common(pieces: list[Piece]) -> tuple[Expr, list[Expr], list[Row], list[Piece]]:
    """What all pieces share: a coefficient and factors, taken out of each."""
    powers = [(p.coef / p.coef.as_coeff_Mul()[0]).as_powers_dict() for p in pieces]
    coef = Integer(1)
    for base in sorted(powers[0], key=sympy.sstr):
        exponents = [p.get(base, 0) for p in powers]
        if base != 1 and (all(e > 0 for e in exponents) or all(e < 0 for e in exponents)):
            coef *= base ** min(exponents, key=abs)
    numbers = [p.coef.as_coeff_Mul()[0] for p in pieces]
    if len({abs(n) for n in numbers}) == 1:
        coef *= abs(numbers[0])
    if all(n < 0 for n in numbers):
        coef = -coef
    shared = _shared(p.outer for p in pieces)
    brackets = [r for r in pieces[0].brackets if all(r in p.brackets for p in pieces)]
    left = [
        Piece(
            p.coef / coef,
            _without(p.outer, shared),
            tuple(r for r in p.brackets if r not in brackets),
            p.bnd,
            p.under,
            p.inside,
        )
        for p in pieces
    ]
    return coef, [base**n for base, n in shared.items()], brackets, left


def _powers(factors: Iterable[Expr]) -> Counter[Expr]:
    """How often each factor stands in a product; ``rs^2`` counts as two of ``rs``."""
    found: Counter[Expr] = Counter()
    for f in factors:
        base, n = f.as_base_exp() if isinstance(f, Pow) and f.exp.is_Integer and f.exp > 0 else (f, 1)
        found[base] += int(n)
    return found


def _shared(products: Iterable[Iterable[Expr]]) -> Counter[Expr]:
    """The factors that all products have."""
    first, *others = [_powers(p) for p in products]
    for other in others:
        first &= other
    return first


def _without(factors: Sequence[Expr], shared: Counter[Expr]) -> tuple[Expr, ...]:
    """The product divided by the shared factors."""
    left = _powers(factors) - shared
    return tuple(base ** left[base] for base in _powers(factors) if left[base])


def _split(coef: Expr) -> tuple[int, Rational, list[Expr], list[Expr]]:
    """Sign, positive number, and the size factors above and below the line."""
    number, rest = sympy.factor_terms(coef).as_coeff_Mul()
    if not isinstance(number, Rational):
        number, rest = Integer(1), coef
    above, below = sympy.fraction(rest)
    return (
        -1 if number < 0 else 1,
        abs(number),
        [a for a in Mul.make_args(above) if a != 1],
        [a for a in Mul.make_args(below) if a != 1],
    )


def _piece_layout(p: Piece, free: Sequence[Index], ctx: Context) -> tuple[int, Node]:
    sign, number, above, below = _split(p.coef)
    tail = None
    if p.bnd:
        inner = ctx.bind(p.bnd)
        letters = tuple(inner.scope.letter(b) for b in p.bnd)
        flip, body = _alternatives(p.inside, free, inner)
        sign *= flip
        tail = Big("sum", letters, conditions(p.under, inner), body)
    sizes_above, down = [layout(a, ctx) for a in above], [layout(b, ctx) for b in below]
    up: list[Node] = []
    _place(_ordered(p.outer, free), ctx, up, down)
    up += [Fence("iverson", c) for c in conditions(p.brackets, ctx)]
    return sign, fraction_of(number, sizes_above + up, down, tail)


def _place(factors: Iterable[Expr], ctx: Context, up: list[Node], down: list[Node]) -> None:
    for f in factors:
        base, exponent = f.as_base_exp() if isinstance(f, Pow) else (f, Integer(1))
        if exponent.is_Number and exponent.is_negative:
            down.append(layout(base**-exponent, ctx))
        else:
            up.append(layout(f, ctx))


def _alternatives(
    inside: Sequence[tuple[int, tuple[Expr, ...]]], free: Sequence[Index], ctx: Context
) -> tuple[int, Node]:
    """What stands under one sum sign: shared factors times a bracket of what differs."""
    shared = _shared(factors for _, factors in inside)
    items: list[Signed] = []
    up: list[Node]
    down: list[Node]
    for sign, factors in inside:
        up, down = [], []
        _place(_ordered(factors if len(inside) == 1 else _without(factors, shared), free), ctx, up, down)
        items.append((sign, fraction_of(Integer(1), up, down)))
    if len(items) == 1:
        return items[0]
    flip = -1 if all(s < 0 for s, _ in items) else 1
    body = Sum(tuple(_positive_first([(s * flip, n) for s, n in items])))
    if not shared:
        return flip, body
    up, down = [], []
    _place(_ordered([base**n for base, n in shared.items()], free), ctx, up, down)
    return flip, fraction_of(Integer(1), up + [body], down)


def _positive_first(items: Sequence[Signed]) -> list[Signed]:
    """Begin with something positive, if there is anything; else keep the order."""
    for n, (sign, _) in enumerate(items):
        if sign > 0:
            return [items[n], *items[:n], *items[n + 1 :]]
    return list(items)


def _ordered(factors: Sequence[Expr], free: Sequence[Index]) -> list[Expr]:
    """The order a person would choose: plain reads first, each by the first free letter that sets it apart."""
    place = {i: n for n, i in enumerate(free)}
    letters = [{s for s in f.free_symbols if s in place} for f in factors]
    everywhere = set.intersection(*letters) if letters else set()

    def rank(f: Expr) -> tuple[int, int]:
        carried = [place[s] for s in f.free_symbols if s in place and s not in everywhere]
        plain = factor_rank(f)
        return (plain if plain > 3 else 2, min(carried, default=-1))

    return sorted(factors, key=rank)


def conditions(rows: Iterable[Row], ctx: Context) -> tuple[Node, ...]:
    """Rows as relations; ``0 <= e`` and ``e < N`` are joined to ``0 <= e < N``."""
    left = list(rows)
    out: list[Node] = []
    while left:
        r = left.pop(0)
        if r.op in ("<=", "<"):
            mate = next((s for s in left if s.op in ("<=", "<") and sympy.expand(s.lhs - r.rhs) == 0), None)
            if mate is not None:
                left.remove(mate)
                parts = tuple(layout(sympy.expand(e), ctx) for e in (r.lhs, r.rhs, mate.rhs))
                out.append(Relation(parts, (r.op, mate.op)))
                continue
        lhs, rhs = r.lhs, r.rhs
        if r.op == "==" and isinstance(lhs, Index) and lhs not in ctx.bound and rhs.free_symbols & ctx.bound:
            lhs, rhs = rhs, lhs  # a condition on a summed letter begins with it
        out.append(relation(r.op, lhs, rhs, ctx))
    return tuple(out)
