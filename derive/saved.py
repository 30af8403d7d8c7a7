"""Saved values: a definition ``h = F(u)`` licenses writing ``F(u)`` as ``h`` (DESIGN section 5).

Only functions and roots are looked up, because only they cost something, and only where the read is in range:
``exp(0) = 1``, but ``p`` outside its bounds is 0.
"""

from __future__ import annotations

import sympy
from sympy import Expr, Function, Integer, Pow, exp, log

from . import affine
from .match import skeleton, unify
from .nodes import sigmoid
from .program import Equation, Program, Term
from .tensor import Read


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
        nonzero = set()
        for eq in equations:
            body = _single(eq)
            if body is None:
                continue
            if len(body.fac) == 1:
                f = body.fac[0]
                if isinstance(f, exp | sigmoid) or (isinstance(f, Pow) and f.exp.is_negative):
                    nonzero.add(eq.name)
                if isinstance(f, log) and isinstance(f.args[0], Read):
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
        fac: list[Expr] = []
        for f in term.fac:
            g = self._product(f, used) or self._inside(f, used)
            fac.append(g)
        return Term(term.coef, tuple(fac), term.bnd, term.rows), used

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


def _bound_in_range(eq: Equation, found: dict) -> bool:
    return all(i in found and affine.in_range(found[i], i.size) for i in eq.idx)
