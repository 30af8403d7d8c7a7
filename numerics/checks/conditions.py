"""The conditions of a program: what its equations decide by the values of its tensors, and how each is evaluated.

    Piecewise, Iverson     each relation, where the branches before it were not taken
    relu(u), |u|, sign(u)  u > 0
    maximum(a, b)          a >= b, and minimum(a, b): a <= b
    rows on integer data   mask[b, k] == 1
    max over an index      which position wins

A condition that only indices and sizes decide (``k <= t``) is met by the grid itself, if the grid is large enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import sympy
from sympy import Expr
from sympy.core.relational import Relational
from sympy.logic.boolalg import And, Boolean, BooleanFalse, BooleanTrue, Not, Or

from derive.language.index import Index
from derive.language.nodes import Iverson, maximum, minimum, relu
from derive.language.tensor import Read
from derive.program.program import Equation, Program, Row, Term

from .replay import QuickEvaluator

Guard = tuple[Boolean, bool]  # a condition, and whether it must hold

APART = 1.0  # how far from going the other way a decision of whole numbers is: they are not moved, but drawn again


@dataclass(frozen=True)
class Condition:
    """A relation of one equation, and where it decides anything: the guards that hold there and the rows of its term."""

    equation: Equation
    term: Term
    test: Relational
    guards: tuple[Guard, ...] = ()

    @cached_property
    def by_data(self) -> bool:
        """Whether values decide it, and not indices and sizes alone."""
        return self.test.has(Read)

    @cached_property
    def moves(self) -> bool:
        """Whether values that can be moved decide it."""
        return any(r.tensor.dtype == "float" for r in self.test.atoms(Read))

    def text(self, way: bool) -> str:
        """How the condition reads where it goes one way: ``z[b] > 3``, or ``z[b] <= 3``."""
        return text_of(self.test, self.guards, way)

    def decided(self, quick: QuickEvaluator) -> tuple[np.ndarray, np.ndarray]:
        """By how much it holds (negative: does not), and where it decides anything, both on the grid of its term."""
        e = self.equation
        scope = quick.scope(e.idx, (*e.over, *self.term.bnd), {})
        with np.errstate(all="ignore"):
            left, right = quick.value(self.test.lhs, scope), quick.value(self.test.rhs, scope)
            margin = margin_of(self.test, np.asarray(left, float), np.asarray(right, float))
            where = ~np.isnan(margin)
            for row in (*self.term.rows, *e.guards):
                if row.condition != self.test:
                    where = where & quick.rows([row], scope)
            for c, holds in self.guards:
                said = quick.condition(c, scope)
                where = where & (said if holds else ~np.asarray(said))
        return np.broadcast_arrays(margin, where)[0], np.broadcast_arrays(margin, where)[1]


@dataclass(frozen=True)
class Winner:
    """A max over indices: the positions that win somewhere, the first, the last and one between among them."""

    equation: Equation

    def text(self, place: str) -> str:
        over = ",".join(map(str, self.equation.over))
        return f"{self.equation.reduce}[{over}] of {self.equation.name} at {place}"

    def won(self, quick: QuickEvaluator) -> tuple[set[str], set[str], bool]:
        """The places that win, those that could at all, and whether two positions tie for the largest."""
        e = self.equation
        scope = quick.scope(e.idx, e.over, {})
        with np.errstate(all="ignore"):
            total = scope.full(0.0)
            for term in e.terms:
                values = quick.term(term, [*e.idx, *e.over], {})
                total = total + values
            mask = quick.rows(e.guards, scope)
        total = np.broadcast_to(np.asarray(total, float), scope.extents)
        allowed = np.broadcast_to(np.asarray(True if mask is None else mask), scope.extents)
        flat = np.where(allowed, total, -np.inf).reshape(*total.shape[: len(e.idx)], -1)
        count = flat.shape[-1]
        best = flat.max(axis=-1, keepdims=True)
        real = np.asarray(np.isfinite(best[..., 0]))
        winners = {_place(int(n), count) for n in np.unique(np.asarray(np.argmax(flat, axis=-1))[real])}
        open_ = np.flatnonzero(allowed.reshape(-1, count).any(axis=0))
        possible = {_place(int(n), count) for n in open_}
        return winners, possible, bool(np.any(np.asarray((flat == best).sum(axis=-1))[real] > 1))


def _place(n: int, count: int) -> str:
    return "the first position" if n == 0 else "the last position" if n == count - 1 else "a position between"


def conditions_of(program: Program) -> list[Condition]:
    """Every condition of a program, once, in the order of the equations."""
    found: dict[str, Condition] = {}
    for e in program.equations:
        for term in e.terms:
            tests = [c for f in term.fac for c in tests_in(f, ())]
            tests += [(r.condition, ()) for r in (*term.rows, *e.guards) if _decides(r)]
            for test, guards in tests:
                c = Condition(e, term, test, guards)
                found.setdefault(c.text(True), c)
    return list(found.values())


def winners_of(program: Program) -> list[Winner]:
    return [Winner(e) for e in program.equations if e.reduce in ("max", "argmax")]


def _decides(row: Row) -> bool:
    """Whether a row asks for something of the data; ``k == label[b]`` only reads at a label."""
    return bool(row.reads()) and not (row.op == "==" and (isinstance(row.lhs, Index) or isinstance(row.rhs, Index)))


def tests_in(e: Expr, guards: tuple[Guard, ...]) -> Iterator[tuple[Relational, tuple[Guard, ...]]]:
    """The relations inside an expression, each with the guards under which it is reached."""
    if isinstance(e, sympy.Piecewise):
        before = guards
        for branch, condition in e.args:
            yield from _relations(condition, before)
            yield from tests_in(branch, before if condition == sympy.true else (*before, (condition, True)))
            before = (*before, (condition, False))
        return
    if isinstance(e, Iverson):
        yield from _relations(e.condition, guards)
        return
    if isinstance(e, (relu, sympy.Abs, sympy.sign)):
        yield from _relation(sympy.Gt(e.args[0], 0, evaluate=False), guards)
    elif isinstance(e, maximum):
        yield from _relation(sympy.Ge(*e.args, evaluate=False), guards)
    elif isinstance(e, minimum):
        yield from _relation(sympy.Le(*e.args, evaluate=False), guards)
    if isinstance(e, Read):
        return  # what is read by a condition has an equation of its own
    for a in e.args:
        if isinstance(a, Expr):
            yield from tests_in(a, guards)


def _relations(c: Boolean, guards: tuple[Guard, ...]) -> Iterator[tuple[Relational, tuple[Guard, ...]]]:
    """The relations that a condition is made of, and the kinks inside them."""
    if isinstance(c, Not):
        yield from _relations(c.args[0], guards)
    elif isinstance(c, (And, Or)):
        for part in c.args:
            yield from _relations(part, guards)
    elif isinstance(c, Relational):
        yield from _relation(c, guards)
        for side in (c.lhs, c.rhs):
            yield from tests_in(side, guards)


def _relation(c: Expr, guards: tuple[Guard, ...]) -> Iterator[tuple[Relational, tuple[Guard, ...]]]:
    if isinstance(c, Relational) and not isinstance(c, (BooleanTrue, BooleanFalse)):
        yield c, guards


def margin_of(test: Relational, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """How far a relation is from failing; exact ties of ``>`` do not hold, and those of ``>=`` do."""
    with np.errstate(invalid="ignore"):
        gap = left - right
    gap = np.where((left == right) & ~np.isnan(left), 0.0, gap)
    if isinstance(test, (sympy.Eq, sympy.Ne)):
        away = np.where(gap == 0, -APART, np.abs(gap))
        return away if isinstance(test, sympy.Ne) else -away
    if isinstance(test, (sympy.StrictLessThan, sympy.LessThan)):
        gap = -gap
    tie = -np.finfo(float).tiny if isinstance(test, (sympy.StrictLessThan, sympy.StrictGreaterThan)) else 0.0
    return np.where(gap == 0, tie, gap)


def text_of(test: Relational, guards: Sequence[Guard], way: bool) -> str:
    """How a relation reads where it goes one way: ``z[b] > 3 where y[b] > 0``."""
    said = _told(test if way else test.negated)
    where = " and ".join(_guard_text(c, holds) for c, holds in guards)
    return f"{said} where {where}" if where else said


def _guard_text(c: Boolean, holds: bool) -> str:
    if holds:
        return _said(c)
    return _told(c.negated) if isinstance(c, Relational) else f"not ({_said(c)})"


def _said(c: Boolean) -> str:
    if isinstance(c, Relational):
        return _told(c)
    if isinstance(c, (And, Or)):
        return (" and " if isinstance(c, And) else " or ").join(_said(a) for a in c.args)
    return f"not ({_said(c.args[0])})" if isinstance(c, Not) else str(c)


def _told(c: Relational) -> str:
    """A relation with its number on the right: ``z[b] > 3`` for ``z[b] - 3 > 0``."""
    sign = {"==": "=", "!=": "!="}.get(c.rel_op, c.rel_op)
    left, right = c.lhs, c.rhs
    number, rest = left.as_coeff_Add()
    if right.is_Number and number != 0 and rest != 0:
        left, right = rest, right - number
    return f"{left} {sign} {right}"


def evaluated(program: Program, values: dict[str, np.ndarray], sizes: dict, memory: dict) -> QuickEvaluator:
    """An evaluator at values that are known, for the conditions of a program."""
    quick = QuickEvaluator({}, sizes, memory)
    quick.values = values
    return quick


def ancestors(program: Program, names: Sequence[str]) -> frozenset[str]:
    """The tensors that some tensors are computed from, themselves included."""
    found: set[str] = set()
    wanted = list(names)
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        found.add(name)
        e = program.equation(name)
        wanted += [t.name for t in e.tensors()] if e is not None else []
    return frozenset(found)
