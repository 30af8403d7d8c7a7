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

from collections.abc import Callable
from dataclasses import replace

import sympy
from sympy import Add, And, Expr, Integer, Mul, Piecewise, Pow, exp, expand, log

from derive.language import affine
from derive.language.nodes import logaddexp, sigmoid, softplus
from derive.language.tensor import Read
from derive.program.graph import float_ancestors
from derive.program.program import Equation, Term
from derive.program.terms import tidy

from .addends import LOG_OF_SUM, Addend, Addends, Sums, all_constant, indices_of, logarithm
from .exponentials import needs_log
from .work import Work

WHY = "the largest exponent leaves the sum of exponentials, so nothing overflows and nothing is lost"


def log_sums(work: Work) -> list[str]:
    """Rewrite logarithms of, and quotients by, sums of exponentials in all forward equations; the names of those changed."""
    _set_apart(work)
    _move_inside(work)
    sums, done = Rewriting(work), []
    for eq in list(work.forward):
        after = sums.rewritten(eq)
        if after != eq:
            work.rewrite_forward(
                LOG_OF_SUM, eq, after, WHY, context=[m for m in sums.made if m.tensor in after.tensors()]
            )
            done.append(eq.name)
    return done


def _set_apart(work: Work) -> None:
    """``s = sum e^u`` named in ``1 + sum e^u`` where a logarithm or a quotient is of the whole."""
    for eq in list(work.forward):
        if eq.reduce or eq.name in work.cyclic or not any(t.bnd for t in eq.terms):
            continue
        if len(eq.terms) == 1 and eq.terms[0].coef == 1:
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
                apart = replace(apart, terms=(replace(t, coef=Integer(1)),))
                work.forward.insert(work.forward.index(eq), apart)
                work.define(LOG_OF_SUM, apart, f"the sum of exponentials in {eq.name} gets a name")
                made.append(apart)
                t = Term(t.coef, (apart.lhs,))
            terms.append(t)
        work.rewrite_forward(LOG_OF_SUM, eq, replace(eq, terms=tuple(terms)), "the sum is read by its name", made)


def _move_inside(work: Work) -> None:
    """``sum_k (e^(u_k) / s) v_k`` for ``(sum_k e^(u_k) v_k) / s``: the numerator alone overflows, a softmax does not."""
    sums = Sums(work)
    for eq in list(work.forward):
        if eq.name in work.cyclic or eq.reduce:
            continue
        made: list[Equation] = []

        def moved(fac: tuple[Expr, ...], eq: Equation = eq, made: list[Equation] = made) -> tuple[Expr, ...]:
            over = next((f for f in fac if isinstance(f.as_base_exp()[0], Read) and _weighted_power(f, sums)), None)
            under = next((f for f in fac if isinstance(f, Pow) and _divides(f) and sums.is_positive(f.base)), None)
            if over is None or under is None:
                return fac
            (above, n), below = over.as_base_exp(), 1 / under.base
            if n + under.exp != 0 or above.tensor in {r.tensor for r in below.atoms(Read)}:
                return fac
            (inside,) = sums.equation_of(above).at(above.idx, work.fresh)
            idx = tuple(indices_of(above.free_symbols | below.free_symbols))
            tensor = work.tensor(work.unused(f"{above.tensor.name}_share"), idx, eq.tensor.block)
            share = Equation(tensor, idx, (replace(inside, fac=(*inside.fac, below)),))
            work.forward.insert(work.forward.index(eq), share)
            work.define(
                LOG_OF_SUM, share, f"{above.tensor.name} over the sum, which leaves it no exponential that overflows"
            )
            made.append(share)
            return (share.lhs**n, *(f for f in fac if f is not over and f is not under))

        def inside_of(e: Expr, moved: Callable[..., tuple[Expr, ...]] = moved) -> Expr:
            return Mul(*moved(e.args))

        terms = [replace(t, fac=tuple(f.replace(_is_mul, inside_of) for f in moved(t.fac))) for t in eq.terms]
        if made:
            after = replace(eq, terms=tuple(terms))
            work.rewrite_forward(LOG_OF_SUM, eq, after, "the quotient is taken inside the sum", made)


def _weighted_power(f: Expr, sums: Sums) -> bool:
    base, n = f.as_base_exp()
    return n.is_Integer and n.is_positive and sums.is_weighted(base)


def _divides(f: Pow) -> bool:
    return bool(f.exp.is_Integer and f.exp.is_negative)


class Rewriting(Sums):
    """The forward equations, and what becomes of logarithms and quotients in them."""

    def __init__(self, work: Work):
        super().__init__(work)
        self.current: Equation  # that is being rewritten
        self._names: dict[Expr, Expr] = {}

    def rewritten(self, eq: Equation) -> Equation:
        """An equation with each of its terms rewritten."""
        self.current = eq
        return replace(eq, terms=tuple(x for t in eq.terms for x in self.term(t)))

    def term(self, t: Term) -> list[Term]:
        """A term with its logarithms and quotients in exponents; a sum that is now the only factor is terms of its own."""
        fac = self._quotients(tuple(f.replace(_is_log, self._logarithm) if f.has(log) else f for f in t.fac))
        fac = tuple(f.replace(_is_mul, self._quotient).replace(_is_pow, self._root) if f.has(Pow) else f for f in fac)
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
            idx = tuple(indices_of(f.free_symbols))
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
        base, power = e.args[0].as_base_exp()
        if power != 1 and power.is_number and base.is_Add and (not power.is_Integer or self._is_sum_of_positive(base)):
            return power * self._logarithm(log(base))  # a root exists of what is not negative only
        parted = self._parted(e.args[0]) or self._with_its_number(e.args[0])
        if parted is not None:
            return parted
        self.assumed = set()
        found, sizes = self.addends(e.args[0]), And(*self.assumed)
        self.assumed = None
        if sizes != sympy.true and found is not None and not all_constant(found):
            # p[b, 1] is 0 where there is no second position, and what it is elsewhere is no exponential there
            after = self._of_addends(e, found)
            return e if after == e else Piecewise((after, sizes), (e, True), evaluate=False)
        if found is None:
            return self._without_sums(e)
        if not (self._worth_it(found) or self._is_product(e.args[0], found)):
            return e
        return self._of_addends(e, found)

    def _without_sums(self, e: Expr) -> Expr:
        """``log v - log s`` of ``log(v/s)``, s a positive sum over an index and v any other factors."""
        powers = [f.as_base_exp() for f in Mul.make_args(e.args[0])]
        sums = [(s, n) for s, n in powers if n.is_number and isinstance(s, Read) and self.is_positive(s)]
        rest = Mul(*(s**n for s, n in powers if (s, n) not in sums))
        return self._logarithm(log(rest)) + Add(*(n * log(s) for s, n in sums)) if sums and rest != 1 else e

    def _of_addends(self, e: Expr, found: Addends) -> Expr:
        if all(a.weight == 1 for a in found):
            return logarithm(found)
        if len(found) == 1:
            return found[0].exponent + self._logarithm(log(found[0].weight))
        return self._weighted(*found) if len(found) == 2 and not all_constant(found) else e

    def _worth_it(self, found: Addends) -> bool:
        """Whether another form is better: not of one exponential, nor where a constant keeps the sum away from 0."""
        if all_constant(found):
            return False
        if len(found) == 1:
            return (
                found[0].weight != 1 or found[0].exponent.has(Piecewise) or _is_others(found[0].exponent, self.others)
            )
        constants = [a for a in found if a.is_constant]
        return not (constants and all(a.bounded or a.is_constant for a in found))

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

    def _with_its_number(self, e: Expr) -> Expr | None:
        """``log s`` with ``s = c + sum_k w_k e^(u_k)`` for the logarithm of the number c and a named sum with weights.

        The number is then a member of the log-sum-exp like the others, which is measured by the largest of all.
        """
        c, rest = e.as_coeff_Add()
        a, r = rest.as_coeff_Mul()
        if not (c.is_positive and a == 1 and isinstance(r, Read) and self.is_weighted(r)):
            return None
        s = self.equation_of(r)
        (t,) = s.terms
        found = self.addends(Mul(*t.fac))
        if t.coef != 1 or found is None or all(x.weight == 1 for x in found):
            return None
        name = self.work.unused(f"{s.name}_floored")
        made = replace(s, tensor=self.work.tensor_like(s.tensor, name), terms=(Term(c), t))
        self.work.forward.insert(self.work.forward.index(s) + 1, made)
        self.work.define(LOG_OF_SUM, made, f"{s.name} and the number that keeps its logarithm away from that of 0")
        self.made.append(made)
        return log(made.lhs.xreplace(dict(zip(s.idx, r.idx, strict=True))))

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

    def _is_product(self, e: Expr, found: Addends) -> bool:
        """Whether ``e`` is one exponential that later rules do not see: a product or a quotient of sigmoids and softmaxes."""
        return len(found) == 1 and not all_constant(found) and not self.is_plain(e)

    def _root(self, e: Expr) -> Expr:
        """``e^(q u)`` of ``p^q`` for a sigmoid or a softmax p = e^u: where p is 0 as a float, the slope of a root is not."""
        found = None if e.exp.is_Integer else self.addends(e.base)
        if found is None or len(found) != 1 or found[0].weight != 1 or not found[0].bounded:
            return e
        return exp(expand(e.exp * found[0].exponent))

    def _quotients(self, fac: tuple[Expr, ...]) -> tuple[Expr, ...]:
        """The factors of a product with each quotient by a sum of exponentials in exponents."""
        for below in fac:
            if not (isinstance(below, Pow) and below.exp == -1 and (below.base.is_Add or isinstance(below.base, Read))):
                continue
            found = self.addends(below.base)
            if found is None or len(found) < 2 or any(a.weight != 1 for a in found) or not self._worth_it(found):
                continue
            above = [f for f in fac if (a := self.holds(f) and self.addends(f)) and all(x.weight == 1 for x in a)]
            u = Add(*(logarithm(a) for f in above if (a := self.addends(f)) is not None))
            rest = tuple(f for f in fac if f is not below and f not in above)
            part = self.addends(above[0]) if len(above) == 1 else None
            others = () if part is None else tuple(a for a in found if a not in part)
            if part is not None and 1 < len(part) == len(found) - len(others) < len(found):
                return (sigmoid(logarithm(part) - logarithm(others)), *rest)
            return (*_share(u, found), *rest)
        return fac

    def _is_sum_of_positive(self, e: Expr) -> bool:
        found = self.addends(e)
        return found is not None and all(a.weight == 1 for a in found)

    def _quotient(self, e: Expr) -> Expr:
        after = self._quotients(e.args)
        return e if after == e.args else Mul(*after)


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


def _is_others(u: Expr, made: list[Equation]) -> bool:
    names = {m.name for m in made}
    return any(r.tensor.name in names for r in u.atoms(Read))


def _is_log(e: Expr) -> bool:
    return isinstance(e, log)


def _is_pow(e: Expr) -> bool:
    return isinstance(e, Pow)


def _has_branches(e: Expr) -> bool:
    return isinstance(e, logaddexp | sigmoid) and any(
        isinstance(x.as_coeff_Mul()[1], Piecewise) for a in e.args for x in Add.make_args(a)
    )


def _is_mul(e: Expr) -> bool:
    return isinstance(e, Mul)
