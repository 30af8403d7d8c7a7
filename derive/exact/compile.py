"""Expressions to closures: one element of a factor, a row or an index, given the values of the indices.

A closure takes the list of index values.  Expressions made of indices, sizes, integer tensors and rational numbers
are evaluated exactly, as ints and Fractions (``exact``); all others in the field (``value``).  Arguments of functions
become tuples of (rational, value) terms (``argument``), which is what the field's exp needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeAlias, TypeVar, cast

import sympy
from sympy import Add, Expr, Mul, Pow
from sympy.logic.boolalg import Boolean

from derive.language.errors import UnsupportedError
from derive.language.index import Index, Size
from derive.language.nodes import Iverson
from derive.language.tensor import Read

from .abstract import Argument, Closure, Condition, Element, Exact, Field, Rational, Sizes, Slots, V, Values
from .field import OutOfRange, Undefined
from .functions import FUNCTIONS

Position: TypeAlias = tuple[int, ...]
U = TypeVar("U")

MAX_TERMS = 64  # an argument that expands to more terms than this is taken as one opaque term


@dataclass
class Array:
    """A tensor's elements, flat and row-major; exact numbers for integers and booleans, field elements for floats."""

    shape: tuple[int, ...]
    data: list[Element]

    def __getitem__(self, at: int | Position) -> Element:
        at = at if isinstance(at, tuple) else (at,)
        return self.data[self.offset(at)]

    def offset(self, at: Position) -> int:
        n = 0
        for i, size in zip(at, self.shape, strict=True):
            n = n * size + i
        return n

    def positions(self) -> list[Position]:
        """Every position, in order."""
        out: list[Position] = [()]
        for n in self.shape:
            out = [(*at, i) for at in out for i in range(n)]
        return out

    def nested(self) -> Element:
        """Nested lists, as ``numpy.array`` takes them; the bare element for a scalar."""
        data = list(self.data)
        for n in reversed(self.shape[1:]):
            data = [data[k : k + n] for k in range(0, len(data), n)]
        return data if self.shape else data[0]


def size_value(e: Expr, sizes: Sizes) -> Rational:
    """A size expression as a number, the sizes bound by name."""
    if e.is_Integer:
        return int(e)
    if e.is_Rational:
        return Fraction(int(e.p), int(e.q))
    if isinstance(e, Size):
        return sizes[e.name]
    if isinstance(e, Add):
        return _plain(sum((size_value(a, sizes) for a in e.args), Fraction(0)))
    if isinstance(e, Mul):
        return _plain(_product(size_value(a, sizes) for a in e.args))
    if isinstance(e, Pow) and e.exp.is_Integer:
        return _plain(Fraction(size_value(e.base, sizes)) ** int(e.exp))
    if isinstance(e, (sympy.floor, sympy.ceiling)):
        v = size_value(e.args[0], sizes)
        return v.__floor__() if isinstance(e, sympy.floor) else v.__ceil__()
    raise UnsupportedError(f"the size {e}: sizes are made of names, whole numbers, sums, products, quotients and floor")


def whole_size(e: Expr, sizes: Sizes) -> int:
    """The same of what counts something: the length of an axis, the range of an index."""
    n = size_value(e, sizes)
    if not isinstance(n, int):
        raise UnsupportedError(f"the size {e} is {n} here; a size is a whole number")
    return n


def _plain(q: Rational) -> Rational:
    return q.numerator if isinstance(q, Fraction) and q.denominator == 1 else q


def is_exact(e: Expr) -> bool:
    """Whether an expression is rational whatever the floats are: indices, sizes, integer reads and numbers."""
    if isinstance(e, (Index, Size)) or e.is_Rational:
        return True
    if isinstance(e, Read):
        return e.tensor.dtype != "float"
    if isinstance(e, (Add, Mul)):
        return all(is_exact(a) for a in e.args)
    if isinstance(e, Pow):
        return e.exp.is_Integer and is_exact(e.base)
    if isinstance(e, Iverson):
        return True
    if isinstance(e, sympy.Piecewise):
        return all(is_exact(v) for v, _ in e.args)
    rule = FUNCTIONS.get(type(e).__name__)
    return rule is not None and rule.rational is not None and all(is_exact(a) for a in e.args)


class Compiler(Generic[V]):
    """Compiles expressions over one field, one binding of the sizes, and a dict of arrays that may still grow."""

    def __init__(self, field: Field[V], sizes: dict[str, int], arrays: dict[str, Array]) -> None:
        self.F, self.sizes, self.arrays = field, sizes, arrays

    # -- exact ------------------------------------------------------------------------------------------------------

    def exact(self, e: Expr, slots: Slots) -> Exact:
        """A closure to an int or Fraction."""
        if e.is_Integer:
            n = int(e)
            return lambda I: n
        if e.is_Rational:
            q = Fraction(int(e.p), int(e.q))
            return lambda I: q
        if isinstance(e, Index):
            slot = slots[e]
            return lambda I: I[slot]
        if isinstance(e, Size):
            n = self.sizes[e.name]
            return lambda I: n
        if isinstance(e, Read):
            return self._read(e, slots)
        if isinstance(e, Iverson):
            holds = self.condition(e.condition, slots)
            return lambda I: 1 if holds(I) else 0
        if isinstance(e, sympy.Piecewise):
            return self._piecewise(e, slots, self.exact, 0)
        parts = [self.exact(a, slots) for a in e.args]
        if isinstance(e, Add):
            if len(parts) == 2:
                a, b = parts
                return lambda I: a(I) + b(I)
            return lambda I: sum(p(I) for p in parts)
        if isinstance(e, Mul):
            return lambda I: _plain(_product(p(I) for p in parts))
        if isinstance(e, Pow):
            base, n = parts[0], int(e.exp)
            return lambda I: _exact_power(base(I), n)
        rule = FUNCTIONS.get(type(e).__name__)
        if rule is None or rule.rational is None or e.has(sympy.Float):
            raise UnsupportedError(f"{e}: not an exact expression of indices, sizes and integers")
        rational = rule.rational
        return lambda I: _plain(Fraction(rational(*(Fraction(p(I)) for p in parts))))

    def _read(self, e: Read, slots: Slots) -> Closure[Element]:
        name, arrays, is_float, zero = e.tensor.name, self.arrays, e.tensor.dtype == "float", self.F.zero
        if not e.idx:
            return lambda I: _present(arrays[name].data[0], name)
        shape = arrays[name].shape
        at = [cast("Closure[int]", self.exact(x, slots)) for x in e.idx]  # a fraction is no position and fails as one

        def read(I: Values) -> Element:
            offset = 0
            for f, n in zip(at, shape, strict=True):
                i = f(I)
                if i < 0 or i >= n:
                    if is_float:
                        return zero
                    raise OutOfRange(f"an integer read outside its tensor: {e} at {i}")
                offset = offset * n + i
            return _present(arrays[name].data[offset], name)

        return read

    # -- conditions -------------------------------------------------------------------------------------------------

    def condition(self, c: Boolean, slots: Slots) -> Condition:
        """A closure to a bool; comparisons of floats go by the field's sign of the difference."""
        if c in (sympy.true, sympy.false):
            truth = bool(c)
            return lambda I: truth
        if isinstance(c, (sympy.And, sympy.Or, sympy.Not)):
            ranges_first = sorted(c.args, key=lambda a: bool(a.atoms(Read)))
            parts = [self.condition(a, slots) for a in ranges_first]
            if isinstance(c, sympy.Not):
                return lambda I: not parts[0](I)
            quantifier = all if isinstance(c, sympy.And) else any
            return lambda I: quantifier(p(I) for p in parts)
        op = getattr(c, "rel_op", None)
        if op is None:
            raise UnsupportedError(f"the condition {c}: comparisons joined by And, Or and Not are accepted")
        return self.relation(op, c.lhs, c.rhs, slots)

    def relation(self, op: str, lhs: Expr, rhs: Expr, slots: Slots) -> Condition:
        if is_exact(lhs) and is_exact(rhs):
            p, q = self.exact(lhs, slots), self.exact(rhs, slots)
            test = _RELATIONS[op]
            return lambda I: test(p(I), q(I))
        F, a, b = self.F, self.value(lhs, slots), self.value(rhs, slots)
        if op in ("==", "!="):
            wanted = op == "=="
            return lambda I: (F.sign(F.sub(a(I), b(I))) == 0) == wanted
        test = _RELATIONS[op]
        return lambda I: test(F.sign(F.sub(a(I), b(I))), 0)

    # -- field values -----------------------------------------------------------------------------------------------

    def value(self, e: Expr, slots: Slots) -> Closure[V]:
        """A closure to a field element."""
        F = self.F
        if is_exact(e):
            return self._embed(self.exact(e, slots), constant=not e.atoms(Read, Index))
        if isinstance(e, Read):
            return self._read(e, slots)
        if e.is_Float:
            return self.value(sympy.Rational(str(e)), slots)
        if e is sympy.pi:
            return lambda I: F.pi
        if e in (sympy.oo, -sympy.oo):
            infinity = F.infinity(1 if e == sympy.oo else -1)
            return lambda I: infinity
        if e is sympy.E:
            return lambda I: F.exp(((1, F.one),))
        if isinstance(e, (Add, Mul)):
            return _folded([self.value(a, slots) for a in e.args], F.add if isinstance(e, Add) else F.mul)
        if isinstance(e, Pow):
            return self._power(e, slots)
        if isinstance(e, sympy.Piecewise):
            return self._piecewise(e, slots, self.value, F.zero)
        name = type(e).__name__
        if name not in FUNCTIONS or not FUNCTIONS[name].nargs:
            raise UnsupportedError(f"{e}: the function {name} is outside the closed set {', '.join(FUNCTIONS)}")
        call, args = F.call, [self.argument(a, slots) for a in e.args]
        if len(args) == 1:
            arg = args[0]
            return lambda I: call(name, arg(I))
        return lambda I: call(name, *(a(I) for a in args))

    def _embed(self, exact: Exact, constant: bool) -> Closure[V]:
        rational = self.F.rational
        if not constant:
            return lambda I: rational(exact(I))
        found: list[V] = []

        def once(I: Values) -> V:
            if not found:
                found.append(rational(exact(I)))
            return found[0]

        return once

    def _power(self, e: Pow, slots: Slots) -> Closure[V]:
        F, power = self.F, self.F.power
        base = self.value(e.base, slots)
        if is_exact(e.exp):
            q = self.exact(e.exp, slots)
            return lambda I: power(base(I), q(I))
        exponent = self.argument(e.exp, slots)

        def power_by_exp(I: Values) -> V:
            log = F.log(base(I))
            return F.exp(tuple((c, F.mul(v, log)) for c, v in exponent(I)))

        return power_by_exp

    def _piecewise(
        self, e: sympy.Piecewise, slots: Slots, compile_value: Callable[[Expr, Slots], Closure[U]], otherwise: U
    ) -> Closure[U]:
        branches = [(self.condition(c, slots), compile_value(v, slots)) for v, c in e.args]

        def choose(I: Values) -> U:
            for holds, v in branches:
                if holds(I):
                    return v(I)
            return otherwise

        return choose

    def argument(self, e: Expr, slots: Slots) -> Closure[Argument[V]]:
        """A closure to a tuple of (rational, value) terms that add up to ``e``."""
        terms: list[tuple[list[Exact], Closure[V] | None]] = []
        for factors in additive_terms(e):
            rational = [self.exact(f, slots) for f in factors if is_exact(f)]
            floats = [self.value(f, slots) for f in factors if not is_exact(f)]
            terms.append((rational, _folded(floats, self.F.mul) if floats else None))
        if len(terms) == 1 and not terms[0][0] and (only := terms[0][1]) is not None:
            return lambda I: ((1, only(I)),)
        one = self.F.one

        def collect(I: Values) -> Argument[V]:
            out: list[tuple[Rational, V]] = []
            for rational, v in terms:
                c = _product(f(I) for f in rational)
                if c:
                    out.append((c, one if v is None else v(I)))
            return tuple(out)

        return collect


def additive_terms(e: Expr) -> list[list[Expr]]:
    """The terms of the expanded expression, each a list of factors; products of sums are multiplied out."""
    out = _expand(e)
    return [list(Mul.make_args(e))] if out is None else out


def _expand(e: Expr) -> list[list[Expr]] | None:
    if isinstance(e, Add):
        parts = [p for a in e.args if (p := _expand(a)) is not None]
        if len(parts) < len(e.args) or sum(map(len, parts)) > MAX_TERMS:
            return None
        return [t for p in parts for t in p]
    if isinstance(e, Pow) and e.exp.is_Integer and 1 < e.exp <= 4 and isinstance(e.base, Add):
        e = Mul(*[e.base] * int(e.exp), evaluate=False)
    if isinstance(e, Mul):
        out: list[list[Expr]] = [[]]
        for a in e.args:
            part = _expand(a)
            if part is None or len(out) * len(part) > MAX_TERMS:
                return None
            out = [t + u for t in out for u in part]
        return out
    return [[e]]


def _folded(parts: Sequence[Closure[V]], op: Callable[[V, V], V]) -> Closure[V]:
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2:
        a, b = parts
        return lambda I: op(a(I), b(I))
    first, rest = parts[0], parts[1:]

    def fold(I: Values) -> V:
        out = first(I)
        for p in rest:
            out = op(out, p(I))
        return out

    return fold


def _product(factors: Iterable[Rational]) -> Rational:
    out: Rational = 1
    for f in factors:
        out = out * f
    return out


def _exact_power(base: Rational, n: int) -> Rational:
    if base == 0 and n < 0:
        raise Undefined("division by zero in an index expression")
    return base**n if n >= 0 else _plain(Fraction(base) ** n)


def _present(v: Element, name: str) -> Element:
    if v is None:
        raise Undefined(f"{name} is read before it is computed")
    return v


_RELATIONS: dict[str, Callable[[Rational, Rational], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<=": lambda a, b: a <= b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    ">": lambda a, b: a > b,
}
