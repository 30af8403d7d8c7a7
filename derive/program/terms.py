"""Terms: tidied, decided, collected, merged; and sums whose index nothing reads."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import replace

import sympy
from sympy import Add, Expr, Integer, Mul, Pow, expand

from derive.language import affine
from derive.language.index import Index
from derive.language.nodes import Iverson
from derive.language.tensor import Read

from .canonical import term_key
from .program import Equation, Row, Term
from .rows import guard_of, split_guard

SIMPLE = 1000  # the largest coefficient that is left inside where a sum's common number is taken out


def tidy(term: Term) -> Term | None:
    """Numbers into the coefficient, products into factors, true rows away; None if the term is zero."""
    coef, fac, guards = term.coef, [], []
    for f in term.fac:
        for g in Mul.make_args(f):
            found, g = split_guard(g)
            if found:
                guards += found
                fac += [h for h in Mul.make_args(g) if not affine.sizes_only(h)]
                coef *= Mul(*(h for h in Mul.make_args(g) if affine.sizes_only(h)))
                continue
            condition = guard_of(g)
            if condition is not None and not isinstance(g, Iverson) and g.args[0][0].is_Rational:
                fac.append(Iverson(condition))  # 2 [c] of {2 if c; 0 otherwise}
                coef *= g.args[0][0]
                continue
            if g.is_Add and not affine.sizes_only(g):
                content, g = primitive(g)  # SymPy writes 2*(a - b) as 2*a - 2*b; take the number out again
                if all(a.could_extract_minus_sign() for a in g.args):
                    content, g = -content, -g
                coef *= content
            if affine.sizes_only(g) and not g.is_infinite:
                coef *= g
            else:
                fac.append(g)
    if coef.could_extract_minus_sign():
        for n, g in enumerate(fac):
            if g.is_Add and len(g.args) == 2 and Integer(-1) in g.args:  # -(s - 1) reads better as (1 - s)
                fac[n], coef = -g, -coef
                break
    if coef == 0:
        return None
    rows = []
    for row in (*term.rows, *guards):
        verdict = decide(row)
        if verdict is False:
            return None
        if verdict is None and row not in rows:
            rows.append(row)
    return Term(coef, tuple(fac), term.bnd, tuple(rows))


def primitive(e: Add) -> tuple[Expr, Expr]:
    """A number and the sum that it multiplies; decimals such as 0.7978 a + 0.0357 b have no simpler ones, and stay."""
    content, rest = e.primitive()
    simple = all(abs(a.as_coeff_Mul()[0]) <= SIMPLE for a in rest.args)
    return (content, rest) if simple else (Integer(1), e)


@functools.cache
def decide(row: Row) -> bool | None:
    """Whether a row holds for all values of its indices (True), for none (False), or for some (None)."""
    difference = expand(row.lhs - row.rhs)
    if difference.is_Integer:
        n = int(difference)
        return {"==": n == 0, "!=": n != 0, "<=": n <= 0, "<": n < 0}[row.op]
    if affine.always(row):
        return True
    if row.op in ("<=", "<"):
        found = affine.bounds(row.lhs - row.rhs)
        if found is not None and affine.nonnegative(expand(found[0] - (1 if row.op == "<=" else 0))):
            return False
    if row.op in ("==", "!="):
        found = affine.bounds(difference)
        if found is not None and (
            affine.nonnegative(expand(found[0] - 1)) or affine.nonnegative(expand(-found[1] - 1))
        ):
            return row.op == "!="
    return None


def drop_free_sums(term: Term) -> Term:
    """A bound index that nothing reads only counts: ``sum_i a = I a``."""
    used = set()
    for part in (*term.fac, *term.rows):
        used |= part.free_symbols
    idle = [b for b in term.bnd if b not in used]
    if not idle:
        return term
    return replace(term, coef=term.coef * Mul(*(b.size for b in idle)), bnd=tuple(b for b in term.bnd if b in used))


def collect(terms: Iterable[Term], idx: tuple[Index, ...] = ()) -> tuple[Term, ...]:
    """Like terms added up, zeros dropped, in order of first appearance."""
    env = {i: f"={n}" for n, i in enumerate(idx)}
    found: dict[str, Term] = {}
    for t in terms:
        t = drop_free_sums(t)
        k = term_key(t, env)
        found[k] = t if k not in found else replace(found[k], coef=sympy.expand(found[k].coef + t.coef))
    return tuple(t for t in found.values() if t.coef != 0)


def merge(term: Term, nonzero: frozenset[str] = frozenset()) -> Term:
    """Equal factors into powers and exponentials into one: ``exp(z) exp(-lse) = exp(z - lse)``.

    Negative and positive powers meet only over a read that cannot be the zero outside a tensor: one named in ``nonzero``
    (a reciprocal root, an exponential, a sigmoid) or one in range.
    """
    powers: dict[Expr, Expr] = {}
    exponent, order = [], []
    for f in term.fac:
        if isinstance(f, sympy.exp):
            exponent.append(f.args[0])
            continue
        base, power = f.as_base_exp() if isinstance(f, Pow) else (f, Integer(1))
        if base not in powers:
            order.append(base)
        powers.setdefault(base, []).append(power)
    fac = []
    for base in order:
        these = powers[base]
        if isinstance(base, Iverson) and all(p.is_positive for p in these):
            fac.append(base)  # [c]^2 = [c]
        elif len(these) == 1:
            fac.append(base ** these[0] if these[0] != 1 else base)
        elif all(p.is_positive for p in these) or all(p.is_negative for p in these) or _is_nonzero(base, nonzero):
            total = Add(*these)
            if total != 0:
                fac.append(base**total if total != 1 else base)
        else:
            positive, negative = Add(*(p for p in these if p.is_positive)), [p for p in these if not p.is_positive]
            fac += [base**positive if positive != 1 else base, *(base**p for p in negative)]
    if exponent:
        total = Add(*exponent)
        if total != 0:
            fac.insert(0, sympy.exp(total))
    return replace(term, fac=tuple(fac))


def _is_nonzero(base: Expr, nonzero: frozenset[str]) -> bool:
    """A read that is never zero; or one in range, where p / p = 1 removes a quotient that p = 0 would leave undefined."""
    return isinstance(base, Read) and (base.tensor.name in nonzero or affine.safe_read(base))


def summed(s: Equation) -> Term | None:
    """The sum in ``s = sum f`` or in ``s = c + sum f``, c a positive number: the one term that sums, where no other does."""
    found = [t for t in s.terms if t.bnd]
    if s.reduce or len(found) != 1 or found[0].coef != 1 or (len(s.terms) > 1 and floor_of(s) is None):
        return None
    return found[0]


def floor_of(s: Equation) -> Expr | None:
    """``c`` of ``s = c + sum f``, where it is a positive number, of sizes at most; else None."""
    rest = [t for t in s.terms if not t.bnd]
    c = Add(*(t.coef * Mul(*t.fac) for t in rest))
    return c if rest and not any(t.rows for t in rest) and affine.sizes_only(c) and c.is_positive else None
