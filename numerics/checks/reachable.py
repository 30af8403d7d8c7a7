"""Conditions that no input can meet, by the range of what they compare: ``x^2 < 0``, ``relu(u) < 0``, ``exp(u) <= 0``.

Interval arithmetic over the definitions: an input has the range of its declared facts, a computed tensor that of its
equation.  A range that is too wide only means that nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable

import sympy
from sympy import Add, Expr, Mul, Pow

from derive.language.index import Index
from derive.language.nodes import Iverson, maximum, minimum, relu
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Program

from .as_written import Written
from .conditions import Condition

INF = float("inf")
Range = tuple[float, float]
ALL: Range = (-INF, INF)
TINY = 5e-324  # above 0, and no more
DEEP = 200  # equations that a range is followed through


def impossible(program: Program, c: Condition | Written, way: bool) -> bool:
    """Whether a condition provably never goes one way."""
    if not c.by_data:
        return False
    ranges = _Ranges(program)
    low, high = _minus(ranges.of(c.test.lhs), ranges.of(c.test.rhs))
    test = c.test if way else c.test.negated
    if isinstance(test, sympy.StrictGreaterThan):
        return high <= 0
    if isinstance(test, sympy.GreaterThan):
        return high < 0
    if isinstance(test, sympy.StrictLessThan):
        return low >= 0
    if isinstance(test, sympy.LessThan):
        return low > 0
    if isinstance(test, sympy.Eq):
        return low > 0 or high < 0
    return low == high == 0


class _Ranges:
    def __init__(self, program: Program):
        self.program = program
        self.known: dict[str, Range] = {}

    def of(self, e: Expr) -> Range:
        """The closed range that an expression stays in, whatever the inputs are."""
        if isinstance(e, Read):  # what is read outside is zero
            inside = all(isinstance(i, Index) for i in e.idx)
            return self.tensor(e.tensor) if inside else _hull([self.tensor(e.tensor), (0.0, 0.0)])
        if e.is_Number or e.is_NumberSymbol:
            return (float(e), float(e)) if e.is_extended_real else ALL
        if isinstance(e, Iverson):
            return 0.0, 1.0
        if isinstance(e, sympy.Piecewise):
            return _hull([self.of(branch) for branch, _ in e.args])
        if isinstance(e, Add):
            parts = [self.of(a) for a in e.args]
            return _known(sum(p[0] for p in parts), sum(p[1] for p in parts))
        if isinstance(e, Mul):
            return self._product(e)
        if isinstance(e, Pow):
            return self._power(e)
        rule = RULES.get(type(e).__name__)
        return ALL if rule is None else rule(*(self.of(a) for a in e.args))

    def tensor(self, t: Tensor) -> Range:
        if t.name in self.known:
            return self.known[t.name]
        self.known[t.name] = ALL  # of a recurrence nothing is known, nor past a great depth
        e = self.program.equation(t.name)
        found = _declared(t) if e is None else self._equation(e) if len(self.known) < DEEP else ALL
        self.known[t.name] = found
        return found

    def _equation(self, e: Equation) -> Range:
        if e.reduce not in (None, "max"):
            return ALL
        low = high = 0.0
        for term in e.terms:
            factors = [self.of(f) for f in term.fac]
            r = factors[0] if factors else (1.0, 1.0)
            for f in factors[1:]:
                r = _times(r, f)
            positive = term.coef.is_positive or (term.coef.is_Number and term.coef > 0)
            if not positive and not term.coef.is_Number:
                return ALL
            if term.coef.is_Number:
                r = _times(r, (float(term.coef),) * 2)
            elif r != (0.0, 0.0):  # a size: how large is not known
                r = (0.0 if r[0] >= 0 else -INF, 0.0 if r[1] <= 0 else INF)
            if term.bnd:
                r = (0.0 if r[0] >= 0 else -INF, 0.0 if r[1] <= 0 else INF)
            if term.rows:
                r = _hull([r, (0.0, 0.0)])
            low, high = low + r[0], high + r[1]
        return _known(low, high)

    def _product(self, e: Mul) -> Range:
        found = (1.0, 1.0)
        for a in e.args:
            found = _times(found, self.of(a))
        return found

    def _power(self, e: Pow) -> Range:
        base = self.of(e.base)
        if e.exp.is_Integer and e.exp.is_even:
            top = max(abs(base[0]), abs(base[1]))
            return (0.0, top ** int(e.exp) if e.exp > 0 else INF) if top < 1e100 or e.exp < 0 else (0.0, INF)
        if e.exp.is_Number and (not e.exp.is_Integer or base[0] >= 0):
            return 0.0, INF
        return ALL


def _declared(t: Tensor) -> Range:
    if t.dtype == "bool":
        return 0.0, 1.0
    kinds = {f.kind for f in t.facts}
    if t.dtype == "int":
        bound = t.below
        known = bound is not None and getattr(bound, "is_Integer", False)
        return ALL if "missing" in kinds or bound is None else (0.0, float(bound) - 1 if known else INF)
    return (TINY, INF) if "positive" in kinds else (0.0, INF) if "nonnegative" in kinds else ALL


def _known(low: float, high: float) -> Range:
    return (-INF if low != low else low, INF if high != high else high)


def _hull(parts: list[Range]) -> Range:
    return min(p[0] for p in parts), max(p[1] for p in parts)


def _minus(a: Range, b: Range) -> Range:
    return _known(a[0] - b[1], a[1] - b[0])


def _times(a: Range, b: Range) -> Range:
    ends = [0.0 if 0.0 in (x, y) else x * y for x in a for y in b]
    return min(ends), max(ends)


def _into(low: float, high: float) -> Callable[..., Range]:
    return lambda *_: (low, high)


RULES: dict[str, Callable[..., Range]] = {
    relu.__name__: lambda r: (max(r[0], 0.0), max(r[1], 0.0)),
    "Abs": lambda r: (0.0 if r[0] <= 0 <= r[1] else min(abs(r[0]), abs(r[1])), max(abs(r[0]), abs(r[1]))),
    maximum.__name__: lambda a, b: (max(a[0], b[0]), max(a[1], b[1])),
    minimum.__name__: lambda a, b: (min(a[0], b[0]), min(a[1], b[1])),
    "exp": _into(0.0, INF),
    "softplus": _into(0.0, INF),
    "sigmoid": _into(0.0, 1.0),
    "tanh": _into(-1.0, 1.0),
    "erf": _into(-1.0, 1.0),
    "sin": _into(-1.0, 1.0),
    "cos": _into(-1.0, 1.0),
    "sign": _into(-1.0, 1.0),
    "cosh": _into(1.0, INF),
}
