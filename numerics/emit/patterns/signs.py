"""Where a value is positive, its positive part is: a bracket reads what the forward pass computed.

    u[b,i] = relu(1 - x[b,i] y[b,i])     dx[b,i] = -y[b,i] [1 - x[b,i] y[b,i] > 0] / N     as     -y[b,i] [u[b,i] > 0] / N

Why: what stands in both equations XLA keeps as an array for both, and writes the numbers beside it out too.  ``1 - a > 0``
rounds as the forward pass does, so both sides of a kink are the same ones there.
"""

from __future__ import annotations

from dataclasses import replace

import sympy

from derive.language.index import Index, same_size
from derive.language.nodes import Iverson, relu
from derive.language.tensor import Read
from derive.program.match import unify
from derive.program.program import Equation, Program

from .sums import Reused, recurrent

REASON = "where a value is positive is where its positive part is, which is there"


def signs_of_parts(program: Program) -> Reused:
    """The program whose brackets ``[e > 0]`` read ``h = relu(e)``; what has steps in time stays, and so do bare reads."""
    inside, made, choices = recurrent(program), [], []
    before: list[Equation] = []
    for e in program.equations:
        done = e
        if e.name not in inside and not e.reduce:
            brackets = {f for t in e.terms for g in t.fac for f in g.atoms(Iverson)}
            read = {f: found for f in brackets if (found := _part(f, before)) is not None}
            if read:
                terms = tuple(replace(t, fac=tuple(f.xreplace(read) for f in t.fac)) for t in e.terms)
                done = replace(e, terms=terms)
                choices.append(("signs-read", e.number, REASON))
            if _inner(e) is not None:
                before.append(e)
        made.append(done)
    return Reused(replace(program, equations=tuple(made)), tuple(choices))


def _inner(e: Equation) -> sympy.Expr | None:
    """``u`` of an equation ``h = relu(u)`` whose ``u`` is more than a read."""
    t = e.terms[0] if len(e.terms) == 1 else None
    if t is None or t.coef != 1 or t.bnd or t.rows or len(t.fac) != 1 or not isinstance(t.fac[0], relu):
        return None
    u = t.fac[0].args[0]
    return None if isinstance(u, Read) else u


def _part(bracket: Iverson, before: list[Equation]) -> Iverson | None:
    """The bracket by a positive part, at places that are in its range."""
    c = bracket.condition
    if not isinstance(c, sympy.Gt) or c.rhs != 0 or isinstance(c.lhs, Read):
        return None
    for e in before:
        at = unify(_inner(e), c.lhs, set(e.idx), {})
        places = None if at is None else [at.get(i) for i in e.idx]
        if places and all(
            isinstance(p, Index) and same_size(p.size, i.size) for p, i in zip(places, e.idx, strict=True)
        ):
            return Iverson(sympy.Gt(Read(e.tensor, *places), 0, evaluate=False))
    return None
