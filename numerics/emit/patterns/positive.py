"""What is chosen to be positive is not asked whether it is zero.

    u[b] = {x[b] if r[b] > 0 and x[b] > 0; 1 otherwise}      {log u[b] + 1 if u[b] != 0; 0 otherwise}     as     log u[b] + 1

``jax.scipy.special`` guards its logarithms twice over: XLA then keeps ``u`` for the second guard.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sympy
from sympy import And, Expr, Integer, Piecewise

from derive.language.index import Index, same_size
from derive.language.nodes import Iverson
from derive.language.tensor import Read
from derive.program.program import Equation, Program

from .sums import Reused, recurrent

REASON = "what is positive in each of its branches is not zero"


def known_signs(program: Program) -> Reused:
    """The program without the conditions that a tensor is positive, or not zero, where each of its branches is."""
    inside = recurrent(program)
    names = {e.name for e in program.equations if e.name not in inside and _is_positive(e)}
    made, choices = [], []
    for e in program.equations:
        done = e
        if names and e.name not in inside:
            done = replace(e, terms=tuple(replace(t, fac=tuple(_told(f, names) for f in t.fac)) for t in e.terms))
        if done.terms != e.terms:
            choices.append(("signs-known", e.number, REASON))
        made.append(done if done.terms != e.terms else e)
    return Reused(replace(program, equations=tuple(made)), tuple(choices)) if choices else Reused(program, ())


def _is_positive(e: Equation) -> bool:
    """Whether an equation is a choice between positive numbers, and values whose condition says that they are positive."""
    t = e.terms[0] if len(e.terms) == 1 else None
    if t is None or e.reduce or e.guards or t.bnd or t.rows or t.coef != 1 or len(t.fac) != 1:
        return False
    (f,) = t.fac
    return isinstance(f, Piecewise) and all(
        v.is_Rational and v > 0 or sympy.Gt(v, 0, evaluate=False) in And.make_args(c) for v, c in f.args
    )


def _told(e: Expr, names: set[str]) -> Expr:
    """The expression with what is known left out; what has no such condition is what it was."""
    if not any(_holds(c, names) for c in e.atoms(sympy.Ne, sympy.Gt)):
        return e
    if isinstance(e, Iverson):
        found = _condition(e.condition, names)
        return Integer(1) if found == sympy.true else Iverson(found)
    if not isinstance(e, Piecewise):
        return e.func(*(_told(a, names) for a in e.args))
    branches = []
    for v, c in e.args:
        branches.append((_told(v, names), _condition(c, names)))
        if branches[-1][1] == sympy.true:
            break
    return branches[0][0] if len(branches) == 1 else Piecewise(*branches, evaluate=False)


def _condition(c: Any, names: set[str]) -> Any:
    if _holds(c, names):
        return sympy.true
    return c.func(*(_condition(a, names) for a in c.args)) if isinstance(c, And | sympy.Or | sympy.Not) else c


def _holds(c: Any, names: set[str]) -> bool:
    """Whether a condition says of an element of such a tensor, which is there, that it is positive or not zero."""
    if not isinstance(c, sympy.Ne | sympy.Gt) or c.rhs != 0 or not isinstance(c.lhs, Read):
        return False
    read = c.lhs
    return read.tensor.name in names and all(
        isinstance(i, Index) and same_size(i.size, n) for i, n in zip(read.idx, read.tensor.axes, strict=True)
    )
