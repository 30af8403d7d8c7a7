"""Every single mistake in one equation: a term, a factor, a power, a position, a condition; one element at a time.

``elements(e)`` lists what is most often wrong; :mod:`numerics.checks.readings` what is read, and where.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import sympy
from sympy import Expr, Integer, Mul, Piecewise, Pow
from sympy.core.relational import Relational

from derive.language.index import Index
from derive.language.nodes import Iverson
from derive.language.tensor import Read
from derive.program.program import Equation, Row, Term

STRICT = {"<=": "<", "<": "<=", "==": "<=", "!=": "=="}


@dataclass(frozen=True)
class Element:
    """A mistake planted in one equation: its kind, the sentence about it, and what stands in the equation's place."""

    kind: str
    text: str
    equation: Equation


def with_term(e: Equation, n: int, term: Term) -> Equation:
    return replace(e, terms=tuple(term if m == n else t for m, t in enumerate(e.terms)))


def with_factor(term: Term, m: int, *factors: Expr) -> Term:
    return replace(term, fac=(*term.fac[:m], *factors, *term.fac[m + 1 :]))


def elements(e: Equation) -> Iterator[Element]:
    """Terms and factors missing, doubled or negated, powers, positions left out, windows read backwards, no condition."""
    yield from _shared(e)
    for n, term in enumerate(e.terms):
        for kind, text, changed in _of_term(e, n, term):
            yield Element(kind, text, with_term(e, n, changed))
    for m, guard in enumerate(e.guards):
        rest = e.guards[:m] + e.guards[m + 1 :]
        yield Element("missing condition", f"the condition {row_text(e, guard)} is missing", replace(e, guards=rest))


def _shared(e: Equation) -> Iterator[Element]:
    """What several terms have in common, missing in all of them: a coefficient or a factor."""
    parts = {p for t in e.terms for p in Mul.make_args(t.coef) if p not in (1, -1)}
    for part in sorted(parts, key=str):
        holders = [t for t in e.terms if part in Mul.make_args(t.coef)]
        if len(holders) > 1:
            where = "" if len(holders) == len(e.terms) else " in the terms that have it"
            divided = tuple(replace(t, coef=t.coef / part) if t in holders else t for t in e.terms)
            yield Element("factor", f"{part} is missing{where}", replace(e, terms=divided))
    powers = [p for t in e.terms for f in t.fac for p in parts_of(f) if isinstance(p, Pow) and p.exp.is_number]
    for power in sorted({p.exp for p in powers if [q.exp for q in powers].count(p.exp) > 1}, key=str):
        for other in (power - 1, power + 1):
            changed = e.xreplace({p: p.base**other for p in powers if p.exp == power})
            yield Element("power", f"the power {power} differs in every place; yours fits {other}", changed)
    yield from _turned(e)
    for f in e.terms[0].fac if len(e.terms) > 1 else ():
        if all(f in t.fac for t in e.terms):
            bare = tuple(replace(t, fac=tuple(g for g in t.fac if g != f)) for t in e.terms)
            yield Element("missing factor", f"the factor {expr_text(e, f)} is missing", replace(e, terms=bare))


def _turned(e: Equation) -> Iterator[Element]:
    """A tensor with the other sign wherever it stands, as the sine of a rotation that is not turned back."""
    reads = e.reads()
    for name in sorted({r.tensor.name for r in reads if r.tensor.dtype == "float"}):
        holders = [t for t in e.terms if any(r.tensor.name == name for r in t.reads())]
        inside = any(
            any(r.tensor.name == name for r in f.atoms(Read))
            for t in holders
            for f in t.fac
            if f.args and not isinstance(f, Read)
        )
        if inside or 1 < len(holders) < len(e.terms):
            changed = e.xreplace({r: -r for r in reads if r.tensor.name == name})
            yield Element("sign", f"{name} has the wrong sign wherever it stands", changed)


def shown(e: Equation, n: int) -> str:
    return term_text(e, n) if len(e.terms) > 1 else "the right-hand side"


def _of_term(e: Equation, n: int, term: Term) -> Iterator[tuple[str, str, Term]]:
    here = shown(e, n)
    if len(e.terms) > 1:
        yield "missing term", f"the term {here} is missing", replace(term, coef=Integer(0))
        yield "doubled term", f"the term {here} is counted twice", replace(term, coef=2 * term.coef)
        yield "sign of a term", f"the term {here} has the wrong sign", replace(term, coef=-term.coef)
    for part in Mul.make_args(term.coef):
        if part not in (1, -1):
            yield "factor", f"{part} is missing in {here}", replace(term, coef=term.coef / part)
    for m, f in enumerate(term.fac):
        if len(term.fac) > 1 or term.rows or f.is_Add or f.is_Pow:
            kind = "missing condition" if isinstance(f, Iverson) else "missing factor"
            what = "condition" if isinstance(f, Iverson) else "factor"
            yield kind, f"the {what} {expr_text(e, f, term.bnd)} of {here} is missing", with_factor(term, m)
        for text, factors in _slopes(e, term, m, f):
            yield "another factor", f"{text} in {here}", factors
        for kind, text, changed in _of_factor(e, f, term.bnd):
            place = f" in {here}" if len(e.terms) > 1 else ""
            yield kind, f"{text}{place}", with_factor(term, m, changed)
    for b in term.bnd:
        for at, word in ((Integer(0), "first"), (b.size - 1, "last")):
            left_out = replace(term, rows=(*term.rows, Row("!=", b, at)))
            yield "range", f"the {word} position of the sum over {b.name} is left out in {here}", left_out
            alone = replace(term, rows=(*term.rows, Row("==", b, at)))
            yield "missing sum", f"of the sum over {b.name} in {here} only the {word} position is taken", alone
    if term.bnd and all(isinstance(f, Read) for f in term.fac):
        yield "missing sum", f"the sum {term_text(e, n)} is taken as 1", replace(term, fac=(), bnd=(), rows=())
    yield from _reversals(e, term, here)
    for m, row in enumerate(term.rows):
        rest = term.rows[:m] + term.rows[m + 1 :]
        yield "missing condition", f"the condition {row_text(e, row)} of {here} is missing", replace(term, rows=rest)


def _slopes(e: Equation, term: Term, m: int, f: Expr) -> Iterator[tuple[str, Term]]:
    """A gate taken for its complement, and the slopes of a tanh ``1 - a^2`` and of a sigmoid ``a (1 - a)`` mixed up."""
    inner = 1 - f
    said = f"the factor {expr_text(e, f, term.bnd)} stands"
    if isinstance(f, Read) or isinstance(inner, Read):
        yield f"{said}; yours fits {expr_text(e, inner, term.bnd)}", with_factor(term, m, inner)
    if isinstance(inner, Pow) and inner.exp == 2 and isinstance(inner.base, Read):
        a = inner.base
        yield f"{said}; yours fits {expr_text(e, a * (1 - a), term.bnd)}", with_factor(term, m, a, 1 - a)
    if isinstance(inner, Read) and inner in term.fac:
        square = replace(term, fac=(*(g for g in term.fac if g not in (f, inner)), 1 - inner**2))
        yield f"{said} beside {inner.tensor.name}; yours fits {expr_text(e, 1 - inner**2, term.bnd)}", square


def _reversals(e: Equation, term: Term, here: str) -> Iterator[tuple[str, str, Term]]:
    """A window read backwards in one factor, as a kernel that was flipped, or was not."""
    for m, f in enumerate(term.fac):
        window = [b for b in term.bnd if b in f.free_symbols and any(b in r.free_symbols for r in term.rows)]
        window += [
            b
            for b in term.bnd
            if b in f.free_symbols
            and b not in window
            and any(i != b and b in i.free_symbols for g in term.fac for r in g.atoms(Read) for i in r.idx)
        ]
        for count in range(1, min(len(window), 2) + 1):
            for some in itertools.combinations(window, count):
                back = f.xreplace({b: b.size - 1 - b for b in some})
                names = " and ".join(b.name for b in some)
                text = f"{expr_text(e, f, term.bnd)} is read backwards along {names} in {here}"
                yield "reversed", text, with_factor(term, m, back)


def _of_factor(e: Equation, f: Expr, bnd: tuple[Index, ...]) -> Iterator[tuple[str, str, Expr]]:
    """Parts of one factor: an addend, a nested factor, a power, a branch."""
    for part in sorted({p for p in parts_of(f) if p.is_Add}, key=str)[:3]:
        for addend in part.args:
            yield "missing term", f"the term {expr_text(e, addend, bnd)} is missing", f.xreplace({part: part - addend})
            negated = f.xreplace({part: part - 2 * addend})
            yield "sign of a term", f"the term {expr_text(e, addend, bnd)} has the wrong sign", negated
    if f.is_Mul:
        for part in f.args:
            yield "missing factor", f"the factor {expr_text(e, part, bnd)} is missing", f.xreplace({f: f / part})
    for part in sorted({p for p in parts_of(f) if isinstance(p, Pow)}, key=str)[:3]:
        if not part.exp.is_number:
            continue
        for power in (part.exp - 1, part.exp + 1, 2 * part.exp):
            text = f"the power of {expr_text(e, part.base, bnd)} is {power}, not {part.exp}"
            yield "power", text, f.xreplace({part: part.base**power})
    for part in sorted(f.atoms(Piecewise), key=str)[:2]:
        for branch, condition in part.args:
            if condition != True:  # noqa: E712  a SymPy truth value
                text = (
                    f"the condition {condition_text(e, condition)} is missing: {expr_text(e, branch, bnd)} everywhere"
                )
                yield "missing condition", text, f.xreplace({part: branch})


def parts_of(f: Expr) -> Iterator[Expr]:
    """The sub-expressions of a factor that are values: positions inside reads are none."""
    yield f
    if not isinstance(f, Read):
        for a in f.args:
            if isinstance(a, sympy.Basic):
                yield from parts_of(a)


def conditions(e: Equation) -> Iterator[tuple[str, Callable[[Equation], Equation]]]:
    """Every condition with another in its place: strict or not, shifted by one, its sides exchanged, turned round.

    What is yielded is told as "[q <= p]; yours fits [q < p]" and a function that changes an equation.
    """
    for row in dict.fromkeys(r for t in e.terms for r in t.rows) | dict.fromkeys(e.guards):
        for n, other in enumerate(other_rows(row)):
            yield f"the condition is {row_text(e, row)}; yours fits {row_text(e, other)}", _row_changer(row, n)
    for c in relations(e):
        for turned in _other_relations(c):
            text = f"the condition is {condition_text(e, c)}; yours fits {condition_text(e, turned)}"
            yield text, _relation_changer(c, turned)


def alike(a: Row, b: Row) -> bool:
    """Whether two conditions say the same of their positions, whatever the letters: ``r <= p`` and ``q <= p``."""
    return a.op == b.op and _shape(a) == _shape(b)


def _shape(row: Row) -> tuple:
    return tuple((i.size, sympy.expand(s - i)) if (i := _letter(s)) is not None else s for s in (row.lhs, row.rhs))


def _letter(side: Expr) -> Index | None:
    letters = [s for s in side.free_symbols if isinstance(s, Index)]
    return letters[0] if len(letters) == 1 and not side.atoms(Read) else None


def _row_changer(row: Row, n: int) -> Callable[[Equation], Equation]:
    """The ``n``-th other condition for all that are like one."""

    def other(r: Row) -> Row:
        return next(itertools.islice(other_rows(r), n, None)) if alike(r, row) else r

    def change(e: Equation) -> Equation:
        terms = tuple(replace(t, rows=tuple(other(r) for r in t.rows)) for t in e.terms)
        return replace(e, terms=terms, guards=tuple(other(g) for g in e.guards))

    return change


def _relation_changer(c: Relational, other: Expr) -> Callable[[Equation], Equation]:
    return lambda e: e.xreplace({c: other})


def other_rows(row: Row) -> Iterator[Row]:
    """What people write for a condition on positions, when it is not that."""
    if row.op in ("<", "<="):
        yield Row(STRICT[row.op], row.lhs, row.rhs)
        yield Row(row.op, row.rhs, row.lhs)
        yield Row("<" if row.op == "<=" else "<=", row.rhs, row.lhs)
        yield Row("==", row.lhs, row.rhs)
        yield from (Row(row.op, row.lhs, row.rhs + by) for by in (1, -1))
    elif row.lhs.is_Symbol and row.rhs.is_Symbol:
        yield from (Row(op, *sides) for op in ("<=", "<") for sides in ((row.lhs, row.rhs), (row.rhs, row.lhs)))
        yield Row("!=" if row.op == "==" else "==", row.lhs, row.rhs)


def _other_relations(c: Relational) -> Iterator[Expr]:
    yield sympy.Not(c)
    pairs = {sympy.Gt: sympy.Ge, sympy.Ge: sympy.Gt, sympy.Lt: sympy.Le, sympy.Le: sympy.Lt}
    for kind, other in pairs.items():
        if isinstance(c, kind):
            yield other(c.lhs, c.rhs, evaluate=False)
    yield from _other_numbers(c)


def _other_numbers(c: Relational) -> Iterator[Expr]:
    """A margin or a threshold that is another number; no slope finds it, for a condition goes one way or the other."""
    for n, side in enumerate(c.args):
        for a in sympy.Add.make_args(side):
            if a.is_number and a != 0:
                for value in (Integer(0), -a, 2 * a, a / 2, 10 * a, a / 10, a + 1, a - 1):
                    sides = [*c.args]
                    sides[n] = side - a + value
                    yield c.func(*sides, evaluate=False)


def relations(e: Equation) -> list[Relational]:
    """The conditions on values: brackets and branches."""
    return sorted({c for t in e.terms for f in t.fac for c in f.atoms(Relational)}, key=str)


def unconditioned(e: Equation, c: Relational) -> Equation:
    """An equation where a condition on values always holds."""
    chosen = {p: p.args[0][0] for t in e.terms for f in t.fac for p in f.atoms(Piecewise) if p.args[0][1] == c}
    return e.xreplace({Iverson(c): Integer(1), **chosen})


def row_text(e: Equation, row: Row) -> str:
    """A condition on positions in the letters of the equation, those that are bound beside it included."""
    bound = next((t.bnd for t in e.terms if row.free_symbols & set(t.bnd)), ())
    return expr_text(e, Iverson(row.condition), bound).strip("[]")


@functools.lru_cache(maxsize=2048)
def equation_text(e: Equation) -> str:
    return f"({e.number}) {e}" if e.number else str(e)


@functools.lru_cache(maxsize=2048)
def term_text(e: Equation, n: int) -> str:
    """One term as the equation's own text writes it."""
    alone = str(replace(e, terms=(e.terms[n],), number=0))
    return alone.split(" = ", 1)[1]


@functools.lru_cache(maxsize=4096)
def expr_text(e: Equation, expr: Expr, bound: tuple[Index, ...] = ()) -> str:
    """An expression in the letters of its equation, those bound in its term included."""
    used = tuple(b for b in bound if b in expr.free_symbols)
    held = replace(e, terms=(Term(Integer(1), (expr,), used),), reduce=None, over=(), guards=(), number=0)
    text = str(held).split(" = ", 1)[1]
    if not used or not text.startswith("sum_"):
        return text
    bare = text.split(" ", 1)[1]
    return bare[1:-1] if bare[0] == "(" and bare[-1] == ")" and ")" not in bare[1:-1] else bare


def condition_text(e: Equation, condition: Expr) -> str:
    return expr_text(e, Iverson(condition)).strip("[]")
