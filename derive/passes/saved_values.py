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
from derive.program.match import skeleton, unify
from derive.program.program import Equation, Term


class Saved:
    """The values a forward program keeps, ready to be found inside backward terms.

    Attributes
    ----------
    nonzero : frozenset of str
        Names of tensors that are never zero: exponentials, reciprocal roots, sigmoids.
    """

    def __init__(self, equations: list[Equation]):
        self.functions: dict[str, list[Equation]] = {}
        self.roots: dict[str, list[Equation]] = {}
        self.logs: dict[str, Equation] = {}
        self.products: list[Equation] = []
        self.guarded: list[Equation] = []
        nonzero = set()
        sums_of_exp = {
            eq.name
            for eq in equations
            if not eq.reduce
            and len(eq.terms) == 1
            and eq.terms[0].bnd
            and any(isinstance(f, exp) for f in eq.terms[0].fac)
        }
        for eq in equations:
            body = _single(eq)
            if body is None:
                if _guarded(eq):
                    self.guarded.append(eq)
                continue
            if len(body.fac) == 1:
                f = body.fac[0]
                if isinstance(f, exp | sigmoid) or (isinstance(f, Pow) and f.exp.is_negative):
                    nonzero.add(eq.name)
                if isinstance(f, log) and isinstance(f.args[0], Read) and f.args[0].tensor.name in sums_of_exp:
                    self.logs[f.args[0].tensor.name] = eq
                if isinstance(f, Pow) and f.exp.is_Rational and not f.exp.is_Integer:
                    self.roots.setdefault(skeleton(f.base), []).append(eq)
                elif isinstance(f, Function):
                    self.functions.setdefault(skeleton(f), []).append(eq)
            elif len(body.fac) == 2:
                self.products.append(eq)
        self.nonzero = frozenset(nonzero)
        self.products = [e for e in self.products if self._parts(e) is not None]

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
        for eq in self.guarded:
            own = eq.terms[0]
            for n, f in enumerate(term.fac):
                found = unify(own.fac[0], f, set(eq.idx), {}) if type(f) is type(own.fac[0]) else None
                if found is None or not _bound_in_range(eq, found):
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
            eq = self.logs[e.base.tensor.name]
            found = unify(_single(eq).fac[0].args[0], e.base, set(eq.idx), {})
            if found is not None and _bound_in_range(eq, found):
                used.append(eq.name)
                return exp(e.exp * Read(eq.tensor, *(found[i] for i in eq.idx)))
        if isinstance(e, Pow) and e.exp.is_Rational and not e.exp.is_Integer:
            return self._root(e, used)
        if isinstance(e, Function):
            for eq in self.functions.get(skeleton(e), ()):
                found = unify(_single(eq).fac[0], e, set(eq.idx), {})
                if found is not None and _bound_in_range(eq, found):
                    used.append(eq.name)
                    return Read(eq.tensor, *(found[i] for i in eq.idx))
        args = [self._inside(a, used) if isinstance(a, Expr) else a for a in e.args]
        return e.func(*args) if tuple(args) != e.args else e

    def _root(self, e: Pow, used) -> Expr:
        for eq in self.roots.get(skeleton(e.base), ()):
            f = _single(eq).fac[0]
            ratio = e.exp / f.exp
            found = unify(f.base, e.base, set(eq.idx), {})
            if ratio.is_Integer and found is not None and _bound_in_range(eq, found):
                used.append(eq.name)
                return Read(eq.tensor, *(found[i] for i in eq.idx)) ** ratio
        return Pow(self._inside(e.base, used), e.exp)

    def _parts(self, eq: Equation) -> tuple[Expr, Read] | None:
        """``(A, P)`` of a saved product ``h = A * P`` whose factor P is never zero, so that ``A = h / P``."""
        for a, b in (_single(eq).fac, _single(eq).fac[::-1]):
            if a.is_Add and isinstance(b, Read) and b.tensor.name in self.nonzero:
                return a, b
        return None

    def _product(self, f: Expr, used) -> Expr | None:
        base, power = f.as_base_exp() if isinstance(f, Pow) else (f, Integer(1))
        if not base.is_Add:
            return None
        for eq in self.products:
            a, p = self._parts(eq)
            sign = 1
            found = unify(a, base, set(eq.idx), {})
            if found is None:
                found, sign = unify(a, sympy.expand(-base), set(eq.idx), {}), -1
            if found is not None and all(i in found for i in eq.idx) and _bound_in_range(eq, found):
                used.append(eq.name)
                here = Read(eq.tensor, *(found[i] for i in eq.idx)) / p.xreplace(found)
                return (sign * here) ** power
        return None


def _single(eq: Equation) -> Term | None:
    """The one plain term of an equation ``h = f * g`` with coefficient 1 and no sums or conditions."""
    if eq.reduce or len(eq.terms) != 1:
        return None
    t = eq.terms[0]
    return t if t.coef == 1 and not t.bnd and not t.rows else None


def _guarded(eq: Equation) -> bool:
    """Whether ``h = F(u) [cond]``: one function under conditions."""
    if eq.reduce or len(eq.terms) != 1:
        return False
    t = eq.terms[0]
    return t.coef == 1 and not t.bnd and bool(t.rows) and len(t.fac) == 1 and isinstance(t.fac[0], Function)


def _bound_in_range(eq: Equation, found: dict) -> bool:
    return all(i in found and affine.in_range(found[i], i.size) for i in eq.idx)
