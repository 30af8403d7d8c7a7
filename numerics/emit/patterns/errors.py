"""A product with the error function, whose gradient reads the product and the function: written so that XLA computes both once.

    h = x erfc(-x/sqrt(2)) / 2          h = x / 2 * lax.erfc(-x / 2 ** 0.5)
    dx = h (x exp(-x**2/2) ... + erfc(-x/sqrt(2)))
                                        dx = h * x * jnp.exp(...) + h * lax.erfc(-x / 2 ** 0.5)

XLA on a CPU has no instruction for the error function: it is sixty operations, which it writes again into everything that
reads their result, unless one of its readers reads something besides that is kept because of it.  So the function is multiplied
by ``h``; and ``h`` is kept if it ends with a product of two arrays, and not with one by a number, which is written again too.
The equations stay as derived.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sympy import Add, Expr, Piecewise

from derive.language.index import Index
from derive.language.nodes import Iverson
from derive.language.tensor import Read
from derive.program.program import Equation, Program, Term
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import Val
from numerics.emit.terms import pointwise
from numerics.emit.terms.accurate import cancelling
from numerics.emit.terms.plan import Plain
from numerics.emit.terms.shared import errors_in

from .groups import signed
from .sums import recurrent

REASON = "the error function is multiplied by what is kept: XLA computes it again for each reader that has it alone"


class Errors:
    """The products with an error function, and the terms of the equations that read them beside that function."""

    def __init__(self, program: Program) -> None:
        inside = recurrent(program)
        plain = [e for e in program.equations if e.name not in inside and _is_pointwise(e)]
        products = {e.name: e for e in plain if _is_product(e)}
        self.products: set[str] = set()
        self.opened: dict[str, tuple[Term, ...]] = {}
        for e in plain:
            terms, read = [], set()
            for t in e.terms:
                parts = _opened(t, e, products)
                read |= {parts[0]} if parts else set()
                terms += parts[1] if parts else [t]
            if read and len(terms) > 1:
                self.products |= read
                self.opened[e.name] = tuple(terms)


def _is_pointwise(e: Equation) -> bool:
    chosen = any(f.has(Iverson, Piecewise) for t in e.terms for f in t.fac)
    return not e.reduce and not e.guards and bool(e.idx) and not chosen and not any(t.bnd or t.rows for t in e.terms)


def _is_product(e: Equation) -> bool:
    """Whether an equation is an error function, or a function of one, times what has none."""
    if len(e.terms) != 1:
        return False
    having = [f for f in e.terms[0].fac if any(errors_in(f))]
    return len(having) == 1 and len(e.terms[0].fac) > 1


def _arguments(e: Equation) -> set[Expr]:
    return {u for t in e.terms for f in t.fac for u in errors_in(f)}


def _opened(t: Term, e: Equation, products: dict[str, Equation]) -> tuple[str, list[Term]] | None:
    """The product that a term reads beside its own error function, and the term; as two, where that function is in a sum."""
    for g in t.fac:
        made = products.get(g.tensor.name) if isinstance(g, Read) else None
        if made is None or made.name == e.name or not all(isinstance(i, Index) for i in g.idx):
            continue
        change = dict(zip(made.idx, g.idx, strict=True))
        own = {u.xreplace(change) for u in _arguments(made)}
        for f in t.fac:
            if own & set(errors_in(f)):
                rest = list(t.fac)
                rest.remove(f)
                return made.name, [replace(t, fac=(*rest, part)) for part in _parts(f, own)]
    return None


def _parts(f: Expr, own: set[Expr]) -> list[Expr]:
    """The addends of a sum with one error function of the arguments given, that one last; a factor as it is."""
    if not isinstance(f, Add):
        return [f]
    found = cancelling(f)
    kept = [] if found is None else found[3]
    addends = [*kept, f - Add(*kept)] if found is not None else list(f.args)
    with_it = [a for a in addends if own & set(errors_in(a))]
    rest = [a for a in addends if a not in with_it]
    return [Add(*rest), *with_it] if len(with_it) == 1 and rest else [f]


def applies(scope: Scope, e: Equation) -> bool:
    found = scope.record(Errors)
    return found is not None and (e.name in found.products or e.name in found.opened)


def equation(scope: Scope, e: Equation, plain: Plain) -> Val:
    """A product with its number first, or a sum of products that is not brought under one factor."""
    found = scope.record(Errors)
    assert found is not None  # applies() has looked
    if e.name in found.opened:
        scope.choice("error function kept", REASON)
    addends: list[pointwise.Addend] = []
    for t in found.opened.get(e.name, e.terms):
        sign, factors = signed(t.coef, t.fac)
        small = _small(factors) if e.name in found.products else []
        first = pointwise.plain_product(scope, small, e.idx) if small else None
        rest = [f for f in factors if f not in small]
        addends.append((sign, pointwise.plain_product(scope, rest, e.idx, first=first)))
    return pointwise.add(scope, addends, e.idx)


def _small(factors: Sequence[Expr]) -> list[Expr]:
    """The numbers of a product with one factor that no error function is in; none where there are no numbers."""
    numbers = [f for f in factors if f.is_number]
    other = next(f for f in factors if not f.is_number and not any(errors_in(f)))
    return [*numbers, other] if numbers else []
