"""What equations of a program share, so that each writes it in the form that XLA then computes once for all of them.

    exp(-x**2/2) beside erf(x/sqrt(2))     jnp.exp(-jnp.square(x / 2 ** 0.5))    what erf and erfc compute inside
    1 - h**2 beside sum h**2               (1 - h) * (1 + h)                     else the squares are kept for both
    u / sqrt(v) beside sqrt(v)             u / jnp.sqrt(v)                       else lax.rsqrt(v) is a root of its own
    argmax_k z[b,k] beside max_k z[b,k]    the first k where z is the maximum    a vector operation, where argmax is none

No equation changes: this is about how it is computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import sympy
from sympy import Add, Expr, Integer, Pow, Rational

from derive.language.tensor import Read, Tensor
from derive.program.program import Equation

from . import accurate

HALF = Rational(1, 2)


class Shared:
    """Found once for a program; kept in the scope's records."""

    def __init__(self, equations: Iterable[Equation]):
        self.errors: dict[Expr, None] = {}  # arguments of erf and erfc, as they are written
        self.summed: set[str] = set()  # tensors whose squares are summed
        self.roots: dict[Expr, None] = {}  # what square roots are taken of
        self.scaled: set[str] = set()  # tensors that are a number times one function of others
        self.largest: dict[str, Tensor] = {}  # an argmax -> the max that is computed before it
        maxima: list[Equation] = []
        for e in equations:
            if e.reduce == "max":
                maxima.append(e)
            if e.reduce == "argmax":
                found = next((m for m in maxima if _same(m, e)), None)
                if found is not None:
                    self.largest[e.name] = found.tensor
            if len(e.terms) == 1 and not e.terms[0].bnd and e.terms[0].coef not in (1, -1) and len(e.terms[0].fac) == 1:
                self.scaled.add(e.name)
            for t in e.terms:
                for f in t.fac:
                    self.errors |= dict.fromkeys(errors_in(f))
                    self.roots |= {p.base: None for p in f.atoms(Pow) if p.exp == HALF}
                    if t.bnd and isinstance(f, Pow) and f.exp == 2 and isinstance(f.base, Read):
                        self.summed.add(f.base.tensor.name)

    def root(self, e: Expr) -> Expr | None:
        """``u`` of ``e = -u**2`` where erf or erfc of ``u`` is computed."""
        return next((moved for moved in _moved(self.errors, e) if sympy.expand(moved**2 + e) == 0), None)

    def has_root(self, e: Expr) -> bool:
        """Whether the square root of an expression is taken too, at the same places or others."""
        return e in _moved(self.roots, e)

    def conjugates(self, e: Add) -> Read | None:
        """``h`` of ``e = 1 - h**2`` where the squares of ``h`` are summed."""
        constant, rest = e.as_coeff_Add()
        if constant != Integer(1) or not isinstance(-rest, Pow) or (-rest).exp != 2:
            return None
        h = (-rest).base
        return h if isinstance(h, Read) and h.tensor.name in self.summed else None


def errors_in(f: Any) -> Iterator[Expr]:
    """The arguments of erf and erfc in an expression, with the sign that they are written with."""
    if isinstance(f, Add):
        found = accurate.cancelling(f)
        if found is not None and found[1] == "erfc":
            yield found[2]
            return
    if isinstance(f, sympy.erf | sympy.erfc):
        yield f.args[0]
    for a in getattr(f, "args", ()):
        yield from errors_in(a)


def _moved(written: Iterable[Expr], e: Expr) -> Iterator[Expr]:
    """What was written of the tensors that an expression reads, at its places."""
    own = _by_tensor(e)
    for u in written if own else ():
        reads = _by_tensor(u)
        if reads and own and reads.keys() == own.keys():
            yield u.xreplace({reads[t]: own[t] for t in reads})


def _by_tensor(e: Expr) -> dict[str, Read] | None:
    """The reads in an expression by tensor; None where one tensor is read at several places."""
    reads = e.atoms(Read)
    found = {r.tensor.name: r for r in reads}
    return found if found and len(found) == len(reads) else None


def _same(largest: Equation, first: Equation) -> bool:
    """Whether a max and an argmax are of the same values."""
    if len(largest.idx) != len(first.idx) or len(largest.over) != len(first.over):
        return False
    mapping = dict(zip((*first.idx, *first.over), (*largest.idx, *largest.over), strict=True))
    return tuple(t.xreplace(mapping) for t in first.terms) == largest.terms and (
        tuple(g.xreplace(mapping) for g in first.guards) == largest.guards
    )
