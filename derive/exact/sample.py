"""Concrete cases for the exact check: unequal small sizes, inputs with their facts, integers that repeat."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from fractions import Fraction
from typing import TypeAlias

from sympy import Expr, Pow

from derive.language.facts import STRUCTURES, SumsTo, missing_value
from derive.language.index import Size
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Row

from .abstract import Element, Rational
from .compile import Array, size_value, whole_size
from .field import CaseField, ModularField
from .modular import P, has_root
from .varieties import make_orthogonal, make_structured, make_unit

Assignment: TypeAlias = dict[str, int]  # size name -> its number
Score: TypeAlias = Callable[[Assignment], float]  # smaller is better

UNEQUAL, SQUARE = 2, 1  # assignments of the sizes: that many unequal ones, and square ones on purpose
CHOICES = (2, 3, 5, 7, 4)
WIDE = tuple(range(1, 17))  # where no such small sizes do: floor(H/4) floor(W/4) is all that is known of H and W, say
COEFFICIENTS = (2, 3, 1)  # for sizes that are no axis of their own: strides, paddings
TOO_MANY = 400_000  # products of one evaluation, beyond which a case is refused
PLENTY = 10_000  # and up to which evaluations are cheap
ROOTLESS = 2000  # what a size weighs that has no root mod p where one is taken: no draw of the inputs gives it one
AT_ONCE = 8  # changes of one step of a recurrence take as long as finding one root elsewhere
FEW_ROOTS = 6  # half of all numbers have a square root mod p, so that many can be hoped for
SEARCHED = 800  # assignments tried
LARGEST = 512  # the largest size tried where pooling or cropping leaves nothing of a small one
COLLAPSED = 1000  # what a derived size of 1 weighs: an axis of length 1 hides how it is read


class Sizes:
    """Finds assignments of a program's sizes: axes of one tensor unequal, derived sizes positive whole numbers, cheap.

    Size expressions are kept once, in ``expressions``, and referred to by position: hundreds of assignments are tried.
    """

    def __init__(
        self,
        equations: list[Equation],
        inputs: tuple[Tensor, ...],
        steps: Mapping[str, int] | None = None,
        also: Iterable[Size] = (),
    ) -> None:
        """``steps`` has the axis of the steps of what recurrences define, by name; ``also`` are sizes of no equation."""
        self._place: dict[Expr, int] = {}
        self.tensors = list(dict.fromkeys((*inputs, *(e.tensor for e in equations))))
        axes = {tuple(self._at(a) for a in t.axes) for t in self.tensors}
        self.pairs = [p for places in sorted(axes) for p in itertools.combinations(places, 2) if p[0] != p[1]]
        for t in self.tensors:
            if t.below is not None:
                self._at(t.below)
        # free indices of the equations that take roots of values, and which of them counts the steps of a recurrence
        self.rooted: set[tuple[str, tuple[int, ...], int | None]] = set()
        self.loops: dict[
            tuple[tuple[int, ...], tuple[int, ...], int], int
        ] = {}  # (sizes of the free indices, of the bound ones, indices solved) -> how often
        for e in equations:
            outer = tuple(self._at(i.size) for i in e.idx)
            if _takes_roots(e):
                self.rooted.add((e.name, outer, (steps or {}).get(e.name)))
            for bnd, solved in [(t.bnd, _solved(t.rows)) for t in e.terms] if e.reduce is None else [(e.over, 0)]:
                loop = (outer, tuple(self._at(b.size) for b in bnd), solved)
                self.loops[loop] = self.loops.get(loop, 0) + 1
        self.expressions = list(self._place)
        symbols = {s for x in self.expressions for s in x.free_symbols} | _loose_sizes(equations) | set(also)
        self.roots = _under_roots(equations)
        self.names = sorted(s.name for s in symbols)
        alone = {x.name for x in self.expressions if isinstance(x, Size)}
        self.coefficients = [n for n in self.names if n not in alone]
        self.own = {
            n: [x for x in self.expressions if _names(x) == {n} and not isinstance(x, Size)] for n in self.names
        }

    def _at(self, expression: Expr) -> int:
        return self._place.setdefault(expression, len(self._place))

    def assignment(self, seed: int, square: bool = False, unlike: Sequence[Assignment] = ()) -> Assignment | None:
        """The best of many assignments for this seed; ``square`` wants axes equal instead of unequal.

        ``unlike`` are earlier assignments: none is found again, and as few of its sizes as possible.
        """
        rng = random.Random(f"sizes {seed} {square}")
        small = {n: self._pool(n, square) for n in self.names}

        def score(candidate: Assignment) -> float:
            found = self._score(candidate, square)
            return (
                math.inf
                if found is None or candidate in unlike
                else found + 8 * sum(other[n] == v for other in unlike for n, v in candidate.items())
            )

        for pools in (small, dict.fromkeys(self.names, WIDE)):
            best = self._best(pools, score, rng)
            if score(best) < math.inf:
                return best
        return None

    def _best(self, pools: Mapping[str, Sequence[int]], score: Score, rng: random.Random) -> Assignment:
        """Of all assignments, or for many sizes the best of some, improved."""
        searched = max(50, min(SEARCHED, 40_000 // (len(self.loops) + 1)))  # less for long programs
        if math.prod(map(len, pools.values())) <= searched:
            found = list(itertools.product(*pools.values()))
            rng.shuffle(found)
            return min((dict(zip(pools, values, strict=True)) for values in found), key=score)
        best = min(({n: rng.choice(pool) for n, pool in pools.items()} for _ in range(searched)), key=score)
        return _improved(best, pools, score)

    def _pool(self, name: str, square: bool) -> tuple[int, ...]:
        """Values to try: small ones, or where none of them keeps every derived size above 1, the smallest that do.

        Two poolings of an image need at least 8 pixels along an axis, so that 2 are left of it; this is where 8 comes from.
        """
        small = COEFFICIENTS if name in self.coefficients else (3, 2, 4, 6) if square else CHOICES
        own = self.own[name]
        if not own or any(_least(own, name, n) > 1 for n in small):
            return small
        larger = {n: least for n in range(1, LARGEST + 1) if (least := _least(own, name, n)) > 0}
        telling = [n for n, least in larger.items() if least > 1]
        enough = next((k for k, n in enumerate(telling, start=1) if larger[n] > 2), len(telling))
        return tuple(telling[:enough] or list(larger)[: len(CHOICES)] or small)

    def _score(self, sizes: Assignment, square: bool) -> float | None:
        """Smaller is better; None where a derived size is not a positive whole number."""
        values = self._values(sizes)
        if values is None:
            return None
        equal = sum(values[a] == values[b] for a, b in self.pairs)
        axes = [sizes[n] for n in self.names if n not in self.coefficients]
        wrong = 40 * (len(self.pairs) - equal) if square else 100 * equal + 4 * (len(axes) - len(set(axes)))
        small = COLLAPSED * values.count(1) + 6 * axes.count(2) + 12 * sum(sizes[n] == 1 for n in self.coefficients)
        rootless = sum(not has_root(size_value(x, sizes)) for x in self.roots)
        drawn = sum(_tried([values[i] for i in outer], step) for _, outer, step in self.rooted)
        cost = self._cost(values)
        unlucky = ROOTLESS * rootless + 6 * max(0, drawn - FEW_ROOTS)
        return wrong + small + unlucky + max(0, cost - PLENTY) / 400 + cost / 1000

    def _values(self, sizes: Assignment) -> list[int] | None:
        values = []
        for x in self.expressions:
            n = size_value(x, sizes)
            if not isinstance(n, int) or n < 1:
                return None
            values.append(n)
        return values

    def _cost(self, values: Sequence[int]) -> int:
        cost = 0
        for (outer, inner, solved), times in self.loops.items():
            for n in sorted(values[b] for b in inner)[solved:]:
                times *= n
            for i in outer:
                times *= values[i]
            cost += times
        return cost

    def cost(self, sizes: Assignment) -> int:
        """Products in one evaluation of every equation, at sizes that an assignment was found with."""
        return self._cost([whole_size(x, sizes) for x in self.expressions])


def assignments(sizes: Sizes, seed: int) -> list[Assignment]:
    """Different assignments of all sizes, unequal ones first; empty where none was found."""
    found: list[Assignment] = []
    for n in range(UNEQUAL + SQUARE):
        made = sizes.assignment(seed + n, square=n >= UNEQUAL, unlike=found)
        if made is not None and made not in found:
            found.append(made)
    return found


def _tried(outer: Sequence[int], step: int | None) -> float:
    """How hard it is to find inputs for the roots of one equation, in roots that are found one by one.

    What one step of a recurrence reads changes all roots of the next: they are found together, once in ``2**n`` changes.
    """
    if step is None:
        return math.prod(outer)
    together = math.prod(n for k, n in enumerate(outer) if k != step)
    return outer[step] * 2.0 ** min(together, 40) / AT_ONCE


def _names(expression: Expr) -> set[str]:
    return {s.name for s in expression.free_symbols}


def _least(expressions: Iterable[Expr], name: str, n: int) -> int:
    """The smallest of derived sizes that depend on one size only; 0 where one is no positive whole number."""
    values = [size_value(x, {name: n}) for x in expressions]
    whole = [v for v in values if isinstance(v, int) and v > 0]
    return min(whole) if len(whole) == len(values) else 0


def _improved(sizes: Assignment, pools: Mapping[str, Sequence[int]], score: Score) -> Assignment:
    """Changes one size at a time while that is better."""
    best, better = score(sizes), True
    while better:
        better = False
        for name, pool in pools.items():
            for n in pool:
                tried = {**sizes, name: n}
                if (found := score(tried)) < best:
                    sizes, best, better = tried, found, True
    return sizes


def _solved(rows: Iterable[Row]) -> int:
    """How many bound indices need no loop, an equality giving them."""
    return sum(r.op == "==" for r in rows)


def _loose_sizes(equations: Iterable[Equation]) -> set[Size]:
    """Sizes that stand in coefficients, rows or factors only."""
    found = set()
    for e in equations:
        for t in e.terms:
            for part in (t.coef, *t.fac, *t.rows):
                found |= {s for s in part.free_symbols if isinstance(s, Size)}
        for g in e.guards:
            found |= {s for s in g.free_symbols if isinstance(s, Size)}
        for r in e.reads():
            found |= {s for s in r.free_symbols if isinstance(s, Size)}
    return found


def _takes_roots(e: Equation) -> bool:
    return any(
        not power.exp.is_Integer and power.exp.is_Rational and power.base.atoms(Read)
        for t in e.terms
        for f in t.fac
        for power in f.atoms(Pow)
    )


def _under_roots(equations: Iterable[Equation]) -> set[Expr]:
    """Expressions of sizes that stand under a fractional power, such as the width in ``1/sqrt(E)``."""
    found = set()
    for e in equations:
        for t in e.terms:
            for part in (t.coef, *t.fac):
                for power in part.atoms(Pow):
                    symbols = power.base.free_symbols
                    only_sizes = all(isinstance(s, Size) for s in symbols) and not power.base.atoms(Read)
                    if not power.exp.is_Integer and only_sizes and symbols:
                        found.add(power.base)
    return found


# -- inputs --------------------------------------------------------------------------------------------------------

RANGES = ((-1.5, 1.5), (0.2, 1.7), (-0.6, 0.6), (0.05, 0.45))  # tried in turn: domains such as log's need them


def draw(t: Tensor, field: CaseField, sizes: Mapping[str, int], rng: random.Random, attempt: int = 0) -> Array:
    """A random array for a tensor: declared facts hold, integers are below their range and repeat."""
    shape = tuple(whole_size(a, sizes) for a in t.axes)
    n = 1
    for s in shape:
        n *= s
    if t.dtype == "bool":
        return Array(shape, [rng.randrange(2) for _ in range(n)])
    if t.dtype == "int":
        below = whole_size(t.below, sizes) if t.below is not None else 4
        data = [rng.randrange(below) for _ in range(n)]
        if n > 1:
            data[-1] = data[0]
        if (none := missing_value(t)) is not None and n > 1:
            data[rng.randrange(n)] = none
        return Array(shape, data)
    kinds = {f.kind for f in t.facts}
    array = Array(shape, [_number(field, rng, attempt, kinds) for _ in range(n)])
    if "symmetric" in kinds:
        for i in range(shape[0]):
            for j in range(i):
                array.data[i * shape[0] + j] = array.data[j * shape[0] + i]
    if "positive_definite" in kinds:
        _make_definite(array, field)
    if "orthogonal" in kinds:
        make_orthogonal(array, field)
    if "unit" in kinds:
        make_unit(array, field)
    for kind in kinds & set(STRUCTURES):
        make_structured(array, kind, field)
    for f in t.facts:
        if isinstance(f, SumsTo):
            _make_sum(array, f.axis(t), size_value(f.value, sizes), field, bool(kinds & {"positive", "nonnegative"}))
    return array


def _make_definite(array: Array, field: CaseField) -> None:
    """``B B' + 1``, whose leading minors are positive."""
    n, b = array.shape[0], list(array.data)
    for i in range(n):
        for j in range(n):
            total = field.one if i == j else field.zero
            for k in range(n):
                total = field.add(total, field.mul(b[i * n + k], b[j * n + k]))
            array.data[i * n + j] = total


def _number(field: CaseField, rng: random.Random, attempt: int, kinds: Set[str]) -> Element:
    positive = bool(kinds & {"positive", "nonnegative"})
    if isinstance(field, ModularField):
        return field.draw_positive() if positive or attempt % 2 else field.draw()
    low, high = RANGES[attempt % len(RANGES)]
    if positive:
        low, high = 0.1, 2.0
    return field.rational(Fraction(rng.randint(int(low * 10**9), int(high * 10**9)), 10**9))


def _make_sum(array: Array, axis: int, total: Rational, field: CaseField, positive: bool) -> None:
    """Rescale (positive tensors) or adjust the last entry, so that sums along the axis are ``total``."""
    lines: dict[tuple[int, ...], list[int]] = {}
    for n, at in enumerate(array.positions()):
        lines.setdefault(at[:axis] + at[axis + 1 :], []).append(n)
    wanted = field.rational(Fraction(total))
    for line in lines.values():
        missing = field.sub(wanted, _sum(field, array, line))
        if not positive:
            array.data[line[-1]] = field.add(array.data[line[-1]], missing)
            continue
        while isinstance(field, ModularField) and not has_root(wanted * pow(_sum(field, array, line), -1, P)):
            array.data[line[0]] = field.draw_positive()  # scaling by a non-square would make all of them negative
        ratio = field.div(wanted, _sum(field, array, line))
        for n in line:
            array.data[n] = field.mul(array.data[n], ratio)


def _sum(field: CaseField, array: Array, line: Iterable[int]) -> Element:
    found = field.zero
    for n in line:
        found = field.add(found, array.data[n])
    return found


def direction(array: Array, field: CaseField, rng: random.Random) -> list[Element]:
    """A random tangent for every element of an array."""
    if isinstance(field, ModularField):
        return [field.draw() for _ in array.data]
    return [field.rational(Fraction(rng.randint(-(10**9), 10**9), 10**9)) for _ in array.data]
