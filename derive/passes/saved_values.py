"""Saved values: a definition ``h = F(u)`` licenses writing ``F(u)`` as ``h``.

Only functions and roots are looked up, because only they cost something, and only where the read is in range:
``exp(0) = 1``, but ``p`` outside its bounds is 0.
"""

from __future__ import annotations

import sympy
from sympy import Expr, Function, Integer, Pow, exp, log

from derive.language import affine
from derive.language.nodes import sigmoid
from derive.language.tensor import Read
from derive.program.match import Binding, skeleton, unify
from derive.program.program import Equation, Term
from derive.program.terms import summed

from .rule import Rule

SAVED_VALUE = Rule(
    "saved value",
    "Saved values",
    "The forward pass already computed some of what the derivative needs; it is read, not computed again.",
)


class Saved:
    """The values a forward program keeps, ready to be found inside backward terms.

    Attributes
    ----------
    nonzero : frozenset of str
        Names of tensors that are never zero: exponentials, reciprocal roots, sigmoids.
    """

    def __init__(self, equations: list[Equation]):
        self.functions: dict[str, list[tuple[Equation, Expr]]] = {}  # h = F(u), by the shape of F(u)
        self.roots: dict[str, list[tuple[Equation, Pow]]] = {}  # h = u^(p/q), by the shape of u
        self.logs: dict[str, tuple[Equation, Expr]] = {}  # h = log s for a sum of exponentials s, by its name
        self.guarded: list[tuple[Equation, Term]] = []  # h = F(u) [cond]
        single = [(eq, t) for eq in equations if (t := eq.single()) is not None]
        sums = [(eq, t) for eq in equations if (t := summed(eq)) is not None]
        sums_of_exp = {eq.name for eq, t in sums if any(isinstance(f, exp) for f in t.fac)}
        nonzero: set[str] = set()
        for eq, term in single:
            f = term.bare()
            if _is_guarded(term):
                self.guarded.append((eq, term))
            if isinstance(f, exp | sigmoid) or (isinstance(f, Pow) and f.exp.is_negative):
                nonzero.add(eq.name)
            if isinstance(f, log) and isinstance(f.args[0], Read) and f.args[0].tensor.name in sums_of_exp:
                self.logs[f.args[0].tensor.name] = (eq, f)
            if isinstance(f, Pow) and _is_root(f):
                self.roots.setdefault(skeleton(f.base), []).append((eq, f))
            elif isinstance(f, Function):
                self.functions.setdefault(skeleton(f), []).append((eq, f))
        self.nonzero = frozenset(nonzero)
        self.products = [(eq, *parts) for eq, t in single if (parts := self._parts(t)) is not None]  # h = A P

    def rewrite(self, term: Term) -> tuple[Term, list[str]]:
        """The term in saved values, and the names of the definitions used."""
        used: list[str] = []
        term = self._under_guard(term, used)
        fac: list[Expr] = []
        for f in term.fac:
            g = self._product(f, used) or self._inside(f, used)
            fac.append(g)
        return Term(term.coef, tuple(fac), term.bnd, term.rows), used

    def _under_guard(self, term: Term, used: list[str]) -> Term:
        """``F(u) [cond]`` is the saved ``h = F(u) [cond]``, when all its conditions stand in the term."""
        for eq, own in self.guarded:
            for n, f in enumerate(term.fac):
                found = unify(own.fac[0], f, set(eq.idx), {}) if type(f) is type(own.fac[0]) else None
                if found is None or not _in_range(eq, found):
                    continue
                conditions = [r.xreplace(found) for r in own.rows]
                if all(c in term.rows for c in conditions):
                    used.append(eq.name)
                    read = Read(eq.tensor, *(found[i] for i in eq.idx))
                    return Term(
                        term.coef,
                        (*term.fac[:n], read, *term.fac[n + 1 :]),
                        term.bnd,
                        tuple(r for r in term.rows if r not in conditions),
                    )
        return term

    def _inside(self, e: Expr, used: list[str]) -> Expr:
        if isinstance(e, Read) or not e.args:
            return e
        if isinstance(e, Pow) and e.exp.is_Integer and isinstance(e.base, Read) and e.base.tensor.name in self.logs:
            eq, logarithm = self.logs[e.base.tensor.name]
            read = _read_at(eq, unify(logarithm.args[0], e.base, set(eq.idx), {}), used)
            if read is not None:
                return exp(e.exp * read)
        if isinstance(e, Pow) and _is_root(e):
            return self._root(e, used)
        if isinstance(e, Function):
            for eq, f in self.functions.get(skeleton(e), ()):
                read = _read_at(eq, unify(f, e, set(eq.idx), {}), used)
                if read is not None:
                    return read
        args = [self._inside(a, used) if isinstance(a, Expr) else a for a in e.args]
        return e.func(*args) if tuple(args) != e.args else e

    def _root(self, e: Pow, used: list[str]) -> Expr:
        """``u^(-3/2) = rs^3`` for the saved ``rs = u^(-1/2)``."""
        for eq, f in self.roots.get(skeleton(e.base), ()):
            ratio = e.exp / f.exp
            read = _read_at(eq, unify(f.base, e.base, set(eq.idx), {}), used) if ratio.is_Integer else None
            if read is not None:
                return read**ratio
        return Pow(self._inside(e.base, used), e.exp)

    def _parts(self, t: Term) -> tuple[Expr, Read] | None:
        """``(A, P)`` of a saved product ``h = A P`` whose factor P is never zero, so that ``A = h / P``."""
        if t.is_plain and len(t.fac) == 2:
            for a, b in (t.fac, t.fac[::-1]):
                if a.is_Add and isinstance(b, Read) and b.tensor.name in self.nonzero:
                    return a, b
        return None

    def _product(self, f: Expr, used: list[str]) -> Expr | None:
        """``(x - mean)^n = (xhat / rs)^n`` for the saved ``xhat = (x - mean) rs``.

        Division undoes a saved product, so it is right only where the divisor cannot be zero; that is known of what is an
        exponential, a sigmoid or a negative power, and of nothing else, whatever the values drawn may suggest.  The sum A
        is worth the division because it then meets other factors of ``rs``: in the backward pass of a normalization they
        cancel, and the formula of the textbooks, in ``xhat`` alone, is what is left.  ``mean - x`` is the same sum
        with the other sign; SymPy writes whichever came out, so both are tried.
        """
        base, power = f.as_base_exp() if isinstance(f, Pow) else (f, Integer(1))
        if not base.is_Add:
            return None
        for eq, a, p in self.products:
            sign = 1
            found = unify(a, base, set(eq.idx), {})
            if found is None:
                found, sign = unify(a, sympy.expand(-base), set(eq.idx), {}), -1
            read = _read_at(eq, found, used)
            if read is not None and found is not None:
                return (sign * read / p.xreplace(found)) ** power
        return None


def _is_root(f: Pow) -> bool:
    return f.exp.is_Rational and not f.exp.is_Integer


def _is_guarded(t: Term) -> bool:
    """Whether a term is ``F(u) [cond]``: one function under conditions."""
    return t.coef == 1 and not t.bnd and bool(t.rows) and isinstance(t.only(), Function)


def _read_at(eq: Equation, found: Binding | None, used: list[str]) -> Read | None:
    """The saved value at the indices that were found, all of them in range; its use is noted."""
    if found is None or not _in_range(eq, found):
        return None
    used.append(eq.name)
    return Read(eq.tensor, *(found[i] for i in eq.idx))


def _in_range(eq: Equation, found: Binding) -> bool:
    return all(i in found and affine.in_range(found[i], i.size) for i in eq.idx)
