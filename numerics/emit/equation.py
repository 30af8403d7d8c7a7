"""One equation as one value: the ordered lists of patterns, and how they are gone through.

    equation    affine form | inverse, determinant | max, argmax | running product | pieces
                error function | kink | sum of terms                                         EQUATIONS
    term        gradient of a pool | windows | reshape | rows solved                         TERMS
    terms       stack | running sums | matrix-vector | diagonal | class pairs | products     SUMS
    lines       given | reshape | product | sum | pointwise | scatter                        LINES

Of ``EQUATIONS`` and ``TERMS`` the first that applies is taken.  Every one of ``SUMS`` is asked in turn: it writes the whole
sum, or replaces some of its terms, or leaves it.  ``LINES`` says which of the terms that are left go into one line, in the
order in which the lines are added: pointwise terms as one broadcast sum, plain sums over the same indices as one reduction
(``(lse - z[b, label]).mean()``), contractions one by one, scatters last, onto what is there.

A new pattern is a file in :mod:`numerics.emit.patterns` and a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import sympy
from sympy import Integer

from derive.language.index import Index
from derive.program.program import Equation, Term
from numerics.emit.patterns import (
    affine,
    batched,
    errors,
    groups,
    kinks,
    matrices,
    pieces,
    planned,
    products,
    rows,
    running,
    stacking,
    symmetric,
)
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import Val
from numerics.emit.terms import accurate, pointwise
from numerics.emit.terms.arithmetic import ZERO, Order
from numerics.emit.terms.finish import finished, reduced
from numerics.emit.terms.plan import Plain, Plan, Together, common_coefficient, common_factors, opened
from numerics.emit.terms.pointwise import Addend

# -- the patterns, in order ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EquationPattern:
    """A whole equation: its array, given what writes a sum of terms."""

    name: str
    applies: Callable[[Scope, Equation], bool]
    write: Callable[[Scope, Equation, Plain], Val]


@dataclass(frozen=True)
class TermPattern:
    """One term: completes its plan if it has this form, and says whether it has."""

    name: str
    recognise: Callable[[Scope, Plan, Term, Order, Plain], bool]


@dataclass(frozen=True)
class SumPattern:
    """Several terms: their sum, or the terms with some of them written already, or None."""

    name: str
    find: Callable[[Scope, list[Plan], Order, Together], Val | list[Plan] | None]


@dataclass(frozen=True)
class LinePattern:
    """Terms of one line: which they are, which join, and their addends; or what they are written onto."""

    name: str
    applies: Callable[[Plan], bool]
    joins: Callable[[Plan, Plan], bool]
    write: Callable[[Scope, list[Plan], Order, Together], list[Addend]] | None = None
    onto: Callable[[Scope, list[Plan], Val | None, Order], Val] | None = None


EQUATIONS: tuple[EquationPattern, ...] = (
    EquationPattern("affine form", affine.applies, affine.equation),
    EquationPattern("inverse, determinant", matrices.applies, matrices.equation),
    EquationPattern("max, argmax", lambda scope, e: bool(e.reduce), lambda scope, e, plain: _reduced(scope, e, plain)),
    EquationPattern("running product", products.applies, products.equation),
    EquationPattern("pieces", pieces.applies, pieces.equation),
    EquationPattern("error function", errors.applies, errors.equation),
    EquationPattern("kink", kinks.applies, kinks.equation),
    EquationPattern("sum of terms", lambda scope, e: True, lambda scope, e, plain: plain(scope, e.terms, e.idx)),
)

TERMS: tuple[TermPattern, ...] = (
    TermPattern("gradient of a pool", planned.pool_gradient),
    TermPattern("windows", planned.in_windows),
    TermPattern("reshape", planned.over_digits),
    TermPattern("rows solved", planned.rows_solved),
)

SUMS: tuple[SumPattern, ...] = (
    SumPattern("stack", stacking.value),
    SumPattern("running sums", running.running),
    SumPattern("matrix-vector", batched.matrix_vector),
    SumPattern("diagonal", symmetric.diagonal),
    SumPattern("class pairs", symmetric.pairs),
    SumPattern("products", symmetric.stacked),
)

LINES: tuple[LinePattern, ...] = (
    LinePattern("given", groups.is_given, groups.alone, groups.given),
    LinePattern("reshape", groups.is_folded, groups.alone, groups.folded),
    LinePattern("product", groups.is_product, groups.alone, partial(groups.contracted, ways=(symmetric.gram,))),
    LinePattern(
        "sum", groups.is_sum, groups.alike, partial(groups.summed, ways=(kinks.total, rows.row_sum, rows.total))
    ),
    LinePattern("pointwise", groups.is_pointwise, groups.always, groups.pointwise_sum),
    LinePattern("scatter", groups.is_scattered, groups.same_positions, onto=groups.scattered),
)

# -- going through them -------------------------------------------------------------------------------------------


def value(scope: Scope, e: Equation) -> Val:
    """The array of an equation, with axes ``e.idx`` and the tensor's dtype."""
    pattern = next(p for p in EQUATIONS if p.applies(scope, e))
    scope.whole = e.tensor.dtype == "int"
    with scope.assuming([g.condition for g in e.guards]):
        v = pattern.write(scope, e, plain)
    return finished(scope, v, e)


def _reduced(scope: Scope, e: Equation, plain: Plain) -> Val:
    order = (*e.idx, *e.over)
    return reduced(scope, plain(scope, e.terms, order), e, order)


def plain(scope: Scope, terms: Iterable[Term], order: Order) -> Val:
    """The sum of terms."""
    plans = [_planned(scope, t, order) for t in accurate.together(tuple(terms))]
    plans = [p for p in plans if p.coef != 0]
    return together(scope, plans, order) if plans else ZERO


def _planned(scope: Scope, term: Term, order: Order) -> Plan:
    p = opened(term)
    p.conditions = [c for c in p.conditions if not _one_place(scope, c)]
    next(t for t in TERMS if t.recognise(scope, p, term, order, plain))
    return p


def _one_place(scope: Scope, c: Any) -> bool:
    """``m = 0`` where m takes no other value."""
    return isinstance(c, sympy.Eq) and c.rhs == 0 and isinstance(c.lhs, Index) and scope.known(c.lhs.size) == 1


def together(scope: Scope, plans: list[Plan], order: Order) -> Val:
    """The sum of planned terms."""
    for pattern in SUMS:
        found = pattern.find(scope, plans, order, together)
        if isinstance(found, Val):
            return found
        plans = plans if found is None else found
    lines = _lines(plans)
    if len(lines) == 1 and lines[0][0].name == "sum":  # which puts the coefficient where it makes a mean
        return _added(scope, lines, order)
    shared = Integer(1) if any(map(groups.is_one_place, plans)) else common_coefficient(plans)
    for p in plans:
        p.coef = sympy.cancel(p.coef / shared) if shared != 1 else p.coef
    outer = common_factors(plans) if all(pattern.name == "pointwise" for pattern, _ in lines) else []
    for p in plans:
        for f in outer:
            p.fac.remove(f)
    total = _added(scope, lines, order)
    if shared != 1 or outer:
        return pointwise.plain_product(scope, [shared, *outer], order, first=total)
    return total


def _lines(plans: Sequence[Plan]) -> list[tuple[LinePattern, list[Plan]]]:
    """The terms of each line, in the order of ``LINES``."""
    found: list[tuple[LinePattern, list[Plan]]] = []
    for p in plans:
        own = next(pattern for pattern in LINES if pattern.applies(p))
        line = next((members for pattern, members in found if pattern is own and own.joins(members[0], p)), None)
        if line is None:
            found.append((own, [p]))
        else:
            line.append(p)
    return sorted(found, key=lambda line: LINES.index(line[0]))


def _added(scope: Scope, lines: Sequence[tuple[LinePattern, list[Plan]]], order: Order) -> Val:
    addends: list[Addend] = []
    for pattern, plans in lines:
        if pattern.write is not None:
            addends += pattern.write(scope, plans, order, together)
    total = pointwise.add(scope, addends, order) if addends else None
    for pattern, plans in lines:
        if pattern.onto is not None:
            total = pattern.onto(scope, plans, total, order)
    assert total is not None
    return total
