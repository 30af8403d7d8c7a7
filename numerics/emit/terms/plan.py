"""What a term is, numerically: which indices are summed, which conditions mask, what is scattered where.

    sum_m x[m] K[r] [S*u + r - P = m]   ->  m solved: x[S*u + r - P] K[r], zero outside
    sum_q g[q] [q + 1 = m]              ->  q solved: g[m - 1]
    sum_t dx[t,d] [v = tok[t]]          ->  scatter: v at tok[t]
    sum_{u,r} dy[u] K[r] [S*u + r = m]  ->  the row stays, a boolean indicator over (u, r, m)

Nothing here changes a value: a solved row keeps its range as conditions unless a factor vanishes outside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sympy
from sympy import Expr, Integer, Mul, Piecewise, Pow
from sympy.logic.boolalg import And, BooleanTrue

from derive.language.affine import nonnegative, parts
from derive.language.facts import missing_value
from derive.language.index import Index, same_size
from derive.language.nodes import Iverson
from derive.language.tensor import Read
from derive.program.program import Term
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import Val

from .positions import inside_conditions, labels

Plain = Callable[[Scope, Sequence[Term], Sequence[Index]], Val]  # writes the sum of terms
Together = Callable[[Scope, list["Plan"], Sequence[Index]], Val]  # writes the sum of several planned terms


@dataclass
class Plan:
    """One term, ready to be written: ``coef * sum_{bnd} prod(fac) * [conditions]``, added at ``scatter`` positions."""

    coef: Expr
    fac: list[Expr]
    conditions: list[Any]
    bnd: list[Index]
    scatter: dict[Index, Expr] = field(default_factory=dict)
    folds: dict[Index, tuple[Index, ...]] = field(default_factory=dict)  # free index -> its digits, see reshape.py
    value: Val | None = None  # its array, where a pattern gave it
    singular: frozenset[str] = frozenset()  # the tensors that may be infinite where a condition is false

    def xreplace(self, mapping: Mapping[Any, Any]) -> None:
        self.fac = [g for f in self.fac for g in flat(f.xreplace(mapping))]
        self.conditions = [c.xreplace(mapping) for c in self.conditions]
        self.scatter = {label: e.xreplace(mapping) for label, e in self.scatter.items()}
        self.clean()

    def clean(self) -> None:
        """Numbers go into the coefficient, brackets into the conditions; true conditions go."""
        fac, self.fac = self.fac, []
        for f in fac:
            if isinstance(f, Iverson):
                self.conditions += conjuncts(f.condition)
            elif _is_coefficient(f):
                self.coef = self.coef * f
            else:
                self.fac.append(f)
        self.conditions = [c for c in dict.fromkeys(self.conditions) if not isinstance(c, BooleanTrue)]


def flat(f: Expr) -> list[Expr]:
    """The factors of a product, also of a power of one."""
    if isinstance(f, Mul):
        return [g for a in f.args for g in flat(a)]
    if isinstance(f, Pow) and f.exp.is_Integer and isinstance(f.base, Mul):
        return [g for a in f.base.args for g in flat(Pow(a, f.exp))]
    return [f]


def conjuncts(c: Any) -> list[Any]:
    return [d for a in c.args for d in conjuncts(a)] if isinstance(c, And) else [c]


def _is_coefficient(e: Expr) -> bool:
    if e.has(Read, Iverson, Piecewise) or labels(e):
        return False
    return not e.atoms(sympy.Function) - e.atoms(sympy.floor)


def opened(term: Term) -> Plan:
    """A term with its factors flat and its rows as conditions."""
    p = Plan(term.coef, [g for f in term.fac for g in flat(f)], [], list(term.bnd))
    p.clean()
    for row in term.rows:
        p.conditions += [row.condition]
    p.clean()
    return p


def solved(p: Plan, idx: Sequence[Index], scope: Scope) -> Plan:
    """Rows solved where that leaves simpler reads, scatters chosen."""
    while _solve_one(p, idx, scope):
        pass
    _choose_scatter(p, idx, scope)
    p.singular = scope.singular
    _count_unused(p)
    return p


def digits_of(p: Plan, order: Sequence[Index]) -> tuple[Index, ...]:
    """The indices, those that a reshape makes replaced by their digits."""
    return tuple(i for label in order for i in p.folds.get(label, (label,)))


def _equality(c: Any) -> tuple[Expr, Expr] | None:
    """The sides of an equality of whole numbers; one with a float that is no position stays the condition that it is."""
    if not isinstance(c, sympy.Eq) or any(r.tensor.dtype == "float" for r in c.atoms(Read)):
        return None
    return c.lhs, c.rhs


def _solve_one(p: Plan, idx: Sequence[Index], scope: Scope) -> bool:
    """Solve one equality row for a bound index, if that leaves reads simpler than the row.

    Why one at a time: the solution is put into the other rows, which may thereby become solvable or lose the index that
    could have been solved for.  The order of ``p.bnd`` decides, so that the same term is always written the same way.
    """
    for c in p.conditions:
        sides = _equality(c)
        if sides is None:
            continue
        split = parts(sympy.expand(sides[0] - sides[1]))
        if split is None:
            continue
        coefs, rest = split
        for label in sorted((a for a in coefs if a in p.bnd), key=lambda a: p.bnd.index(a)):
            solution = _solution(label, coefs, rest, p.bnd)
            if solution is None:
                continue
            p.conditions.remove(c)
            p.bnd.remove(label)
            # an integer of the data that no range is declared for is no affine read, which is zero outside by itself
            if not _same_range(solution, label) and (solution.has(Read) or not _vanishes_outside(p, label, scope)):
                p.conditions += inside_conditions(solution, label.size, scope)
            p.xreplace({label: solution})
            return True
    return False


def _solution(label: Index, coefs: Mapping[Expr, Expr], rest: Expr, bnd: Iterable[Index]) -> Expr | None:
    """``label`` from ``sum coefs * atoms + rest == 0``: needs a unit coefficient, and either no other bound index or
    only positive coefficients (then ``label`` is the position in the larger array, as in a convolution)."""
    if coefs[label] not in (1, -1):
        return None
    others = {a: -c * coefs[label] for a, c in coefs.items() if a != label}
    if any(label in labels(a) for a in others):
        return None
    loose = {i for a in others for i in labels(a)} & set(bnd)
    if loose and not all(nonnegative(c) for c in others.values()):
        return None
    return sympy.Add(*(c * a for a, c in others.items()), -rest * coefs[label])


def _same_range(solution: Expr, label: Index) -> bool:
    return (isinstance(solution, Index) and same_size(solution.size, label.size)) or (
        isinstance(solution, Read)
        and solution.tensor.below is not None
        and missing_value(solution.tensor) is None
        and same_size(solution.tensor.below, label.size)
    )


def _vanishes_outside(p: Plan, label: Index, scope: Scope) -> bool:
    """Whether a factor reads a float axis of the label's own size at exactly the label: it is zero elsewhere.

    Then the range of the label need not be kept as a condition: that read itself becomes the padded or masked one.
    Only a factor of the product may answer; a read inside a sum or an exponential would leave what stands beside it.
    """
    size = scope.known(label.size)
    return any(
        isinstance(f, Read)
        and f.tensor.dtype == "float"
        and any(e == label and same_size(scope.known(a), size) for e, a in zip(f.idx, f.tensor.axes, strict=True))
        for f in p.fac
    )


def _choose_scatter(p: Plan, idx: Sequence[Index], scope: Scope) -> None:
    """Rows ``free == position read from data``, with a bound index in the position, become scatters.

    Without a bound index in it the position is one for each free index: a mask says that in one line.  With one, a mask
    would be an array over free and bound indices, which ``at[].add`` never forms.
    """
    for c in list(p.conditions):
        sides = _equality(c)
        split = parts(sympy.expand(sides[0] - sides[1])) if sides else None
        if split is None:
            continue
        coefs, rest = split
        for label in [a for a in coefs if a in idx and coefs[a] in (1, -1)]:
            others = {a: -k * coefs[label] for a, k in coefs.items() if a != label}
            data = [a for a in others if isinstance(a, Read)]
            bound = {i for a in others for i in labels(a)} & set(p.bnd)
            if not data or not bound or any(label in labels(a) for a in others) or label in p.scatter:
                continue
            where = sympy.Add(*(k * a for a, k in others.items()), -rest * coefs[label])
            if any(i in p.scatter for i in labels(where)):
                continue
            p.conditions.remove(c)
            p.conditions += inside_conditions(where, label.size, scope)
            p.xreplace({label: where})
            p.scatter[label] = where
            break


def _count_unused(p: Plan) -> None:
    """A bound index that nothing reads multiplies the term by its size."""
    used = {i for e in (*p.fac, *p.conditions, *p.scatter.values()) for i in labels(e)}
    for b in [b for b in p.bnd if b not in used]:
        p.coef = p.coef * b.size
        p.bnd.remove(b)


def common_coefficient(plans: list[Plan]) -> Expr:
    """What all coefficients share: powers of sizes, and a rational if it is the same in all; 1 for a single term."""
    if len(plans) < 2:
        return Integer(1)
    powers = [dict(p.coef.as_powers_dict()) for p in plans]
    shared = Integer(1)
    for base in powers[0]:
        if base.is_number:
            continue
        exponents = [d.get(base, 0) for d in powers]
        same_sign = all(sympy.sympify(e).is_number for e in exponents) and (
            all(e > 0 for e in exponents) or all(e < 0 for e in exponents)
        )
        if same_sign:
            shared *= base ** (min(exponents, key=abs))
    rationals = {abs(p.coef.as_coeff_Mul()[0]) for p in plans}
    return shared * rationals.pop() if len(rationals) == 1 else shared


def common_factors(plans: list[Plan]) -> list[Expr]:
    """Factors that every term of a pointwise sum holds."""
    if len(plans) < 2:
        return []
    found, left = [], [list(p.fac) for p in plans]
    for f in list(left[0]):
        if all(f in fac for fac in left):
            found.append(f)
            for fac in left:
                fac.remove(f)
    return found
