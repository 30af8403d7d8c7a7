"""Numbers that stand in the equations, as knobs: an epsilon, an exponent, a margin, a weight, or one that should not be there.

A :class:`Knob` gives the altered equations for any value of its number, so that the value that yours has can be solved for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sympy
from sympy import Expr, Integer, Number, Pow
from sympy.core.relational import Relational
from sympy.functions.elementary.piecewise import ExprCondPair

from derive.language.tensor import Read
from derive.program.program import Equation, Term

from .elements import expr_text, parts_of

EPSILON = 0.1  # the largest number that is told as added for safety
SMALL = 1e-3  # what a number is moved by, relative to itself, to see which way the gradients go


@dataclass(frozen=True)
class Knob:
    """A number and the equations as they are with another in its place."""

    kind: str
    equation: Equation
    start: float
    step: float
    make: Callable[[Expr], dict[str, tuple[Equation, ...]]]
    text: Callable[[str], str]
    most: float = float("inf")  # an epsilon is positive and small
    is_threshold: bool = False  # whether it stands in a condition, too

    def allows(self, value: float) -> bool:
        return self.most == float("inf") or 0 < value <= self.most


def knobs(equations: Sequence[Equation]) -> Iterator[Knob]:
    """The numbers of some equations; one that stands in several of them the same way is one number."""
    seen: set[tuple[Expr, int]] = set()
    for e in equations:
        yield from _repeated(e)
        for part in _parts(e):
            for n, a in enumerate(part.args):
                value = a.args[0] if isinstance(a, ExprCondPair) else a  # the value of a branch
                told = (part, n) in seen or (part.is_Mul and value == -1)
                if isinstance(value, Number) and value.is_finite and not told:
                    seen.add((part, n))
                    yield _constant(e, part, n, equations)


def _repeated(e: Equation) -> Iterator[Knob]:
    """A number that stands in several places of an equation, as the threshold and the slope of Huber's loss do."""
    factors = [f for t in e.terms for f in t.fac]
    parts = [p for f in factors for p in parts_of(f)]
    counts = Counter(abs(n) for p in parts for n in p.args if isinstance(n, Number) and not p.is_Pow)
    for old in sorted((n for n, times in counts.items() if times > 1 and n not in (0, 1)), key=str):

        def make(value: Expr, old: Number = old) -> dict[str, tuple[Equation, ...]]:
            terms = tuple(replace(t, fac=tuple(_with_number(f, old, value) for f in t.fac)) for t in e.terms)
            return {e.name: (replace(e, terms=terms),)}

        def text(value: str, old: Number = old) -> str:
            return f"the constant {_plain_number(float(old))} differs in every place; yours fits {value}"

        compared = any(old in abs_of(c) for f in factors for c in f.atoms(Relational))
        yield Knob("constant", e, float(old), SMALL * abs(float(old)), make, text, is_threshold=compared)


def abs_of(c: Expr) -> set[Expr]:
    """The magnitudes of the numbers that a relation compares with."""
    return {abs(a) for side in c.args for a in sympy.Add.make_args(side) if a.is_number}


def _with_number(f: Any, old: Number, new: Expr) -> Any:
    if f in (old, -old):
        return new if f == old else -new
    if isinstance(f, Read) or not f.args:
        return f
    args = [a if f.is_Pow and n else _with_number(a, old, new) for n, a in enumerate(f.args)]
    return f.func(*args)


def _parts(e: Equation) -> list[Expr]:
    """Values with a number among their arguments, the equation's own sum included (eps may be a term of its own)."""
    found = {p for t in e.terms for f in t.fac for p in parts_of(f) if p.args and not isinstance(p, Read)}
    return sorted((p for p in found if p.atoms(Read) and not isinstance(p, ExprCondPair)), key=str)


def _constant(e: Equation, part: Expr, n: int, equations: Sequence[Equation]) -> Knob:
    old = part.args[n]
    branch = isinstance(old, ExprCondPair)
    holders = [q for q in equations if any(part in f.atoms(part.func) or f == part for t in q.terms for f in t.fac)]

    def make(value: Expr) -> dict[str, tuple[Equation, ...]]:
        changed = ExprCondPair(value, old.args[1]) if branch else value
        new = part.func(*part.args[:n], changed, *part.args[n + 1 :])
        return {q.name: (q.xreplace({part: new}),) for q in holders}

    where = "" if part.is_Add else f" of {expr_text(e, part) if not part.is_Relational else part}"
    what = "the exponent" if isinstance(part, Pow) and n == 1 else "the constant"
    start = float(old.args[0] if branch else old)

    def text(value: str) -> str:
        return f"{what} {_plain_number(start)}{where} differs; yours fits {value}"

    return Knob("constant", e, start, SMALL * abs(start) if start else 1e-6, make, text)


def free_constants(equations: Sequence[Equation]) -> Iterator[Knob]:
    """A term that is a number alone: ``ms = mean(x^2) + eps``; the same one in several equations, then each by itself."""
    places = [(e, n) for e in equations if len(e.terms) > 1 for n, t in enumerate(e.terms) if _alone(t)]
    for value in sorted({e.terms[n].coef for e, n in places}, key=str):
        same = [(e, n) for e, n in places if e.terms[n].coef == value]
        yield from (_free(some) for some in ([same] if len(same) > 1 else []) + [[place] for place in same])


def _alone(t: Term) -> bool:
    return not t.fac and not t.bnd and not t.rows and bool(t.coef.is_number)


def _free(places: list[tuple[Equation, int]]) -> Knob:
    start = float(places[0][0].terms[places[0][1]].coef)

    def make(value: Expr) -> dict[str, tuple[Equation, ...]]:
        changed: dict[str, tuple[Equation, ...]] = {}
        for e, n in places:
            terms = (*e.terms[:n], replace(e.terms[n], coef=value), *e.terms[n + 1 :])
            changed[e.name] = (replace(e, terms=terms),)
        return changed

    def text(value: str) -> str:
        where = "" if len(places) == 1 else f" in {' and '.join(e.name for e, _ in places)}"
        return f"the constant {_plain_number(start)}{where} differs; yours fits {value}"

    return Knob("constant", places[0][0], start, SMALL * abs(start) or 1e-6, make, text)


def added(e: Equation) -> Iterator[Knob]:
    """A small number added where none is: in a denominator, under a root, in a logarithm; to one factor or to all."""
    for base in _divisors(e):
        said = expr_text(e, base)
        mapping = [(p, p.exp) for t in e.terms for f in t.fac for p in parts_of(f) if isinstance(p, Pow)]
        powers = {p: k for p, k in mapping if p.base == base}

        def inside(value: Expr, base: Expr = base, powers: dict = powers) -> dict[str, tuple[Equation, ...]]:
            return {e.name: (e.xreplace({p: (base + value) ** k for p, k in powers.items()}),)}

        def whole(value: Expr, base: Expr = base) -> dict[str, tuple[Equation, ...]]:
            terms = tuple(replace(t, fac=(*t.fac, base / (base + value))) for t in e.terms)
            return {e.name: (replace(e, terms=terms),)}

        def text(value: str, said: str = said) -> str:
            return f"{said} stands under a root or a fraction; yours fits {said} + {value} there"

        yield Knob("constant", e, 0.0, 1e-6, inside, text, EPSILON)
        if len(e.terms) > 1:
            yield Knob("constant", e, 0.0, 1e-6, whole, text, EPSILON)
    logs = {p for t in e.terms for f in t.fac for p in parts_of(f) if isinstance(p, sympy.log)}
    for log in sorted(logs, key=str):
        yield _within(e, log)


def scaled(e: Equation) -> Iterator[Knob]:
    """What a function is taken of, times a number: a deviation for a variance in ``exp(-v)``, a temperature."""
    calls = {p for t in e.terms for f in t.fac for p in parts_of(f) if p.is_Function and len(p.args) == 1}
    for call in sorted((c for c in calls if c.atoms(Read) and not isinstance(c, Read)), key=str):
        said = expr_text(e, call)

        def make(value: Expr, call: Expr = call) -> dict[str, tuple[Equation, ...]]:
            return {e.name: (e.xreplace({call: call.func(value * call.args[0])}),)}

        def text(value: str, said: str = said) -> str:
            return f"the argument of {said} differs by a factor; yours fits {value} times it"

        yield Knob("constant", e, 1.0, SMALL, make, text)


def _within(e: Equation, log: Expr) -> Knob:
    said = expr_text(e, log.args[0])

    def make(value: Expr) -> dict[str, tuple[Equation, ...]]:
        return {e.name: (e.xreplace({log: sympy.log(log.args[0] + value)}),)}

    def text(value: str) -> str:
        return f"the logarithm is of {said}; yours fits {said} + {value}"

    return Knob("constant", e, 0.0, 1e-6, make, text, EPSILON)


def _divisors(e: Equation) -> list[Expr]:
    powers = {p for t in e.terms for f in t.fac for p in parts_of(f) if isinstance(p, Pow)}
    some = (p for p in powers if p.exp.is_number and (p.exp < 0 or not p.exp.is_Integer))
    return sorted({p.base for p in some if p.base.atoms(Read)}, key=str)


def outside_the_root(
    e: Equation, program_equation: Callable[[str], Equation | None]
) -> Iterator[tuple[str, dict[str, tuple[Equation, ...]]]]:
    """``1/(sqrt(v) + eps)`` for ``1/sqrt(v + eps)``: what is added under a root, added to the root instead."""
    roots = {
        p for t in e.terms for f in t.fac for p in parts_of(f) if isinstance(p, Pow) and abs(p.exp) == sympy.S.Half
    }
    for p in sorted(roots, key=str):
        sign = Integer(1) if p.exp > 0 else Integer(-1)
        for addend in p.base.args if p.base.is_Add else ():
            if addend.is_number or not addend.free_symbols:
                new = (sympy.sqrt(p.base - addend) + addend) ** sign
                yield f"{expr_text(e, addend)} is under the root", {e.name: (e.xreplace({p: new}),)}
        inner = program_equation(p.base.tensor.name) if isinstance(p.base, Read) else None
        if inner is None or inner.reduce is not None or len(inner.terms) < 2:
            continue
        for n, t in enumerate(inner.terms):
            if not t.bnd and not t.rows and not t.free_symbols:
                value = t.coef * sympy.Mul(*t.fac)
                rest = replace(inner, terms=(*inner.terms[:n], *inner.terms[n + 1 :]))
                new = (sympy.sqrt(p.base) + value) ** sign
                changed: dict[str, tuple[Equation, ...]] = {inner.name: (rest,), e.name: (e.xreplace({p: new}),)}
                yield f"{expr_text(inner, value)} is added under the root, in {inner.name}", changed


def _plain_number(value: float) -> str:
    return f"{value:.6g}"


def near(value: float, short: bool = False) -> list[float]:
    """The short numbers that a solved one may stand for, shortest first; then, unless only ``short`` ones, itself."""
    if abs(value) < 1e-12:
        value = 0.0
    if short:
        return list(dict.fromkeys(float(f"{value:.{n}g}") for n in (1, 2)))
    found = [float(f"{value:.{n}g}") for n in (1, 2, 3)]
    return list(dict.fromkeys([*found, float(f"{value:.6g}"), value]))
