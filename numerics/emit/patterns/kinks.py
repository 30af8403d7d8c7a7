"""The sum of a maximum or a minimum with a number, whose summands are written as a choice.

    u[b,i] = relu(1 - x[b,i] y[b,i])     loss = sum_{b,i} u[b,i]         z = 1 - x * y     u = jnp.where(z < 0, 0, z)

XLA on a CPU takes the ``maximum`` that a sum reads into the sum, and the number beside it as an array of that number, which it
writes out first where the gradient compares with the number too: a hinge then takes 1.3 times as long.  A choice it leaves
outside.  The equation stays as derived; where ``z`` is NaN so is ``u``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sympy import Expr, Integer

from derive.language.index import Index
from derive.language.nodes import maximum, minimum, relu
from derive.language.tensor import Read
from derive.program.program import Equation, Program, Term
from numerics.emit.source.code import Compare, Name
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import Val, elementwise
from numerics.emit.terms import pointwise
from numerics.emit.terms.arithmetic import Order, reduce, where
from numerics.emit.terms.plan import Plain

from .sums import recurrent

REASON = "XLA would take a maximum into the sum that reads it, with an array of the number beside it"


class Kinks:
    """The equations that are a kink with a number, and that a sum over all their axes reads."""

    def __init__(self, program: Program) -> None:
        inside = recurrent(program)
        summed = {name for e in program.equations for t in e.terms for name in _summed(t)}
        self.names = {
            e.name for e in program.equations if e.name in summed and e.name not in inside and _only(e) is not None
        }


def _summed(t: Term) -> Iterable[str]:
    """The tensor whose elements a term adds up, all of them."""
    if len(t.fac) == 1 and t.bnd and not t.rows and isinstance(t.fac[0], Read) and set(t.fac[0].idx) == set(t.bnd):
        yield t.fac[0].tensor.name


def _only(e: Equation) -> Expr | None:
    """The kink that an equation is."""
    t = e.terms[0] if len(e.terms) == 1 else None
    alone = t is not None and not (e.reduce or e.guards or t.bnd or t.rows) and t.coef == 1 and len(t.fac) == 1
    return t.fac[0] if t is not None and alone and _parts(t.fac[0]) is not None else None


def _parts(f: Expr) -> tuple[Expr, Expr, str] | None:
    """``(u, c, "<")`` of ``max(u, c)`` with a number c, ``(u, c, ">")`` of ``min(u, c)``."""
    if isinstance(f, relu):
        return f.args[0], Integer(0), "<"
    if isinstance(f, maximum | minimum):
        numbers = [a for a in f.args if a.is_Rational]
        if len(numbers) == 1:
            (u,) = (a for a in f.args if a is not numbers[0])
            return u, numbers[0], "<" if isinstance(f, maximum) else ">"
    return None


def applies(scope: Scope, e: Equation) -> bool:
    found = scope.record(Kinks)
    return found is not None and e.name in found.names


def equation(scope: Scope, e: Equation, plain: Plain) -> Val:
    """The kink as a choice."""
    f = _only(e)
    assert f is not None  # applies() has looked
    return _choice(scope, f, e.idx)


def total(scope: Scope, v: Val, bnd: Sequence[Index], factors: Sequence[Expr]) -> Val | None:
    """The sum of a kink over all axes, where it stands in the sum."""
    if len(factors) != 1 or scope.record(Kinks) is None or set(v.axes) != set(bnd) or _parts(factors[0]) is None:
        return None
    return reduce(_choice(scope, factors[0], v.axes), "sum", bnd)


def _choice(scope: Scope, f: Expr, order: Order) -> Val:
    """``jnp.where(z < c, c, z)``, which is NaN where z is; what is compared has a name."""
    parts = _parts(f)
    assert parts is not None
    u, number, op = parts
    v = pointwise.expr(scope, u, order)
    if not isinstance(v.node, Name):
        v = scope.share(("kink", u), ("z", "v", "inner"), v)
    c = pointwise.expr(scope, number, order)
    scope.choice("kink as a choice", REASON)
    return where(elementwise(v, lambda node: Compare(node, op, c.node), "bool"), c, v, order)
