"""The rewriting rules for one adjoint equation, in order; each is an identity and each use becomes a step.

substitute    an adjoint that is a constant, an alias or a pointwise value of fewer indices is written in place
exponents     exp(u) and the exp(-lse) that an adjoint holds meet in one exponential: apart, either may overflow
expand        products of sums are multiplied out when the result is shorter
saved value   F(u) is written as the saved h = F(u); (x - mean) as xhat / rs where rs is never zero
facts         a declared sum, symmetry or sign is used, and recorded
known sum     a sum that an earlier equation already holds is read from it: sum_i x = I * mean
guards        where an adjoint is zero by a condition, a quotient or logarithm beside it is not looked at
hoist         what does not depend on the summed index leaves the sum, which gets a name of its own
"""

from __future__ import annotations

from dataclasses import replace

import sympy
from sympy import Add, And, Basic, Expr, Integer

from derive.language import affine
from derive.language.flat import flat_indices
from derive.language.index import Index
from derive.language.nodes import Iverson
from derive.language.tensor import Read
from derive.program.program import Equation, Row, Term
from derive.program.rows import may_be_singular, support_of
from derive.program.terms import decide, merge

from .changes import changed, ordered
from .collecting import expand, hoist, known_sums, use_facts
from .inverses import INVERSE, cancelled
from .rule import Rule
from .saved_values import SAVED_VALUE
from .work import Work

SUBSTITUTION = Rule("substitution", "Substitution", "An adjoint that is only a few letters long is written in place.")
COLLECT = Rule("collect", "Collecting", "Equal factors and like terms combine.")
JOIN = Rule(
    "one exponential",
    "One exponential",
    "The exponential of a summand and that of minus the log-sum-exp are multiplied before either is evaluated: the "
    "difference of the exponents is at most 0, so nothing overflows.",
)
GUARD = Rule(
    "guard",
    "Guards",
    "Where a condition makes an adjoint zero, what it is multiplied by may be infinite, and zero times infinity is not zero: "
    "the condition is kept beside it.",
)


def simplify(eq: Equation, work: Work) -> Equation:
    """Apply the rules in order until none changes the equation (it shrinks or stops each time)."""
    for _ in range(6):
        before = eq
        for rule in (
            substitute,
            join_exponents,
            cancel_inverses,
            expand,
            saved_values,
            use_facts,
            known_sums,
            keep_guards,
            hoist,
        ):
            eq = rule(eq, work)
        if eq == before:
            break
    return eq


# --- substitute ----------------------------------------------------------------------------------------------------


def substitute(eq: Equation, work: Work) -> Equation:
    """``dx = f(dy), dy = g  =>  dx = f(g)`` where g is short enough."""
    terms: list[Term] = []
    used: list[Equation] = []
    for t in eq.terms:
        terms += _substituted(t, eq, work, used)
    if not used:
        return eq
    names = sorted({u.name for u in used})
    return changed(eq, terms, work, SUBSTITUTION, f"{', '.join(names)} written in place", context=ordered(used))


def _substituted(t: Term, eq: Equation, work: Work, used: list[Equation]) -> list[Term]:
    for n, f in enumerate(t.fac):
        if not isinstance(f, Read):
            continue
        source = work.adjoint_equation(f.tensor)
        if source is None or source.name == eq.name or not _inlines(source, f, t, eq, work):
            continue
        if not all(affine.in_range(e, axis) for e, axis in zip(f.idx, f.tensor.axes, strict=True)):
            continue
        used.append(source)
        out = []
        for s in source.at(f.idx, work.fresh):
            out.append(Term(t.coef * s.coef, t.fac[:n] + s.fac + t.fac[n + 1 :], t.bnd + s.bnd, t.rows + s.rows))
        return [x for o in out for x in _substituted(o, eq, work, used)]
    return [t]


def _inlines(source: Equation, read: Read, t: Term, eq: Equation, work: Work) -> bool:
    """Constants and aliases always; other pointwise adjoints if they have fewer indices and are not summed over.

    Where a bracket picks from one that others read too, it keeps its name: it would be written out twice at full size.
    """
    if source.name in work.cyclic and any(r.tensor == source.tensor for r in source.reads()):
        return False
    if not source.is_pointwise:
        return False
    if work.is_delta(source):
        return True
    if all(not t.fac and not t.rows for t in source.terms):
        return True  # a constant
    alias = source.single()
    if alias is not None and not alias.rows and isinstance(alias.only(), Read):
        return True  # an alias, up to a coefficient
    taken_apart = [found for r in t.rows if (found := _taken_apart(r, eq, t))]
    if len(taken_apart) < len(t.rows) and source.name in work.shared:
        return False
    known = {i for letters in taken_apart for i in letters}  # one value of each for an element: nothing is summed
    more = sum(len(letters) - 1 for letters in taken_apart)
    rank = source.tensor.rank
    if source.name in work.shared:  # it is kept for others: written out at a flat place it would have no fewer elements
        rank += sum(max(len(flat_indices(i)) - 1, 0) for i in read.idx if isinstance(i, Add))
    return rank < eq.tensor.rank + more and not read.free_symbols & (set(t.bnd) - known)


def _taken_apart(row: Row, eq: Equation, t: Term) -> tuple[Index, ...]:
    """``(g, k)`` of a row ``g K + k == j`` whose j is a place of the equation: there is one such pair for each."""
    for whole, parts in ((row.rhs, row.lhs), (row.lhs, row.rhs)):
        if row.op == "==" and whole in eq.idx and isinstance(parts, Add):
            letters = flat_indices(parts)
            if letters and set(letters) <= set(t.bnd):
                return letters
    return ()


# --- inverses ------------------------------------------------------------------------------------------------------


def cancel_inverses(eq: Equation, work: Work) -> Equation:
    """``sum_j (A^-1)[x,j] A[j,y] = [x = y]``."""
    inverses = {e.tensor: e for e in work.forward if e.reduce == "inverse"}
    used: list[Equation] = []
    terms = [cancelled(t, inverses, used) for t in eq.terms] if inverses else eq.terms
    if not used:
        return eq
    return changed(eq, terms, work, INVERSE, "a matrix times its inverse is the identity", context=ordered(used))


# --- exponents -----------------------------------------------------------------------------------------------------


def join_exponents(eq: Equation, work: Work) -> Equation:
    """``ds exp(u)`` with ``ds = d_lse exp(-lse)`` is ``d_lse exp(u - lse)``, wherever ``ds`` is read and by however many."""
    terms: list[Term] = []
    used: list[Equation] = []
    for t in eq.terms:
        terms += _joined(t, eq, work, used)
    if not used:
        return eq
    names = ", ".join(dict.fromkeys(u.name for u in used))
    why = f"{names} holds the exponential of minus a log-sum-exp: it meets the exponential of a summand"
    return changed(eq, terms, work, JOIN, why, context=ordered(used))


def _joined(t: Term, eq: Equation, work: Work, used: list[Equation]) -> list[Term]:
    if not any(isinstance(f, sympy.exp) for f in t.fac):
        return [t]
    for n, f in enumerate(t.fac):
        source = work.adjoint_equation(f.tensor) if isinstance(f, Read) else None
        if source is None or source.name == eq.name or not _holds_exponential(source):
            continue
        used.append(source)
        inside = [
            row
            for e, axis in zip(f.idx, f.tensor.axes, strict=True)
            for row in (Row("<=", Integer(0), e), Row("<", e, axis))
            if not affine.in_range(e, axis)
        ]
        return [
            Term(t.coef * s.coef, t.fac[:n] + s.fac + t.fac[n + 1 :], t.bnd + s.bnd, (*t.rows, *s.rows, *inside))
            for s in source.at(f.idx, work.fresh)
        ]
    return [t]


def _holds_exponential(source: Equation) -> bool:
    """Whether each term of an adjoint holds ``exp(-lse)``."""
    return bool(source.terms) and all(
        any(isinstance(f, sympy.exp) and f.args[0].could_extract_minus_sign() for f in s.fac) for s in source.terms
    )


# --- saved values --------------------------------------------------------------------------------------------------


def saved_values(eq: Equation, work: Work) -> Equation:
    """``F(u) = h`` where the forward pass defined ``h = F(u)``."""
    terms: list[Term] = []
    used: list[str] = []
    for t in eq.terms:
        t = merge(t, work.saved.nonzero)
        t, names = work.saved.rewrite(t)
        terms.append(t)
        used += names
    why = (
        f"{', '.join(dict.fromkeys(used))} already hold{'s' if len(set(used)) == 1 else ''} this value"
        if used
        else "equal factors and exponentials combine"
    )
    return changed(eq, terms, work, SAVED_VALUE if used else COLLECT, why)


# --- guards --------------------------------------------------------------------------------------------------------


def keep_guards(eq: Equation, work: Work) -> Equation:
    """``dx = dy / x`` with ``dy = g [c]`` is ``dx = [c] dy / x``: 0 where c is false, whatever x is there."""
    used: list[Equation] = []
    terms = [_guarded(t, eq, work, used) for t in eq.terms]
    if not used:
        return eq
    names = ", ".join(dict.fromkeys(u.name for u in used))
    why = f"{names} is zero where the condition fails, and what stands beside it may be infinite there"
    return changed(eq, terms, work, GUARD, why, context=ordered(used))


def _guarded(t: Term, eq: Equation, work: Work, used: list[Equation]) -> Term:
    for f in t.fac:
        source = work.adjoint_equation(f.tensor) if isinstance(f, Read) else None
        if source is None or source.name == eq.name or not any(_singular(g, work) for g in t.fac if g is not f):
            continue
        at = dict(zip(source.idx, f.idx, strict=True))
        rows, conditions = _support(source)
        new_rows = [r for r in (r.xreplace(at) for r in rows) if r not in t.rows and decide(r) is None]
        new = [c for c in (Iverson(c.xreplace(at)) for c in conditions) if c not in t.fac and isinstance(c, Iverson)]
        if new_rows or new:
            used.append(source)
            t = replace(t, fac=(*t.fac, *new), rows=(*t.rows, *new_rows))
    return t


def _singular(f: Expr, work: Work) -> bool:
    """Whether a factor may be infinite: by what it is, or as a read of a forward value that is such a thing."""
    values = [v for r in f.atoms(Read) if (v := work.equation(r.tensor.name)) is not None]
    return may_be_singular(f) or any(may_be_singular(g) for v in values for t in v.terms if not t.rows for g in t.fac)


def _support(eq: Equation) -> tuple[list[Row], list[Basic]]:
    """The rows and conditions on an equation's own indices that stand in each of its terms: elsewhere it is zero."""
    if eq.reduce or not eq.terms:
        return [], []
    bound = {b for t in eq.terms for b in t.bnd}
    first, *others = eq.terms
    rows = [r for r in first.rows if not r.free_symbols & bound and all(r in t.rows for t in others)]
    guards = [[c for f in t.fac for c in _conditions(f) if not c.free_symbols & bound] for t in eq.terms]
    return rows, [c for c in guards[0] if all(c in more for more in guards[1:])]


def _conditions(f: Expr) -> tuple[Basic, ...]:
    """The conditions that all hold where a factor is not zero."""
    found = support_of(f)
    return () if found is None else And.make_args(found)
