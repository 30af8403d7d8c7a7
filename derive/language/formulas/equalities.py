"""Equalities that a declaration promises, ``Q: n x n with Q'Q = eye(1)``, as the facts that they are."""

from __future__ import annotations

from .tree import Formula

ACCEPTED = (
    "Q'Q = eye(1) of a square Q, x'x = 1 or ||x|| = 1 of a vector, sum(p) = 1 of a vector that is not negative, A = A'"
)


def fact_of(name: str, left: Formula, right: Formula) -> str | None:
    """The word for the fact that ``left = right`` is about the tensor; None where no rule uses such an equality."""
    x = Formula("name", text=name)
    turned = Formula("'", (x,))
    for a, b in ((left, right), (right, left)):
        if b.op == "eye" and a in (Formula("*", (turned, x)), Formula("*", (x, turned))):
            return "orthogonal"
        if b.op == "number" and float(b.text) == 1:
            norm = Formula("norm2", (x,))
            if a in (Formula("*", (turned, x)), norm) or (a.op == "^" and a.args[0] == norm):
                return "unit"
            if a == Formula("sum", (x,)):
                return "simplex"
        if (a, b) == (x, turned):
            return "symmetric"
    return None
