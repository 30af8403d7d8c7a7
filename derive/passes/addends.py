"""What an expression, or a definition, is as a sum of exponentials ``w e^u + q e^v + ...``, with weights of any sign."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product

from sympy import Add, And, Basic, Expr, Ge, Gt, Integer, Mul, Piecewise, Pow, exp, expand, log, oo, true

from derive.language import affine
from derive.language.index import Index
from derive.language.nodes import logaddexp, sigmoid, softplus
from derive.language.tensor import Read
from derive.program.match import unify
from derive.program.program import Equation, Row

from .rule import Rule
from .work import Work

LOG_OF_SUM = Rule(
    "logarithm of a sum",
    "Logarithms of sums of exponentials",
    "The logarithm of a sum of exponentials is found from their exponents: the largest leaves the sum, so nothing overflows.",
    "exp-equal",
)
MOST = 6  # addends; a sum that is longer when it is written out stays as it is


@dataclass(frozen=True)
class Addend:
    """``weight * e^exponent``; ``bounded`` where it is at most 1 by what it is, a sigmoid or a softmax."""

    weight: Expr
    exponent: Expr
    bounded: bool = False

    def times(self, other: Addend) -> Addend:
        plain = {Integer(0)}
        bounded = (self.bounded or self.exponent in plain) and (other.bounded or other.exponent in plain)
        return Addend(self.weight * other.weight, self.exponent + other.exponent, bounded)

    @property
    def is_constant(self) -> bool:
        return self.exponent == 0 or not self.exponent.has(Read)


Addends = tuple[Addend, ...]


class Sums:
    """What the forward equations are as sums of exponentials."""

    def __init__(self, work: Work):
        self.work = work
        self.made: list[Equation] = []  # what was given a name here
        self.others: list[Equation] = []  # of these, the sums over all positions but one
        self._known: dict[str, tuple[Addends | None, frozenset[Basic]]] = {}  # by the name, at its own indices
        self.assumed: set[Basic] | None = None  # of sizes: that literal positions exist, where that may be assumed

    def addends(self, e: Expr) -> Addends | None:
        """The addends of ``e``; None where it is no such sum.  What holds no exponential is a weight."""
        if isinstance(e, exp):
            return (Addend(Integer(1), e.args[0]),)
        if isinstance(e, sigmoid):
            return (Addend(Integer(1), -softplus(-e.args[0]), True),)
        if isinstance(e, Read):
            found = self._read(e)
            return found if found is not None and not all_constant(found) else (Addend(e, Integer(0)),)
        if not self.holds(e):
            return (Addend(Integer(1), log(e)),) if e.is_positive and affine.sizes_only(e) else (Addend(e, Integer(0)),)
        if e.is_Add:
            return self._added(e)
        if e.is_Mul:
            return self._multiplied(e)
        if isinstance(e, Pow) and not self.holds(e.exp):
            found = self.addends(e.base)
            if found is not None and len(found) == 1 and found[0].weight == 1:
                return (replace(found[0], exponent=e.exp * found[0].exponent, bounded=False),)
        if isinstance(e, Piecewise):
            branches = [self._branch(v) for v, _ in e.args]
            if all(b is not None for b in branches):
                pairs = [(b, c) for b, (_, c) in zip(branches, e.args, strict=True)]
                return (Addend(Integer(1), Piecewise(*pairs, evaluate=False)),)
        return None

    def _branch(self, v: Expr) -> Expr | None:
        """The logarithm of a branch; of 0 it is -oo."""
        if v == 0:
            return -oo
        found = self.addends(v)
        return None if found is None or any(a.weight != 1 for a in found) else logarithm(found)

    def holds(self, e: Expr) -> bool:
        """Whether there is an exponential in an expression, or behind a name in it."""
        if e.has(exp, sigmoid):
            return True
        return any(not all_constant(self._read(r) or ()) for r in e.atoms(Read))

    def _read(self, r: Read) -> Addends | None:
        eq, inside = self.work.equation(r.tensor.name), _positions(r)
        if eq is None or eq.name in self.work.cyclic or eq.reduce or inside is None:
            return None
        if eq.name not in self._known:
            self._known[eq.name] = None, frozenset()  # while it is looked at
            outer, self.assumed = self.assumed, set()
            value = self._value(eq)
            self._known[eq.name], self.assumed = (value, frozenset(self.assumed)), outer
        found, needed = self._known[eq.name]
        if needed | inside:
            if self.assumed is None:
                return None
            self.assumed |= needed | inside
        at = dict(zip(eq.idx, r.idx, strict=True))
        return found and tuple(
            replace(a, weight=a.weight.xreplace(at), exponent=a.exponent.xreplace(at)) for a in found
        )

    def _value(self, eq: Equation) -> Addends | None:
        t = eq.single()
        if t is not None and t.bnd and t.coef.is_positive:
            inside = self.addends(Mul(*t.fac))
            if inside is not None and not all_constant(inside) and all(a.weight == 1 for a in inside):
                return (Addend(Integer(1), log(eq.lhs)),)
        if any(x.bnd for x in eq.terms) or not eq.terms:
            return None
        whole = Add(*(_under(x.coef * Mul(*x.fac), x.rows) for x in eq.terms))
        return self.addends(whole) if self.holds(whole) else None

    def _added(self, e: Expr) -> Addends | None:
        free = Add(*(a for a in e.args if not self.holds(a)))
        found: list[Addend] = []
        for a in e.args:
            if not self.holds(a):
                continue
            if a.could_extract_minus_sign():
                rest = self._complement(-a)
                if rest is None:
                    return None
                free -= rest[0]
                found.append(rest[1])
                continue
            inner = self.addends(a)
            if inner is None:
                return None
            found += inner
        if free.is_number and free.is_negative:
            return None
        if free != 0:
            found += self.addends(free) or ()
        return tuple(found) if len(found) <= MOST else None

    def _complement(self, e: Expr) -> tuple[Expr, Addend] | None:
        """``(c, c (1 - p))`` of ``c p``, where p is a sigmoid or an element of a softmax."""
        c, f = e.as_coeff_Mul()
        found = self.addends(f)
        if found is None or len(found) != 1 or found[0].weight != 1 or not found[0].bounded or not c.is_positive:
            return None
        u, number = found[0].exponent, Integer(0) if c == 1 else log(c)
        inside = -u
        if isinstance(inside, softplus):
            return c, Addend(Integer(1), number - softplus(-inside.args[0]), True)
        others = self._others(u)
        return None if others is None else (c, Addend(Integer(1), number + others, True))

    def _others(self, u: Expr) -> Expr | None:
        """``log sum_(j != k) e^(u_j) - log sum_j e^(u_j)`` of ``u = u_k - log sum_j e^(u_j)``."""
        for a in Add.make_args(u):
            below = -a
            if not (isinstance(below, log) and isinstance(below.args[0], Read)):
                continue
            s = self.work.equation(below.args[0].tensor.name)
            t = None if s is None else s.single()
            if s is None or t is None or len(t.bnd) != 1:
                continue
            inside = self.addends(Mul(*t.fac))
            if inside is None or len(inside) != 1 or t.rows:
                continue
            at = dict(zip(s.idx, below.args[0].idx, strict=True))
            found = unify(inside[0].exponent.xreplace(at), u - a, set(t.bnd), {})
            if found is None or t.bnd[0] not in found:
                continue
            k = found[t.bnd[0]]
            free = u.free_symbols | k.free_symbols
            idx = tuple(i for i in indices_of(free))
            opened = self.work.fresh(t.bnd[0])
            term = t.xreplace({**at, t.bnd[0]: opened})
            term = replace(term, bnd=(opened,), rows=(*term.rows, Row("!=", opened, k)))
            rest = Equation(self.work.tensor(self.work.unused(f"{s.name}_others"), idx), idx, (term,))
            same = next((m for m in self.others if m.idx == idx and _alike(m, rest)), None)
            if same is None:
                self.work.insert_after(s, rest)
                self.work.define(LOG_OF_SUM, rest, f"the sum {s.name} without one position: 1 - p is its share")
                self.others.append(rest)
                self.made.append(rest)
            return log((same or rest).lhs) + a
        return None

    def _multiplied(self, e: Expr) -> Addends | None:
        free = Mul(*(a for a in e.args if not self.holds(a)))
        lists = [self._divided(a) if isinstance(a, Pow) else self.addends(a) for a in e.args if self.holds(a)]
        if any(x is None for x in lists):
            return None
        if free != 1:
            lists.append(self.addends(free))
        out = []
        for combination in product(*(x for x in lists if x is not None)):
            one = combination[0]
            for other in combination[1:]:
                one = one.times(other)
            out.append(one)
        if len(out) == 1 and _is_softmax(out[0].exponent):
            out = [replace(out[0], bounded=True)]
        return tuple(out) if len(out) <= MOST else None

    def _divided(self, e: Pow) -> Addends | None:
        found = self.addends(e.base) if e.exp.is_number else None
        if found is None or any(a.weight != 1 for a in found):
            return None
        return (Addend(Integer(1), expand(e.exp * logarithm(found))),)

    # --- what is asked of it ---

    def equation_of(self, r: Read) -> Equation:
        found = self.work.equation(r.tensor.name)
        assert found is not None
        return found

    def is_weighted(self, r: Read) -> bool:
        """Whether a read is of ``sum_k e^(u_k) v_k``, with something besides the exponential in it."""
        eq = self.work.equation(r.tensor.name) if affine.safe_read(r) else None
        t = None if eq is None else eq.single()
        if eq is None or t is None or not t.bnd or eq.name in self.work.cyclic:
            return False
        powers = [f for f in t.fac if self.holds(f)]
        return 0 < len(powers) < len(t.fac) and all(isinstance(f, exp) or self._is_sum(f) for f in powers)

    def is_positive(self, e: Expr) -> bool:
        """Whether ``e`` is a sum of exponentials over an index, or holds one."""
        found = self.addends(e)
        return found is not None and all(a.weight == 1 for a in found) and any(a.exponent.has(log) for a in found)

    def is_plain(self, e: Expr) -> bool:
        """An exponential, a sigmoid, one minus a sigmoid, a named sum; or a product of exponentials over a named sum."""
        if isinstance(e, exp | sigmoid) or not self.holds(e):
            return True
        if e.is_Add:
            return (
                all(
                    isinstance(x, sigmoid) or self._is_sigmoid(x) or x == 1
                    for x in (a.as_coeff_Mul()[1] for a in e.args)
                )
                and len(e.args) == 2
            )
        if e.is_Mul:
            return not any(isinstance(a, Read) and self._sums(a) for a in e.args) and all(
                isinstance(a, exp) or self._is_sum(a) or not self.holds(a) for a in e.args
            )
        eq = self.work.equation(e.tensor.name) if isinstance(e, Read) else None
        t = None if eq is None else eq.single()
        if eq is None or t is None or isinstance(eq.value(), Read):
            return False
        return t.coef == 1 and (bool(t.bnd) or self.is_plain(Mul(*t.fac)))

    def _is_sigmoid(self, e: Expr) -> bool:
        eq = self.work.equation(e.tensor.name) if isinstance(e, Read) else None
        return eq is not None and isinstance(eq.value(), sigmoid)

    def _sums(self, r: Read) -> bool:
        eq = self.work.equation(r.tensor.name)
        return eq is not None and any(t.bnd for t in eq.terms)

    def _is_sum(self, e: Expr) -> bool:
        """``1/s`` or ``s`` of a named sum over an index, or a name of an exponential."""
        base = e.base if isinstance(e, Pow) else e
        eq = self.work.equation(base.tensor.name) if isinstance(base, Read) else None
        t = None if eq is None else eq.single()
        return eq is not None and t is not None and (bool(t.bnd) or isinstance(eq.value(), exp))


def logarithm(found: Addends) -> Expr:
    """The logarithm of a sum whose weights are all 1."""
    ordered = sorted((a.exponent for a in found), key=lambda u: isinstance(u, Piecewise))
    out = ordered[0]
    for u in ordered[1:]:
        out = _together(out, u)
    return out


def _together(u: Expr, v: Expr) -> Expr:
    """``log(e^u + e^v)``; one that may be -oo by a condition leaves the other as it is there."""
    for masked, other in ((v, u), (u, v)):
        if isinstance(masked, Piecewise) and any(x == -oo for x, _ in masked.args):
            pairs = [(other if x == -oo else _together(other, x), c) for x, c in masked.args]
            return Piecewise(*pairs, evaluate=False)
    if u == 0:
        return softplus(v)
    return softplus(u) if v == 0 else logaddexp(u, v)


def _under(e: Expr, rows: tuple[Row, ...]) -> Expr:
    return Piecewise((e, And(*(r.condition for r in rows))), (0, True), evaluate=False) if rows else e


def _positions(r: Read) -> set[Basic] | None:
    """What sizes must be for a read to be in range: ``K > 1`` of ``p[b, 1]``; None where indices decide it."""
    found: set[Basic] = set()
    for e, size in zip(r.idx, r.tensor.axes, strict=True):
        if not affine.in_range(e, size):
            if not affine.sizes_only(e):
                return None
            found |= {Ge(e, 0), Gt(size, e)} - {true}
    return found


def all_constant(found: Addends) -> bool:
    return all(a.is_constant for a in found)


def _is_softmax(u: Expr) -> bool:
    """Whether an exponent is ``v - log s`` with s a sum over an index: at most 0 if v is one of the exponents in it."""
    return any(isinstance(-a, log) and isinstance((-a).args[0], Read) for a in Add.make_args(u))


def _alike(m: Equation, rest: Equation) -> bool:
    (a,), (b,) = m.terms, rest.terms
    return a == b.xreplace({b.bnd[0]: a.bnd[0]}) or replace(b, bnd=a.bnd).xreplace({b.bnd[0]: a.bnd[0]}) == a


def indices_of(symbols: Iterable[Basic]) -> list[Index]:
    return sorted((s for s in symbols if isinstance(s, Index)), key=lambda i: i.name)
