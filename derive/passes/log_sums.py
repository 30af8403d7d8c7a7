"""Logarithms and quotients of finite sums of exponentials, before anything is differentiated.

Each addend of such a sum is ``w e^u``: an exponential, a sigmoid ``e^(-softplus(-u))``, a softmax, a named sum of
exponentials ``e^(log s)``, one under a condition, or one of these times a factor ``w`` of any sign.  Then

    log(e^u + e^v)       = logaddexp(u, v)                  and so on for more
    log({e^u if c; 0} + e^v) = {logaddexp(u, v) if c; v}
    e^u / (e^u + e^v)    = sigmoid(u - v)
    log(w e^u + q e^v)   = u + log(w + q e^(v - u)), or v + log(w e^(u - v) + q), whichever exponent is the larger
    log {e^u if c; e^v}  = {u if c; v}
    1 - e^(u_k) / sum_j e^(u_j) = e^(log sum_(j != k) e^(u_j) - log sum_j e^(u_j))

so a focal loss, a mixture, a softmax with a constant in its sum and a three-way recurrence of a CTC loss do not overflow,
and lose nothing, however they are spelled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import sympy
from sympy import Add, And, Expr, Integer, Mul, Piecewise, Pow, exp, expand, log, oo

from derive.language import affine
from derive.language.index import Index
from derive.language.nodes import logaddexp, sigmoid, softplus
from derive.language.tensor import Read
from derive.program.graph import float_ancestors
from derive.program.match import unify
from derive.program.program import Equation, Row, Term
from derive.program.terms import tidy

from .exponentials import needs_log
from .rule import Rule
from .work import Work

LOG_OF_SUM = Rule(
    "logarithm of a sum",
    "Logarithms of sums of exponentials",
    "The logarithm of a sum of exponentials is found from their exponents: the largest leaves the sum, so nothing overflows.",
    "exp-equal",
)
WHY = "the largest exponent leaves the sum of exponentials, so nothing overflows and nothing is lost"
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


def log_sums(work: Work) -> list[str]:
    """Rewrite logarithms of, and quotients by, sums of exponentials in all forward equations; the names of those changed."""
    _set_apart(work)
    sums, done = Sums(work), []
    for eq in list(work.forward):
        sums.current = eq
        after = replace(eq, terms=tuple(x for t in eq.terms for x in sums.term(t)))
        if after != eq:
            work.rewrite_forward(
                LOG_OF_SUM, eq, after, WHY, context=[m for m in sums.made if m.tensor in after.tensors()]
            )
            done.append(eq.name)
    return done


def _set_apart(work: Work) -> None:
    """``s = sum e^u`` named in ``1 + sum e^u`` where a logarithm or a quotient is of the whole."""
    for eq in list(work.forward):
        if eq.reduce or len(eq.terms) < 2 or eq.name in work.cyclic or not any(t.bnd for t in eq.terms):
            continue
        if not any(needs_log(u, eq.tensor) for u in work.forward):
            continue
        sums = Sums(work)
        found = [sums.addends(Mul(*t.fac)) if t.coef.is_positive else None for t in eq.terms]
        if any(f is None or any(a.weight != 1 for a in f) for f in found):
            continue
        made = []
        terms = []
        for t in eq.terms:
            if t.bnd:
                idx = tuple(i for i in eq.idx if i in t.free_symbols)
                apart = Equation(work.tensor(work.unused(f"{eq.name}_sum"), idx, eq.tensor.block), idx, (t,))
                work.forward.insert(work.forward.index(eq), apart)
                work.define(LOG_OF_SUM, apart, f"the sum of exponentials in {eq.name} gets a name")
                made.append(apart)
                t = Term(Integer(1), (apart.lhs,))
            terms.append(t)
        work.rewrite_forward(LOG_OF_SUM, eq, replace(eq, terms=tuple(terms)), "the sum is read by its name", made)


class Sums:
    """What the forward equations are as sums of exponentials."""

    def __init__(self, work: Work):
        self.work = work
        self.made: list[Equation] = []  # what was given a name here
        self.others: list[Equation] = []  # of these, the sums over all positions but one
        self.current: Equation  # that is being rewritten
        self._names: dict[Expr, Expr] = {}
        self._known: dict[str, Addends | None] = {}  # by the name of an equation, at its own indices

    # --- what an expression is ---

    def addends(self, e: Expr) -> Addends | None:
        """The addends of ``e``; None where it is no such sum.  What holds no exponential is a weight."""
        if isinstance(e, exp):
            return (Addend(Integer(1), e.args[0]),)
        if isinstance(e, sigmoid):
            return (Addend(Integer(1), -softplus(-e.args[0]), True),)
        if isinstance(e, Read):
            found = self._read(e)
            return found if found is not None and not _all_constant(found) else (Addend(e, Integer(0)),)
        if not self._holds(e):
            return (Addend(Integer(1), log(e)),) if e.is_positive and affine.sizes_only(e) else (Addend(e, Integer(0)),)
        if e.is_Add:
            return self._added(e)
        if e.is_Mul:
            return self._multiplied(e)
        if isinstance(e, Pow) and e.exp.is_number:
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

    def _holds(self, e: Expr) -> bool:
        """Whether there is an exponential in an expression, or behind a name in it."""
        if e.has(exp, sigmoid):
            return True
        return any(not _all_constant(self._read(r) or ()) for r in e.atoms(Read))

    def _read(self, r: Read) -> Addends | None:
        eq = self.work.equation(r.tensor.name) if affine.safe_read(r) else None
        if eq is None or eq.name in self.work.cyclic or eq.reduce:
            return None
        if eq.name not in self._known:
            self._known[eq.name] = None  # while it is looked at
            self._known[eq.name] = self._value(eq)
        found, at = self._known[eq.name], dict(zip(eq.idx, r.idx, strict=True))
        return found and tuple(
            replace(a, weight=a.weight.xreplace(at), exponent=a.exponent.xreplace(at)) for a in found
        )

    def _value(self, eq: Equation) -> Addends | None:
        t = eq.single()
        if t is not None and t.bnd and t.coef.is_positive:
            inside = self.addends(Mul(*t.fac))
            if inside is not None and not _all_constant(inside) and all(a.weight == 1 for a in inside):
                return (Addend(Integer(1), log(eq.lhs)),)
        if any(x.bnd for x in eq.terms) or not eq.terms:
            return None
        whole = Add(*(_under(x.coef * Mul(*x.fac), x.rows) for x in eq.terms))
        return self.addends(whole) if self._holds(whole) else None

    def _added(self, e: Expr) -> Addends | None:
        free = Add(*(a for a in e.args if not self._holds(a)))
        found: list[Addend] = []
        for a in e.args:
            if not self._holds(a):
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
            idx = tuple(i for i in _indices(free))
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
        free = Mul(*(a for a in e.args if not self._holds(a)))
        lists = [self._divided(a) if isinstance(a, Pow) else self.addends(a) for a in e.args if self._holds(a)]
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

    # --- what becomes of it ---

    def term(self, t: Term) -> list[Term]:
        """A term with its logarithms and quotients in exponents; a sum that is now the only factor is terms of its own."""
        fac = self._quotients(tuple(f.replace(_is_log, self._logarithm) if f.has(log) else f for f in t.fac))
        fac = tuple(f.replace(_is_mul, self._quotient) if f.has(Pow) else f for f in fac)
        fac = tuple(f.replace(_has_branches, self._named) if f.has(logaddexp, sigmoid) else f for f in fac)
        if fac == t.fac:
            return [t]
        if len(fac) == 1 and fac[0].is_Add and not t.bnd and not t.rows:
            changed = [Term(t.coef, (a,)) for a in fac[0].args]
        else:
            changed = [replace(t, fac=fac)]
        return [x for x in map(tidy, changed) if x is not None]

    def _named(self, e: Expr) -> Expr:
        """``e`` with a name for each argument, or addend of one, that is a Piecewise: what is compared must not branch."""
        return e.func(*(Add(*(self._name(x) for x in Add.make_args(a))) for a in e.args))

    def _name(self, e: Expr) -> Expr:
        c, f = e.as_coeff_Mul()
        if not isinstance(f, Piecewise):
            return e
        if f not in self._names:
            idx = tuple(_indices(f.free_symbols))
            made = Equation(
                self.work.tensor(self.work.unused(f"{self.current.name}_in"), idx), idx, (Term(Integer(1), (f,)),)
            )
            self.work.forward.insert(self.work.forward.index(self.current), made)
            self.work.define(LOG_OF_SUM, made, "an exponent that depends on a condition gets a name")
            if self.current.name in self.work.cyclic:
                self.work.cyclic.add(made.name)
            self.made.append(made)
            self._names[f] = made.lhs
        return c * self._names[f]

    def _logarithm(self, e: Expr) -> Expr:
        parted = self._parted(e.args[0])
        if parted is not None:
            return parted
        found = self.addends(e.args[0])
        if found is None or not (self._worth_it(found) or self._is_name_of_another(e.args[0], found)):
            return e
        if all(a.weight == 1 for a in found):
            return logarithm(found)
        if len(found) == 1:
            return found[0].exponent + log(found[0].weight)
        exponents = [a for a in found if not a.is_constant]
        return self._weighted(*found) if len(found) == 2 == len(exponents) else e

    def _worth_it(self, found: Addends) -> bool:
        """Whether another form is better: not of one exponential, nor where a constant keeps the sum away from 0."""
        if _all_constant(found):
            return False
        if len(found) == 1:
            return (
                found[0].weight != 1 or found[0].exponent.has(Piecewise) or _is_others(found[0].exponent, self.others)
            )
        constants = [a for a in found if a.is_constant]
        if constants and all(a.bounded or a.is_constant for a in found):
            return False
        return not (len(found) == 2 and any(a.exponent == 0 and a.weight != 1 for a in found))

    def _parted(self, e: Expr) -> Expr | None:
        """``log sum_k w_k e^(u_k) + v`` for the logarithm of ``sum_k w_k e^(u_k + v)``, as of labels times a softmax."""
        s = self.work.equation(e.tensor.name) if isinstance(e, Read) and affine.safe_read(e) else None
        t = None if s is None or s.name in self.work.cyclic else s.single()
        if s is None or t is None or not t.bnd or t.rows or not isinstance(e, Read):
            return None
        inside = self.addends(Mul(*t.fac))
        if inside is None or len(inside) != 1 or not inside[0].bounded:
            return None
        u = [a for a in Add.make_args(inside[0].exponent) if a.free_symbols & set(t.bnd)]
        v = [a for a in Add.make_args(inside[0].exponent) if a not in u]
        if not u or not v:
            return None
        weights = () if inside[0].weight == 1 else Mul.make_args(inside[0].weight)
        name = self.work.unused(f"{s.name}_part")
        made = replace(
            s, tensor=self.work.tensor_like(s.tensor, name), terms=(replace(t, fac=(*weights, exp(Add(*u)))),)
        )
        self.work.forward.insert(self.work.forward.index(s) + 1, made)
        self.work.define(LOG_OF_SUM, made, f"{s.name} without a factor that is the same for all its terms")
        self.made.append(made)
        at = dict(zip(s.idx, e.idx, strict=True))
        return log(made.lhs.xreplace(at)) + Add(*v).xreplace(at)

    def _weighted(self, a: Addend, b: Addend) -> Expr:
        """``log(w e^u + q e^v)`` for weights of any sign, by the larger exponent; a weight of 0 takes its exponent away."""
        difference = _cancelled(expand(a.exponent - b.exponent))
        pairs = []
        for one, other in ((a, b), (b, a)):
            if other.weight != 1 and not self._is_differentiated(other.weight):
                pairs.append((one.exponent + log(one.weight), sympy.Eq(other.weight, 0, evaluate=False)))
        pairs += [
            (a.exponent + log(a.weight + b.weight * exp(-difference)), sympy.Ge(difference, 0, evaluate=False)),
            (b.exponent + log(a.weight * exp(difference) + b.weight), True),
        ]
        return Piecewise(*pairs, evaluate=False)

    def _is_differentiated(self, weight: Expr) -> bool:
        names = {t.name for t in self.work.wrt}
        return any(names & {r.tensor.name, *float_ancestors(self.work.forward, r.tensor)} for r in weight.atoms(Read))

    def _is_name_of_another(self, e: Expr, found: Addends) -> bool:
        """Whether ``e`` reads a name for an exponential that stands under another name, or one minus it."""
        eq = self.work.equation(e.tensor.name) if isinstance(e, Read) else None
        return eq is not None and not _all_constant(found) and (len(eq.terms) > 1 or isinstance(eq.value(), Read))

    def _quotients(self, fac: tuple[Expr, ...]) -> tuple[Expr, ...]:
        """The factors of a product with each quotient by a sum of exponentials in exponents."""
        for below in fac:
            if not (isinstance(below, Pow) and below.exp == -1 and (below.base.is_Add or isinstance(below.base, Read))):
                continue
            found = self.addends(below.base)
            if found is None or len(found) < 2 or any(a.weight != 1 for a in found) or not self._worth_it(found):
                continue
            above = [f for f in fac if (a := self._holds(f) and self.addends(f)) and len(a) == 1 and a[0].weight == 1]
            u = Add(*(a[0].exponent for f in above if (a := self.addends(f)) is not None))
            rest = tuple(f for f in fac if f is not below and f not in above)
            return (*_share(u, found), *rest)
        return fac

    def _quotient(self, e: Expr) -> Expr:
        after = self._quotients(e.args)
        return e if after == e.args else Mul(*after)


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


def _share(u: Expr, found: Addends) -> tuple[Expr, ...]:
    """``e^u`` over the sum, as factors: a sigmoid of what it is compared with, where it is one of the addends."""
    for n, a in enumerate(found):
        others = found[:n] + found[n + 1 :]
        is_sum = isinstance(a.exponent, log) and isinstance(a.exponent.args[0], Read)
        if a.exponent != 0 and expand(u - a.exponent) == 0:
            return (sigmoid(a.exponent - logarithm(others)),)
        if is_sum and all(expand(u - b.exponent) != 0 for b in others):
            return (exp(u), 1 / a.exponent.args[0], sigmoid(a.exponent - logarithm(others)))
    return (exp(u - logarithm(found)),)


def _cancelled(e: Expr) -> Expr:
    """``softplus(u) - softplus(-u) = u``."""
    for a in Add.make_args(e):
        c, f = a.as_coeff_Mul()
        if isinstance(f, softplus) and e.coeff(softplus(-f.args[0])) == -c:
            return _cancelled(expand(e - a + c * softplus(-f.args[0]) + c * f.args[0]))
    return e


def _under(e: Expr, rows: tuple[Row, ...]) -> Expr:
    return Piecewise((e, And(*(r.condition for r in rows))), (0, True), evaluate=False) if rows else e


def _all_constant(found: Addends) -> bool:
    return all(a.is_constant for a in found)


def _is_softmax(u: Expr) -> bool:
    """Whether an exponent is ``v - log s`` with s a sum over an index: at most 0 if v is one of the exponents in it."""
    return any(isinstance(-a, log) and isinstance((-a).args[0], Read) for a in Add.make_args(u))


def _is_others(u: Expr, made: list[Equation]) -> bool:
    names = {m.name for m in made}
    return any(r.tensor.name in names for r in u.atoms(Read))


def _alike(m: Equation, rest: Equation) -> bool:
    (a,), (b,) = m.terms, rest.terms
    return a == b.xreplace({b.bnd[0]: a.bnd[0]}) or replace(b, bnd=a.bnd).xreplace({b.bnd[0]: a.bnd[0]}) == a


def _indices(symbols: set) -> list[Index]:
    return sorted((s for s in symbols if isinstance(s, Index)), key=lambda i: i.name)


def _is_log(e: Expr) -> bool:
    return isinstance(e, log)


def _has_branches(e: Expr) -> bool:
    return isinstance(e, logaddexp | sigmoid) and any(
        isinstance(x.as_coeff_Mul()[1], Piecewise) for a in e.args for x in Add.make_args(a)
    )


def _is_mul(e: Expr) -> bool:
    return isinstance(e, Mul)
