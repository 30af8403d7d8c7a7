"""The prime field of the exact check, p = 2**61 - 1, with transcendental functions as random atoms.

A function that is not algebraic gets random values that keep its laws: ``exp(a + b) = exp(a) exp(b)``,
``exp(log v) = v``, ``cos**2 + sin**2 = 1``, ``sqrt(v)**2 = v``.  Two formulas that agree on random atoms agree for
every function with those laws.  The laws need the additive structure of an argument, which a number mod p does not
show, so an argument is a tuple of (rational, value) terms and :meth:`ModularField.register` remembers how a value was
summed.

Here "positive" means *is a square*: products, quotients and square roots of positives are positive and exactly one of
v, -v is (p = 3 mod 4), so ``sqrt(v**2) = |v|`` and ``relu(a*b) = a*relu(b)`` for positive a hold.  Sums of positives
need not be positive, so a disagreement that used an order is never a refutation by itself (``used`` says so).
"""

from __future__ import annotations

import random
from fractions import Fraction
from typing import TypeAlias

from .abstract import Argument, Rational
from .functions import FUNCTIONS

Point: TypeAlias = tuple[int, int]  # of the unit circle: cos and sin
Form: TypeAlias = dict[int, Rational]  # a sum of keyed terms: term -> its multiple

P = 2**61 - 1
# Every exp(t) is drawn as b**ROOTS, so that exp(c t) = b**(c ROOTS) exists for every c whose denominator divides ROOTS:
# halves from squares, 1e-5 from constants, the B and T of means.
ROOTS = 2**24 * 3**8 * 5**16 * 7**3
TURN_ROOTS = 5040
# p - 1 = 2 3**2 5**2 7 ...: powers by this are the numbers with unique roots of order 2, 3, 5, 6, 7, ...
PERFECT = 2 * 9 * 25 * 7


class Undefined(ArithmeticError):
    """A value that does not exist at this draw: a division by zero, a root of a non-residue, an empty window.

    ``element`` is how many elements of the equation were found before.
    """

    element = 0


class NoRoot(Undefined):
    """A root of a number that has none mod p: half of all numbers have no square root; other inputs may give one."""


class OutOfRange(Undefined):
    """An integer tensor read at a position it does not have."""


# small rational multiples by which a term may meet one that is keyed already, and the way back
_RATIOS = tuple(
    (a * pow(b, -1, P) % P, Fraction(b, a))
    for a, b in (
        (2, 1),
        (1, 2),
        (4, 1),
        (1, 4),
        (3, 1),
        (1, 3),
        (3, 2),
        (2, 3),
        (3, 4),
        (4, 3),
        (5, 1),
        (1, 5),
        (8, 1),
        (1, 8),
    )
)


class ModularField:
    """Numbers are ints mod p; ``rng`` draws the atoms.  ``used`` collects "order", "root" and "atom"."""

    name = "mod 2**61-1"
    exact = True
    zero, one = 0, 1

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.used: set[str] = set()
        self._forms: dict[int, Form] = {}  # value -> its sum of keyed terms
        self._keys: set[int] = set()  # terms that stand for themselves
        self._bases: dict[int, int] = {}  # keyed term t -> b with exp(t) = b**ROOTS
        self._powers: dict[tuple[int, Rational], int] = {}  # (t, c) -> exp(c*t)
        self._exp_of_log: dict[int, int] = {}  # log atom -> what it is the log of
        self._logs: dict[int, int] = {}
        self._arguments: dict[int, int] = {}  # value of an exp -> its argument
        self._turns: dict[int, Point] = {}
        self._atoms: dict[tuple[str, int], int] = {}
        self.poles = False  # whether 1/0 is 0 rather than an error
        self._infinite = self.draw()  # what stands for oo: any number whose exp is none and whose opposite's exp is 0
        self._keys.add(min(self._infinite, P - self._infinite))
        root = self.power(self.draw(), 2)
        self.pi = self.power(root, 2)

    def draw(self) -> int:
        return self.rng.randrange(2, P - 2)

    def infinity(self, sign: int) -> int:
        """``oo`` or ``-oo``: a formal number, kept apart in every sum, whose exponential is 0 below."""
        return self._infinite if sign > 0 else P - self._infinite

    def draw_positive(self) -> int:
        """A number with every root of small order."""
        return pow(self.draw(), PERFECT, P)

    def draw_ordered(self, count: int) -> list[int]:
        """Numbers from the least to the largest, 0 among them, that :meth:`sign` puts in this order two by two.

        Mod p "larger" is not transitive; among these it is, as among real numbers.  A number is kept when those that it
        is above come before all others: it has one place among them.  Beside n others that
        happens with probability (n + 1) / 2**n.
        """
        found = [0]
        while len(found) < count:
            v = self.draw()
            above = [self.sign(v - u) > 0 for u in found]
            if above == sorted(above, reverse=True):
                found.insert(sum(above), v)
        return found

    # -- arithmetic -------------------------------------------------------------------------------------------------

    @staticmethod
    def rational(q: Rational) -> int:
        if isinstance(q, int):
            return q % P
        return q.numerator * pow(q.denominator, -1, P) % P

    @staticmethod
    def add(a: int, b: int) -> int:
        return (a + b) % P

    @staticmethod
    def sub(a: int, b: int) -> int:
        return (a - b) % P

    @staticmethod
    def mul(a: int, b: int) -> int:
        return a * b % P

    @staticmethod
    def neg(a: int) -> int:
        return -a % P

    @staticmethod
    def div(a: int, b: int) -> int:
        if b == 0:
            raise Undefined("division by zero")
        return a * pow(b, -1, P) % P

    @staticmethod
    def is_zero(a: int) -> bool:
        return a == 0

    @staticmethod
    def same(a: int, b: int, magnitude: float = 1) -> bool:
        return a == b

    def sign(self, v: int) -> int:
        """1 for squares, -1 for the rest, 0 for zero."""
        if v == 0:
            return 0
        self.used.add("order")
        return 1 if pow(v, (P - 1) // 2, P) == 1 else -1

    def power(self, v: int, q: Rational) -> int:
        """``v**q`` for rational q; fractional powers are the unique root inside the subgroup where roots are unique."""
        q = Fraction(q)
        n, d = q.numerator, q.denominator
        if v == 0:
            if n <= 0 and q != 0 and self.poles:
                return 0
            if n <= 0 and q != 0:
                raise Undefined("a negative power of zero")
            return 1 if q == 0 else 0
        return pow(v if d == 1 else self._root(v, d), n, P)

    def _root(self, v: int, d: int) -> int:
        # In the group of order p - 1 a number has either no root of order d or several, which differ by roots of unity.
        # Inside the subgroup whose order shares no factor with d every number has exactly one: it is the root that powers
        # agree on, sqrt(v)**2 = v and sqrt(u v) = sqrt(u) sqrt(v).
        self.used.add("root")
        order = P - 1
        for prime in (2, 3, 5, 7, 11, 13):
            while d % prime == 0 and order % prime == 0:
                order //= prime
        if pow(v, order, P) != 1:
            raise NoRoot(f"this draw has no root of order {d}")
        return pow(v, pow(d, -1, order), P)

    # -- functions --------------------------------------------------------------------------------------------------

    @staticmethod
    def total(arg: Argument[int]) -> int:
        return sum((v if c == 1 else c * v if isinstance(c, int) else ModularField.rational(c) * v) for c, v in arg) % P

    def call(self, name: str, *args: Argument[int]) -> int:
        return FUNCTIONS[name].modular(self, *args)

    def register(self, value: int, arg: Argument[int]) -> None:
        """Remember that ``value`` is the sum of the terms of ``arg``."""
        # -value has the form with all signs turned, so it is never kept twice; and a value that already stands for
        # itself must go on doing so, as an exp of it may have been drawn
        opposite = P - value
        if value and not (value in self._forms or opposite in self._forms or min(value, opposite) in self._keys):
            form = self._flatten(arg)
            if len(form) > 1 or next(iter(form), value) not in (value, P - value):
                self._forms[value] = form

    def _flatten(self, arg: Argument[int]) -> Form:
        out: Form = {}
        for c, v in arg:  # a value that was registered as a sum is taken apart; others become keyed terms
            v %= P
            if not c or not v:
                continue
            known = self._forms.get(v)
            if known is None and P - v in self._forms:
                known, c = self._forms[P - v], -c
            if known is None:
                known = self._key(v)
            for t, k in known.items():
                out[t] = out.get(t, 0) + c * k
        return {t: c for t, c in out.items() if c}

    def _key(self, v: int) -> Form:
        """A term by itself, or as a small rational multiple of one seen before: exp(2t) must be exp(t)**2."""
        t = min(v, P - v)  # v and -v share a key
        if t not in self._keys:
            for ratio, inverse in _RATIOS:
                u = t * ratio % P
                u, sign = (u, 1) if u in self._keys else (P - u, -1)
                if u in self._keys:
                    self._forms[t] = {u: inverse * sign}
                    return {u: inverse * sign if t == v else -inverse * sign}
            self._keys.add(t)
        return {t: 1 if t == v else -1}

    def exp(self, arg: Argument[int]) -> int:
        form, value = self._flatten(arg), 1
        infinite = form.get(min(self._infinite, P - self._infinite), 0)
        if infinite:
            if (infinite > 0) == (self._infinite < P - self._infinite):
                raise Undefined("exp of infinity")
            return 0
        for t, c in form.items():
            value = value * self._exp_of(t, c) % P
        x = self.total(arg)
        if x and x not in self._forms and form:
            self._forms[x] = form  # the same number given as one term, exp(z) beside exp(a + b), must give the same exp
        self._arguments.setdefault(value, x)  # and log(exp(x)) = x
        return value

    def _exp_of(self, t: int, c: Rational) -> int:
        if t in self._exp_of_log:
            return self.power(self._exp_of_log[t], c)
        self.used.add("atom")
        if t not in self._bases:
            self._bases[t] = self.draw()
        if (t, c) not in self._powers:
            exponent = Fraction(c) * ROOTS
            if exponent.denominator != 1:
                raise Undefined(f"exp of a multiple {c} of one term")
            self._powers[t, c] = pow(self._bases[t], exponent.numerator, P)
        return self._powers[t, c]

    def log(self, v: int) -> int:
        if v == 0:
            raise Undefined("log of zero")
        if v == 1:
            return 0
        if v in self._arguments:
            return self._arguments[v]
        if v not in self._logs:  # an atom whose exp is known: exp(log v) = v, exp(-log v) = 1/v
            self.used.add("atom")
            atom = self.draw()
            key = min(atom, P - atom)
            inverse = pow(v, -1, P)
            self._exp_of_log[key] = v if key == atom else inverse
            self._logs[v], self._logs[inverse] = atom, P - atom
        return self._logs[v]

    def register_product(self, value: int, arg: Argument[int], rest: int) -> None:
        """Remember that ``value`` is ``exp(arg) * rest``, so that its log is ``arg + log(rest)``."""
        if value and value not in self._logs and value not in self._arguments:
            terms = ((1, self.total(arg)), (1, self.log(rest)))
            log = self.total(terms)
            self.register(log, (*arg, terms[1]))
            self._logs[value], self._logs[pow(value, -1, P)] = log, -log % P

    def turn(self, arg: Argument[int]) -> Point:
        """``(cos x, sin x)``: a product of random rational points of the unit circle, one per keyed term."""
        self.used.add("atom")
        total = (1, 0)
        for t, c in self._flatten(arg).items():
            total = _rotate(total, self._turn_of(t, Fraction(c)))
        return total

    def _turn_of(self, t: int, c: Fraction) -> Point:
        if t in (self.pi, P - self.pi):
            quarter = 2 * c if t == self.pi else -2 * c
            if quarter.denominator != 1:
                raise Undefined(f"a turn by {c} pi")
            return ((1, 0), (0, 1), (P - 1, 0), (0, P - 1))[quarter.numerator % 4]
        if t not in self._turns:
            u = self.draw()
            scale = pow(1 + u * u, -1, P)
            self._turns[t] = ((1 - u * u) * scale % P, 2 * u * scale % P)
        n = c * TURN_ROOTS
        if n.denominator != 1:
            raise Undefined(f"the circular functions of a multiple {c} of one term")
        return _rotation_power(self._turns[t], n.numerator)

    def atom(self, name: str, v: int, odd: bool = False) -> int:
        """A random value of an opaque function at ``v``."""
        self.used.add("atom")
        if odd and v == 0:
            return 0
        flip = odd and v > P - v
        key = (name, P - v if flip else v)
        if key not in self._atoms:
            self._atoms[key] = self.draw()
        return P - self._atoms[key] if flip else self._atoms[key]


def has_root(q: Rational) -> bool:
    """Whether a rational number has a square root mod p."""
    return pow(ModularField.rational(q), (P - 1) // 2, P) in (0, 1)


def _rotate(a: Point, b: Point) -> Point:
    return (a[0] * b[0] - a[1] * b[1]) % P, (a[0] * b[1] + a[1] * b[0]) % P


def _rotation_power(point: Point, n: int) -> Point:
    if n < 0:
        point, n = (point[0], -point[1] % P), -n
    out = (1, 0)
    while n:
        if n & 1:
            out = _rotate(out, point)
        point, n = _rotate(point, point), n >> 1
    return out
