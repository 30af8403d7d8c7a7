"""Real and rational numbers for the evaluator, and dual numbers over any field.

A field has ``zero one pi``, ``rational add sub mul neg div is_zero sign same``, ``power(v, q)`` for rational q, and
functions of arguments that are tuples of (rational, value) terms: ``total exp log call register``.
:class:`~derive.exact.modular.ModularField` is the one the exact check runs in.
"""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Generic, TypeAlias

import mpmath

from .abstract import Argument, Element, Field, Rational, V
from .functions import FUNCTIONS
from .modular import ModularField, NoRoot, OutOfRange, Undefined

__all__ = ["CaseField", "DualField", "ModularField", "NoRoot", "OutOfRange", "RationalField", "RealField", "Undefined"]

Real: TypeAlias = mpmath.mpf  # or, in a RationalField, a Fraction
Dual: TypeAlias = tuple[V, V | None]  # a value and its tangent

DIGITS = 50  # what is promised
WORKING = 64  # what is computed with
AGREE = 45  # two reals agree when this many digits do


class RealField:
    """50-digit reals (computed with 64), by mpmath in a context of its own."""

    name = "50-digit reals"
    exact = False

    def __init__(self, rng: random.Random | None = None) -> None:
        self.rng = rng or random.Random(0)
        self.mp = mpmath.MPContext()
        self.mp.dps = WORKING
        self.zero, self.one, self.pi = self.mp.mpf(0), self.mp.mpf(1), +self.mp.pi
        self._tiny = self.mp.mpf(10) ** -DIGITS
        self.used: set[str] = set()

    def rational(self, q: Rational) -> Real:
        return self.mp.mpf(q.numerator) / q.denominator

    def infinity(self, sign: int) -> Real:
        return sign * self.mp.inf

    def add(self, a: Real, b: Real) -> Real:
        return a + b

    def sub(self, a: Real, b: Real) -> Real:
        return a - b

    def mul(self, a: Real, b: Real) -> Real:
        return a * b

    def neg(self, a: Real) -> Real:
        return -a

    def div(self, a: Real, b: Real) -> Real:
        if b == 0:
            raise Undefined("division by zero")
        return a / b

    def is_zero(self, a: Real) -> bool:
        return a == 0

    def same(self, a: Real, b: Real, magnitude: Real = 1) -> bool:
        """Whether a and b agree to 45 digits of the larger of them and ``magnitude``."""
        if self.mp.isinf(a) or self.mp.isinf(b):
            return a == b
        return abs(a - b) <= self.mp.mpf(10) ** -AGREE * max(abs(a), abs(b), magnitude)

    def sign(self, v: Real) -> int:
        return 0 if abs(v) < self._tiny else 1 if v > 0 else -1

    def power(self, v: Real, q: Rational) -> Real:
        q = Fraction(q)
        if q.denominator == 1:
            if v == 0 and q < 0:
                raise Undefined("a negative power of zero")
            return v**q.numerator
        if v < 0 or (v == 0 and q < 0):
            raise Undefined(f"the power {q} of {self.mp.nstr(v, 5)}")
        return self.mp.sqrt(v) ** q.numerator if q.denominator == 2 else v ** self.rational(q)

    def total(self, arg: Argument[Real]) -> Real:
        out = self.zero
        for c, v in arg:
            out += v if c == 1 else self.rational(c) * v
        return out

    def call(self, name: str, *args: Argument[Real]) -> Real:
        primitive = FUNCTIONS[name]
        if primitive.real is None:
            return primitive.modular(self, *args)
        try:
            y = primitive.real(self.mp, *(self.total(a) for a in args))
        except (ZeroDivisionError, ValueError, OverflowError) as e:
            raise Undefined(f"{name}: {e}") from e
        if isinstance(y, self.mp.mpc) or not self.mp.isfinite(y):
            raise Undefined(f"{name} outside its domain")
        return y

    def exp(self, arg: Argument[Real]) -> Real:
        return self.call("exp", arg)

    def log(self, v: Real) -> Real:
        return self.call("log", ((1, v),))

    def register(self, value: Real, arg: Argument[Real]) -> None:
        """Nothing to remember: real functions keep their laws by themselves."""

    def register_product(self, value: Real, arg: Argument[Real], rest: Real) -> None:
        """Nothing to remember either."""


class RationalField(RealField):
    """Fractions as long as a value is rational, 50-digit reals from there on: for worked examples."""

    name = "rationals"

    def __init__(self, rng: random.Random | None = None) -> None:
        super().__init__(rng)
        self.zero, self.one = Fraction(0), Fraction(1)

    def rational(self, q: Rational) -> Real:
        return Fraction(q)

    def _real(self, v: Real) -> Real:
        return super().rational(v) if isinstance(v, Fraction) else v

    def _pair(self, a: Real, b: Real) -> tuple[Real, Real]:
        return (a, b) if isinstance(a, Fraction) and isinstance(b, Fraction) else (self._real(a), self._real(b))

    def add(self, a: Real, b: Real) -> Real:
        a, b = self._pair(a, b)
        return a + b

    def sub(self, a: Real, b: Real) -> Real:
        a, b = self._pair(a, b)
        return a - b

    def mul(self, a: Real, b: Real) -> Real:
        a, b = self._pair(a, b)
        return a * b

    def div(self, a: Real, b: Real) -> Real:
        return super().div(*self._pair(a, b))

    def same(self, a: Real, b: Real, magnitude: Real = 1) -> bool:
        if isinstance(a, Fraction) and isinstance(b, Fraction):
            return a == b
        return super().same(self._real(a), self._real(b), magnitude)

    def sign(self, v: Real) -> int:
        return (v > 0) - (v < 0) if isinstance(v, Fraction) else super().sign(v)

    def total(self, arg: Argument[Real]) -> Real:
        out = self.zero
        for c, v in arg:
            out = self.add(out, self.mul(Fraction(c), v))
        return out

    def power(self, v: Real, q: Rational) -> Real:
        q = Fraction(q)
        if isinstance(v, Fraction) and q.denominator != 1 and v >= 0:
            top, bottom = _exact_root(v.numerator, q.denominator), _exact_root(v.denominator, q.denominator)
            if top is not None and bottom is not None:
                return super().power(Fraction(top, bottom), Fraction(q.numerator))
        if isinstance(v, Fraction) and q.denominator == 1:
            return super().power(v, q)
        if q.denominator != 1:
            return super().power(self._real(v), q) if q.denominator == 2 else self._real_power(self._real(v), q)
        return super().power(v, q)

    def _real_power(self, v: Real, q: Fraction) -> Real:
        if v < 0:
            raise Undefined(f"the power {q} of {self.mp.nstr(v, 5)}")
        return v ** super().rational(q)

    def call(self, name: str, *args: Argument[Real]) -> Real:
        values = [self.total(a) for a in args]
        primitive = FUNCTIONS[name]
        if all(isinstance(v, Fraction) for v in values):
            if primitive.rational is not None:
                return Fraction(primitive.rational(*values))
            if primitive.known is not None and primitive.known[0] == values[0]:
                return primitive.known[1]
        if primitive.real is None:
            return primitive.modular(self, *args)
        real = RealField()
        real.mp = self.mp
        return real.call(name, *(((1, self._real(v)),) for v in values))


def _exact_root(n: int, d: int) -> int | None:
    guess = round(n ** (1 / d)) if n < 2**50 else int(mpmath.nint(mpmath.root(n, d)))
    return next((g for g in (guess - 1, guess, guess + 1) if g >= 0 and g**d == n), None)


CaseField: TypeAlias = ModularField | RealField  # what inputs are drawn in


class DualField(Generic[V]):
    """Numbers ``v + d*epsilon`` over a base field, as pairs; ``d`` is None where there is no tangent.

    The tangent rules are those of :data:`derive.exact.functions.FUNCTIONS`.  A dual field over a dual field gives second
    derivatives (hyper-dual numbers).
    """

    def __init__(self, base: Field[V]) -> None:
        self.base, self.exact, self.name = base, base.exact, base.name
        self.zero: Dual[V] = (base.zero, None)
        self.one: Dual[V] = (base.one, None)
        self.pi: Dual[V] = (base.pi, None)
        self.used = base.used

    def rational(self, q: Rational) -> Dual[V]:
        return self.base.rational(q), None

    def infinity(self, sign: int) -> Dual[V]:
        return self.base.infinity(sign), None

    def add(self, a: Dual[V], b: Dual[V]) -> Dual[V]:
        d = b[1] if a[1] is None else a[1] if b[1] is None else self.base.add(a[1], b[1])
        return self.base.add(a[0], b[0]), d

    def neg(self, a: Dual[V]) -> Dual[V]:
        return self.base.neg(a[0]), None if a[1] is None else self.base.neg(a[1])

    def sub(self, a: Dual[V], b: Dual[V]) -> Dual[V]:
        return self.add(a, self.neg(b))

    def mul(self, a: Dual[V], b: Dual[V]) -> Dual[V]:
        F = self.base
        d = None
        if a[1] is not None:
            d = F.mul(a[1], b[0])
        if b[1] is not None:
            other = F.mul(a[0], b[1])
            d = other if d is None else F.add(d, other)
        return F.mul(a[0], b[0]), d

    def div(self, a: Dual[V], b: Dual[V]) -> Dual[V]:
        F = self.base
        y = F.div(a[0], b[0])
        d = a[1]
        if b[1] is not None:
            other = F.neg(F.mul(y, b[1]))
            d = other if d is None else F.add(d, other)
        return y, None if d is None else F.div(d, b[0])

    def is_zero(self, a: Dual[V]) -> bool:
        return self.base.is_zero(a[0]) and (a[1] is None or self.base.is_zero(a[1]))

    def tangent(self, a: Dual[V]) -> V:
        return self.base.zero if a[1] is None else a[1]

    def sign(self, a: Dual[V]) -> int:
        return self.base.sign(a[0])

    def power(self, a: Dual[V], q: Rational) -> Dual[V]:
        F, q = self.base, Fraction(q)
        y = F.power(a[0], q)
        if a[1] is None or q == 0:
            return y, None
        return y, F.mul(F.mul(F.rational(q), F.power(a[0], q - 1)), a[1])

    def total(self, arg: Argument[Dual[V]]) -> Dual[V]:
        return self.base.total(_primal(arg)), self._tangent(arg)

    def _tangent(self, arg: Argument[Dual[V]]) -> V | None:
        moving = tuple((c, v[1]) for c, v in arg if v[1] is not None)
        return self.base.total(moving) if moving else None

    def call(self, name: str, *args: Argument[Dual[V]]) -> Dual[V]:
        F = self.base
        primal = [_primal(a) for a in args]
        y, d = F.call(name, *primal), None
        for arg, partial in zip(args, FUNCTIONS[name].partials, strict=True):
            dx = self._tangent(arg)
            if dx is not None:
                part = F.mul(partial(F, y, *primal), dx)
                d = part if d is None else F.add(d, part)
        return y, d

    def exp(self, arg: Argument[Dual[V]]) -> Dual[V]:
        return self.call("exp", arg)

    def log(self, v: Dual[V]) -> Dual[V]:
        return self.call("log", ((1, v),))

    def register(self, value: Dual[V], arg: Argument[Dual[V]]) -> None:
        self.base.register(value[0], _primal(arg))

    def register_product(self, value: Dual[V], arg: Argument[Dual[V]], rest: Dual[V]) -> None:
        self.base.register_product(value[0], _primal(arg), rest[0])


def primal(F: Field[Element], v: Element) -> Element:
    """The value of an element without its tangents, however many there are."""
    return primal(F.base, v[0]) if isinstance(F, DualField) else v


def _primal(arg: Argument[Dual[V]]) -> Argument[V]:
    return tuple((c, v[0]) for c, v in arg)
