"""What an expression is behind a position: 0 or minus infinity where a mask makes it so, else unknown.

The rules are those of values: a factor that is 0, ``exp(-oo) = 0``, a sum that holds ``-oo``; what else is in a product or
a sum is taken to be finite.
"""

from __future__ import annotations

from sympy import Add, Basic, Expr, Integer, Mul, Not, Piecewise, Pow, Symbol, exp, expand, oo
from sympy.core.relational import Eq, Ge, Gt, Le, Lt, Ne, Relational
from sympy.logic.boolalg import And, Boolean, Or

from derive.language.index import Index
from derive.language.nodes import Iverson, Max, Sum, sigmoid
from derive.language.tensor import Read, Tensor

FURTHER = Symbol("further", integer=True, nonnegative=True)


class Vanishing:
    """Answers, and remembers what it found of tensors."""

    def __init__(self) -> None:
        self._known: dict[tuple[Tensor, int, int], Expr | None] = {}

    def behind(self, e: Expr, q: Index, t: Index) -> Expr | None:
        """What ``e`` is for every ``q > t``: 0, a number or an infinity; None where it may be anything.

        >>> from sympy import exp, oo
        >>> from derive import indices, tensor
        >>> q, t = indices("q t", size="T")
        >>> s = tensor("s", t, q)
        >>> Vanishing().behind(exp(Piecewise((s[t, q], q <= t), (-oo, True))), q, t)
        0
        """
        if e.is_number:
            return e
        if isinstance(e, Piecewise):
            return self._branches(e, q, t)
        if isinstance(e, Mul):
            return Integer(0) if any(self.behind(a, q, t) == 0 for a in e.args) else None
        if isinstance(e, Add):
            found = [self.behind(a, q, t) for a in e.args]
            if all(f == 0 for f in found):
                return Integer(0)
            return -oo if -oo in found and oo not in found else None
        if isinstance(e, exp | sigmoid):
            return Integer(0) if self.behind(e.args[0], q, t) == -oo else None
        if isinstance(e, Pow):
            return Integer(0) if e.exp.is_positive and self.behind(e.base, q, t) == 0 else None
        if isinstance(e, Iverson):
            return Integer(0) if holds(e.condition, q, t) is False else None
        if isinstance(e, Sum | Max):
            inside = self.behind(e.body, q, t)
            return inside if inside in ((0, -oo) if isinstance(e, Max) else (0,)) else None
        return self._read(e, q, t) if isinstance(e, Read) else None

    def _branches(self, e: Piecewise, q: Index, t: Index) -> Expr | None:
        found: set[Expr | None] = set()
        for value, condition in e.args:
            decided = holds(condition, q, t)
            if decided is False:
                continue
            found.add(self.behind(value, q, t))
            if decided:
                break
        return found.pop() if len(found) == 1 else None

    def _read(self, r: Read, q: Index, t: Index) -> Expr | None:
        of = r.tensor.member
        places = [[n for n, e in enumerate(r.idx) if e == i] for i in (q, t)]
        if of.definition is None or any(len(p) != 1 for p in places):
            return None
        (m,), (n,) = places
        if (of, m, n) not in self._known:
            self._known[of, m, n] = None  # of a recurrence that comes back to itself nothing is known
            self._known[of, m, n] = self.behind(of.definition.body, of.indices[m], of.indices[n])
        return self._known[of, m, n]


def holds(condition: Basic, q: Index, t: Index) -> bool | None:
    """Whether a condition holds for every ``q > t`` (True), for none (False), or that is not known (None)."""
    if condition in (True, False):
        return bool(condition)
    if isinstance(condition, And | Or):
        found = {holds(a, q, t) for a in condition.args}
        strong = isinstance(condition, Or)
        return strong if strong in found else None if None in found else not strong
    if isinstance(condition, Not):
        inside = holds(condition.args[0], q, t)
        return None if inside is None else not inside
    return _compared(condition, q, t) if isinstance(condition, Relational) else None


def _compared(c: Boolean, q: Index, t: Index) -> bool | None:
    d = expand((c.lhs - c.rhs).xreplace({q: t + 1 + FURTHER}))
    if isinstance(c, Eq | Ne):
        return None if d.is_nonzero is not True else isinstance(c, Ne)
    if isinstance(c, Le | Lt):
        d = -d
    yes, no = (d.is_nonnegative, d.is_negative) if isinstance(c, Ge | Le) else (d.is_positive, d.is_nonpositive)
    assert isinstance(c, Ge | Gt | Le | Lt)
    return True if yes else False if no else None
