"""Stabilization: the shift in every log-sum-exp, as equations like any other.

``lse = log sum exp u`` becomes, with ``m = max u`` and ``v = u - m``,

    l = log sum exp v,    lse = m + l,    exp(u - lse) = exp(v - l),    lse - u = l - v

so no exponential overflows, and where ``u`` is large no digits are lost in ``u - lse``: it is never formed.

Where a mask may have taken every ``u`` away, m is -oo, and ``u - m`` would be ``-oo + oo``; the shift is then by 0, and
``lse = log 0 = -oo`` is what it is without a shift.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sympy import Abs, Add, Expr, Gt, Integer, Mul, Piecewise, cosh, exp, expand, log

from derive.language import affine
from derive.language.nodes import sigmoid, softplus
from derive.language.tensor import Read
from derive.program.infinite import carries_infinity, may_be_infinite
from derive.program.match import unify
from derive.program.program import Equation, Row, Term
from derive.program.terms import decide, floor_of, summed, tidy

from .exponentials import exponential_of
from .rule import Rule
from .work import Work

STABILIZE = Rule("stabilize", "Stabilizing", "The same values, computed so that nothing overflows.", "exp-equal")

LOWEST = Integer(-(10**30))  # what no exponent is below but -oo (SymPy takes m > -oo for true of every real number)


def stabilize(work: Work) -> str:
    """Shift every log-sum-exp by its largest exponent, and split log cosh, so that no exponential overflows."""
    work.unshifted = work.equations
    done = log_cosh(work) + shares(work)
    for lse in list(work.forward):
        s = _sum_of_exp_inside(work, lse)
        if s is not None:
            Shift(work, s, lse).apply()
            done.append(lse.name)
    return f"shifted {', '.join(done)}" if done else "nothing to shift"


def log_cosh(work: Work) -> list[str]:
    """``log cosh u = |u| + log(1 + e^(-2|u|)) - log 2`` in the finished equations: cosh overflows, this does not.

    Last of all, because the derivative of ``log cosh u`` is ``tanh u``, and that of the right-hand side is not written so.
    """

    def is_log_cosh(e: Expr) -> bool:
        return isinstance(e, log) and isinstance(e.args[0], cosh)

    def change(e: Expr) -> Expr:
        u = Abs(e.args[0].args[0])
        return u + softplus(-2 * u) - log(2)

    done = []
    for eq in list(work.forward):
        after = replace(
            eq, terms=tuple(replace(t, fac=tuple(f.replace(is_log_cosh, change) for f in t.fac)) for t in eq.terms)
        )
        if after != eq:
            work.rewrite_forward(
                STABILIZE,
                eq,
                after,
                "cosh u = e^|u| (1 + e^(-2|u|)) / 2, and the logarithm of a product is a sum: nothing overflows",
            )
            done.append(eq.name)
    return done


def shares(work: Work) -> list[str]:
    """``{sigmoid(u - v) if u > -oo; 0}`` for ``sigmoid(u - v)``, where u and v may both be -oo and their difference NaN.

    It is the share of u in ``log(e^u + e^v)``: where a mask has taken u away, it is 0.
    """
    names = may_be_infinite(work.forward)

    def change(e: Expr) -> Expr:
        parts = Add.make_args(e.args[0])
        above = [a for a in parts if carries_infinity(a, names) and not a.could_extract_minus_sign()]
        below = [a for a in parts if carries_infinity(a, names) and a.could_extract_minus_sign()]
        if not above or not below:
            return e
        return Piecewise((e, Gt(Add(*above), LOWEST)), (Integer(0), True), evaluate=False)

    done = []
    for place in (work.forward, work.backward) if names else ():
        for n, eq in enumerate(place):
            terms = [replace(t, fac=tuple(f.replace(_is_sigmoid, change) for f in t.fac)) for t in eq.terms]
            after = replace(eq, terms=tuple(terms))
            if after != eq:
                place[n] = after
                work.step(
                    STABILIZE, (eq,), after, "what a mask has taken away has no share, and -oo + oo is not formed"
                )
                done.append(eq.name)
    return done


def _is_sigmoid(e: Expr) -> bool:
    return isinstance(e, sigmoid)


def _sum_of_exp_inside(work: Work, lse: Equation) -> Equation | None:
    """The equation ``s = sum exp u`` when ``lse = log s`` at the same indices; else None."""
    f = lse.value()
    if not (isinstance(f, log) and isinstance(f.args[0], Read) and f.args[0].idx == lse.idx):
        return None
    s = work.equation(f.args[0].tensor.name)
    t = summed(s) if s is not None and len(s.idx) == len(lse.idx) else None
    return s if t is not None and exponential_of(t) is not None else None


def _in_range(e: Expr, size: Expr, rows: tuple[Row, ...]) -> bool:
    """Whether an index is inside an axis, by what it is or because the rows say so."""
    return affine.in_range(e, size) or all(
        decide(r) or r in rows for r in (Row("<=", Integer(0), e), Row("<", e, size))
    )


def _is_whole(r: Read) -> bool:
    """Whether single indices read all of a tensor: not one part of a split."""
    return all(i.size == n for i, n in zip(r.idx, r.tensor.axes, strict=True))


def _has_position(t: Term) -> bool:
    """Whether the conditions of a sum leave it a position whatever the other indices are: at its start, end or diagonal."""
    for b in t.bnd:
        rows = [r for r in t.rows if b in r.free_symbols]
        others = {e for r in rows for e in (r.lhs, r.rhs) if e != b}
        if not any(all(decide(r.xreplace({b: at})) for r in rows) for at in (Integer(0), b.size - 1, *others)):
            return False
    return all(r.free_symbols & set(t.bnd) or decide(r) for r in t.rows)


class Shift:
    """One log-sum-exp and the equations that replace it.

    The shift runs after differentiation.  Its derivative is 0 whatever m is, but a derivation would first have to see that
    a max and its maximisers cancel; so gradients are taken of the plain ``log sum exp u``, and forward and backward
    equations are shifted together.  That is also why the cancelling differences are looked for everywhere: the softmax
    ``exp(u - lse)`` that the backward pass wrote holds the same difference of two large numbers as the loss does.
    """

    def __init__(self, work: Work, s: Equation, lse: Equation):
        self.work, self.s, self.lse = work, s, lse
        term = summed(s)
        e = None if term is None else exponential_of(term)
        assert term is not None and e is not None  # what makes it a log-sum-exp
        self.term, self.floor = term, floor_of(s)
        self.u: Expr = e.args[0]
        self.weights = tuple(f for f in self.term.fac if f is not e)
        self.made: tuple[Equation, ...] = ()
        self.top = self._largest()
        largest = self.top
        if self.floor or carries_infinity(self.u, may_be_infinite(work.forward)) or not _has_position(self.term):
            self.top = self._finite(self.top)
            self.made = (largest,)
        self.v = self._shifted()
        self.idx = self.v.idx
        self.total = self._total()
        self.l = Equation(
            work.tensor_like(lse.tensor, work.unused(f"{lse.name}_shifted")),
            s.idx,
            (Term(Integer(1), (log(Read(self.total.tensor, *s.idx)),)),),
        )
        self.made = (*self.made, self.top, self.v, self.total, self.l)

    def _largest(self) -> Equation:
        over = tuple(self.work.fresh(b) for b in self.term.bnd)
        mapping = dict(zip(self.term.bnd, over, strict=True))
        pieces = tuple(Term(Integer(1), (a,)) for a in Add.make_args(self.u.xreplace(mapping)))
        t = self.work.tensor_like(self.s.tensor, self.work.unused(f"{self.lse.name}_max"))
        return Equation(t, self.s.idx, pieces, "max", over, tuple(r.xreplace(mapping) for r in self.term.rows))

    def _finite(self, top: Equation) -> Equation:
        """``m`` where there is one, and 0 where everything is masked; of ``c + sum e^u`` at least log c."""
        t = self.work.tensor_like(top.tensor, self.work.unused(f"{self.lse.name}_shift"))
        m = Read(top.tensor, *top.idx)
        lowest, instead = (LOWEST, Integer(0)) if self.floor is None else (log(self.floor), log(self.floor))
        shift = Piecewise((m, Gt(m, lowest)), (instead, True), evaluate=False)
        return Equation(t, top.idx, (Term(Integer(1), (shift,)),))

    def _shifted(self) -> Equation:
        """``v = u - m`` over the indices of ``u``, in the order in which ``u`` is stored if all of it is read."""
        idx = (*self.s.idx, *self.term.bnd)
        block = self.s.tensor.block
        if isinstance(self.u, Read) and set(self.u.idx) == set(idx) and _is_whole(self.u):
            idx = self.u.idx
            t = self.work.tensor_like(self.u.tensor, self.work.unused(f"{self.u.tensor.name}_shifted"), block=block)
        else:
            t = self.work.tensor(self.work.unused(f"{self.lse.name}_exponent"), idx, block)
        return Equation(t, idx, (Term(Integer(1), (self.u - Read(self.top.tensor, *self.s.idx),)),))

    def _total(self) -> Equation:
        t = self.work.tensor_like(self.s.tensor, self.work.unused(f"{self.s.name}_shifted"))
        terms = [replace(self.term, fac=(*self.weights, exp(Read(self.v.tensor, *self.v.idx))))]
        if self.floor is not None:
            terms.append(Term(Integer(1), (exp(log(self.floor, evaluate=False) - Read(self.top.tensor, *self.s.idx)),)))
        return replace(self.s, tensor=t, terms=tuple(terms))

    def apply(self) -> None:
        work, lse = self.work, self.lse
        before = work.forward.index(lse)
        work.forward[before:before] = list(self.made)
        reasons = [
            "every exponent is now at most 0",
            "no term overflows, and one of them is 1",
            "the logarithm is of at least 1",
        ]
        if len(self.made) > 4:
            reasons = [
                "0 where a mask leaves nothing to take the largest of"
                if self.floor is None
                else "a number is a member too",
                *reasons[:1],
                "no term overflows",
                "nothing is lost",
            ]
        for eq, why in zip(self.made, [f"the largest exponent in {lse.name}", *reasons], strict=True):
            work.define(STABILIZE, eq, why)
        m, l = Read(self.top.tensor, *lse.idx), Read(self.l.tensor, *lse.idx)
        parted = replace(lse, terms=(Term(Integer(1), (m,)), Term(Integer(1), (l,))))
        self._put(
            lse,
            parted,
            f"what all terms of a sum share leaves the sum, and its logarithm {self.top.name} stands apart; with the "
            "largest nothing overflows",
        )
        for eq in [e for e in work.equations if lse.tensor in e.tensors()]:
            after = replace(
                eq, terms=tuple(replace(t, fac=tuple(self._paired(f, t.rows) for f in t.fac)) for t in eq.terms)
            )
            self._put(
                eq,
                self._divided(self._across_terms(after)),
                f"{self.top.name} leaves both {lse.name} and what it is subtracted from: the large parts cancel before "
                "anything is rounded",
                context=(parted,),
            )
        kept = {t.name for t in work.results()}
        for old in (lse, self.s, self.l):
            if old.name not in kept and not any(old.tensor in e.tensors() for e in work.equations):
                work.forward = [e for e in work.forward if e.name != old.name]

    def _put(self, eq: Equation, after: Equation, why: str, context: tuple[Equation, ...] = ()) -> None:
        if after == eq:
            return
        for place in (self.work.forward, self.work.backward):
            if eq in place:
                place[place.index(eq)] = after
        self.work.step(STABILIZE, (eq,), after, why, context=(*self.made, *context))

    def _divided(self, eq: Equation) -> Equation:
        """``exp(v - l)`` as ``exp(v) / sum w exp(v)`` of a sum with weights: they may be negative, and so may the sum.

        ``exp(-lse)`` that nothing is paired with is ``exp(-m) / sum w exp(v)``.
        """

        def change(e: Expr) -> Expr:
            powers = [a.as_coeff_Mul() for a in Add.make_args(e.args[0])]
            ours = [(c, r) for c, r in powers if isinstance(r, Read) and r.tensor in (self.l.tensor, self.lse.tensor)]
            if not ours:
                return e
            rest = Add(*(c * r for c, r in powers if (c, r) not in ours))
            rest += Add(*(c * Read(self.top.tensor, *r.idx) for c, r in ours if r.tensor == self.lse.tensor))
            return exp(rest) * Mul(*(Read(self.total.tensor, *r.idx) ** c for c, r in ours))

        if not self.weights:
            return eq
        terms = [
            replace(t, fac=tuple(f.replace(lambda e: isinstance(e, exp), change) for f in t.fac)) for t in eq.terms
        ]
        return replace(eq, terms=tuple(t for t in map(tidy, terms) if t is not None)) if terms != list(eq.terms) else eq

    def _across_terms(self, eq: Equation) -> Equation:
        """The same where ``u`` and ``lse`` are terms of their own, as in a log-softmax."""
        plain = [t for t in eq.terms if not t.bnd and not t.rows]
        whole = Add(*(t.coef * Mul(*t.fac) for t in plain))
        after = self._paired(whole) if isinstance(whole, Add) and not eq.reduce else whole
        if after == whole:
            return eq
        parted = [tidy(Term(Integer(1), (a,))) for a in Add.make_args(after)]
        return replace(eq, terms=(*(t for t in eq.terms if t not in plain), *(t for t in parted if t is not None)))

    def _paired(self, f: Expr, rows: tuple[Row, ...] = ()) -> Expr:
        """``c*u - c*lse`` as ``c*v - c*l`` wherever both stand in one sum; ``rows`` are the conditions it stands under."""
        if not (f.is_Add or f.args):
            return f
        return f.replace(lambda e: isinstance(e, Add) and e.has(self.lse.tensor), lambda e: self._pair(e, rows))

    def _pair(self, e: Add, rows: tuple[Row, ...]) -> Expr:
        """One sum with every ``c*u - c*lse`` in it replaced.

        ``u`` is matched as a pattern: the difference may stand at other indices than ``lse`` was defined at, so ``lse``'s own
        indices are bound from the read that is there, and matching ``u`` binds those that were summed over.  Out of range the
        two sides differ (``v`` is 0 there, ``u - m`` is not), so all of them must be in range,
        by themselves or by the rows.
        """
        for a in e.args:
            c, read = a.as_coeff_Mul()
            if not (isinstance(read, Read) and read.tensor == self.lse.tensor):
                continue
            at = dict(zip(self.s.idx, read.idx, strict=True))
            for partner in self._candidates(e, a):
                found = unify(self.u.xreplace(at), expand(-partner / c), set(self.term.bnd), {})
                found = None if found is None else {**found, **at}
                if found is not None and all(i in found and _in_range(found[i], i.size, rows) for i in self.idx):
                    v, l = Read(self.v.tensor, *(found[i] for i in self.idx)), Read(self.l.tensor, *read.idx)
                    return self._pair_rest(e - a - partner, rows) + c * l - c * v
        return e

    def _pair_rest(self, e: Expr, rows: tuple[Row, ...]) -> Expr:
        return self._pair(e, rows) if isinstance(e, Add) else e

    def _candidates(self, e: Add, a: Expr) -> Iterator[Expr]:
        """Parts of the sum that could be the exponent: single addends, or all the others together."""
        others = [x for x in e.args if x is not a]
        yield from ([Add(*others)] if self.u.is_Add else others)
