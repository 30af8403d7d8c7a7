"""A worked example: the program evaluated at tiny sizes on small whole numbers, so that it can be redone on paper.

Values are exact fractions as long as the program allows (products, sums, maxes, quotients, exp 0, ...), and rounded
decimals from the first transcendental value on.  This is an evaluator for display, element by element straight from the
equations; the evidence comes from elsewhere (:mod:`derive.exact`, :mod:`numerics.checks.verify`).
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import sympy
from sympy import Add, Expr, Mul, Pow
from sympy.logic.boolalg import And, Boolean, Not, Or

from derive.exact.field import RationalField, Undefined
from derive.exact.matrices import MATRIX_VALUES
from derive.language import nodes
from derive.language.facts import SumsTo, missing_value
from derive.language.functions import FUNCTIONS
from derive.language.index import Index, Size
from derive.language.matrices import MATRICES
from derive.language.tensor import Read, Tensor
from derive.language.unknown import Unknown
from derive.program.program import Equation, Program, Term

# what derivatives and SymPy's own expressions bring beside the functions of the language
FLOATS: Mapping[type[Expr], Callable[[float], float]] = {nodes.loggamma: math.lgamma}
EXACT: Mapping[type[Expr], Callable[..., Fraction | float]] = {sympy.ceiling: math.ceil, sympy.Mod: lambda a, b: a % b}
COMPARE: Mapping[type[Boolean], Callable[[Fraction | float, Fraction | float], bool]] = {
    sympy.Eq: operator.eq,
    sympy.Ne: operator.ne,
    sympy.Lt: operator.lt,
    sympy.Le: operator.le,
    sympy.Gt: operator.gt,
    sympy.Ge: operator.ge,
}
LONGEST = 48  # equations
SHOWN_VALUES = 36  # numbers in one array
FEW = 600  # numbers in all, up to which other inputs are tried where something comes out as nothing but zeros
SEEN = 5e-3
MOST_ENLARGED = 16  # how often a size may grow
LONG_NUMBER = 1000  # bits of a whole number, which a float still holds
BUDGET = 40_000  # evaluated terms, after which an example is too long for paper anyway


Value: TypeAlias = Fraction | float
Place: TypeAlias = tuple[int, ...]
Env: TypeAlias = Mapping[Index, int]
Nested: TypeAlias = "Value | tuple[Nested, ...]"


class NotOnPaper(Exception):
    """The program cannot be evaluated in a way worth showing; the message says why."""


@dataclass
class Example:
    """Sizes, inputs and every value, by name; ``values[name][position]`` is a Fraction or a float."""

    sizes: Mapping[Size, int]
    shapes: Mapping[str, Place]
    values: dict[str, dict[Place, Value]]
    program: Program

    @property
    def exact(self) -> bool:
        return not any(isinstance(v, float) for t in self.values.values() for v in t.values())

    def nested(self, name: str) -> Nested:
        """The values of one tensor as nested tuples."""

        def level(prefix: Place, shape: Place) -> Nested:
            if not shape:
                return self.values[name][prefix]
            return tuple(level(prefix + (n,), shape[1:]) for n in range(shape[0]))

        return level((), self.shapes[name])


def worked_example(program: Program) -> Example:
    """Evaluate every equation of the program at tiny sizes.

    Raises
    ------
    NotOnPaper
        No tiny sizes fit, a value is undefined at the numbers chosen, or there would be too much to do.
    """
    if len(program) > LONGEST:
        raise NotOnPaper(f"{len(program)} equations are too many to do by hand")
    sizes = _sizes(program)
    for t in program.inputs:
        if (count := math.prod(_shape(t, sizes))) > SHOWN_VALUES:
            raise NotOnPaper(f"at the smallest sizes that fit {t.name} has {count} numbers")
    inverted = {r.tensor.name for e in program.equations if e.reduce in MATRICES for r in e.reads()}
    best: Example | None = None
    why: NotOnPaper | None = None
    for start in STARTS:
        data = {t.name: _input(t, n, sizes, t.name in inverted, start) for n, t in enumerate(program.inputs)}
        try:
            found = evaluate(program, sizes, data)
        except NotOnPaper as error:
            why = why or error
            continue
        if best is None or _idle(found) < _idle(best):
            best = found
        if not _idle(best) or sum(map(len, found.values.values())) > FEW:
            break
    if best is None:
        raise why or NotOnPaper("no small numbers fit")
    return best


def _idle(ex: Example) -> int:
    """How many tensors are nothing but zeros, or hold numbers too small to be seen, and so show nothing."""
    names = [e.name for e in ex.program.equations if e.tensor.dtype == "float"]
    floats = [[abs(float(v)) for v in ex.values[name].values()] for name in names]
    return sum(not any(v) or any(0 < x < SEEN for x in v) for v in floats)


def evaluate(program: Program, sizes: Mapping[Size, int], data: Mapping[str, Mapping[Place, Value]]) -> Example:
    shapes = {t.name: _shape(t, sizes) for t in (*program.inputs, *(e.tensor for e in program.equations))}
    work = _Evaluator(program, sizes, shapes, data)
    try:
        for e in program.equations:
            for place in itertools.product(*(range(n) for n in shapes[e.name])):
                work.at(e.tensor, place)
    except (ZeroDivisionError, OverflowError, RecursionError, TypeError) as error:
        raise NotOnPaper(f"the small numbers chosen do not fit this program ({error})") from error
    except ValueError as error:
        raise NotOnPaper(f"a function is undefined at the small numbers chosen ({error})") from error
    return Example(sizes, shapes, work.values, program)


def _sizes(program: Program) -> dict[Size, int]:
    """A batch of one; else 2 and 3 by turns, made larger one by one until every axis exists."""
    symbols = program.sizes()
    sizes = {s: (2, 3)[n % 2] for n, s in enumerate(s for s in symbols if s.name != "B")}
    sizes |= {s: 3 for s in sizes if _averaged(program, s)}  # of two numbers, normalized, nothing is left but signs
    sizes |= {s: 2 if _averaged(program, s) else 1 for s in symbols if s.name == "B"}
    axes = {a for t in (*program.inputs, *(e.tensor for e in program.equations)) for a in t.axes}
    for _ in range(MOST_ENLARGED):
        lacking = [a.free_symbols for a in axes if _number(a, sizes) < 1]
        if not lacking:
            return _small({s: sizes[s] for s in symbols}, program, axes)
        fewest = min(map(len, lacking))  # of a product of sizes, the factor that is lacking
        sizes |= {s: sizes[s] + 1 for found in lacking for s in found if len(found) == fewest and s.name != "B"}
    raise NotOnPaper(f"no sizes up to {MOST_ENLARGED} fit the axes")


def _small(sizes: dict[Size, int], program: Program, axes: set[Expr]) -> dict[Size, int]:
    """Sizes made smaller, the largest first, as long as an array has too many numbers to be written out."""
    shapes = [t.axes for t in (*program.inputs, *(e.tensor for e in program.equations))]
    while True:
        long = [s for s in shapes if math.prod(_number(a, sizes) for a in s) > SHOWN_VALUES]
        free = {s for shape in long for a in shape for s in a.free_symbols if sizes[s] > 1}
        for size in sorted(free, key=lambda s: (-sizes[s], s.name)):
            less = {**sizes, size: sizes[size] - 1}
            if all(_number(a, less) >= 1 for a in axes):
                sizes = less
                break
        else:
            return sizes


def _averaged(program: Program, size: Size) -> bool:
    """Whether a mean over an axis is taken before the loss is, as in a normalization."""
    return any(
        e.tensor.rank and size in t.coef.free_symbols and any(i.size == size for i in t.bnd)
        for e in program.equations
        for t in e.terms
    )


def _number(e: Expr, sizes: Mapping[Size, int]) -> int:
    return int(e.xreplace(sizes))


def _shape(t: Tensor, sizes: Mapping[Size, int]) -> Place:
    return tuple(_number(a, sizes) for a in t.axes)


PATTERN = (1, 0, 1, 2, 0, -1, 1, 0, 1, 1, 0, -1, 2)
STARTS = (0, 1, 4, 9)  # where in the pattern an example may begin


def _input(t: Tensor, n: int, sizes: Mapping[Size, int], inverted: bool = False, start: int = 0) -> dict[Place, Value]:
    """Small whole numbers that satisfy the declared facts; a different stretch of one pattern for each input.

    A matrix that is inverted, or whose determinant is taken, has the most on its diagonal.
    """
    places = list(itertools.product(*(range(s) for s in _shape(t, sizes))))
    kinds = {f.kind for f in t.facts}
    out: dict[Place, Value] = {}
    for k, place in enumerate(places):
        if t.dtype != "float":
            out[place] = Fraction((n + k) % _number(t.below, sizes) if t.below is not None else k % 2)
            if (none := missing_value(t)) is not None and k == 1:
                out[place] = Fraction(none)
            continue
        at = tuple(sorted(place)) if kinds & {"symmetric", "positive_definite"} else place
        v = Fraction(PATTERN[(start + 3 * n + places.index(at) * (2 if len(place) > 1 else 1)) % len(PATTERN)])
        if kinds & {"positive", "nonnegative"} or t.role == "random":
            v = abs(v) + 1
        out[place] = v
        if ("positive_definite" in kinds or inverted) and len(place) > 1 and place[-1] == place[-2]:
            out[place] = Fraction(3 * _shape(t, sizes)[-1])  # more than the rest of its row
    for fact in t.facts:
        if fact.is_structure:
            out = {p: _structured(fact.kind, p, out) for p in places}
        if fact.is_quadratic:
            out |= _on_variety(places, _shape(t, sizes)[0])
        if isinstance(fact, SumsTo):
            axis, total = fact.axis(t), Fraction(int(fact.value.p), int(fact.value.q))
            for place in places:
                line = [p for p in places if p[:axis] + p[axis + 1 :] == place[:axis] + place[axis + 1 :]]
                weights = [1 + p[axis] for p in line]
                for p, w in zip(line, weights, strict=True):
                    out[p] = total * w / sum(weights)
    return out


def _structured(kind: str, place: Place, values: Mapping[Place, Value]) -> Value:
    """The entry of a matrix of a declared structure: zero where it has none, and the first of its diagonal."""
    i, j = place
    if kind == "toeplitz":
        return values[i - min(place), j - min(place)]
    free = {"diagonal": i == j, "lower_triangular": i >= j, "upper_triangular": i <= j}[kind]
    return values[place] if free else Fraction(0)


def _on_variety(places: Sequence[Place], n: int) -> dict[Place, Value]:
    """The rotation by the angle of the triangle 3, 4, 5 in the first two axes, or its first column: ``Q'Q = I``."""
    turn = {(0, 0): Fraction(3, 5), (0, 1): Fraction(-4, 5), (1, 0): Fraction(4, 5), (1, 1): Fraction(3, 5)}
    columns = [p if len(p) == 2 else (p[0], 0) for p in places]
    return {
        p: turn[at] if n > 1 and max(at) < 2 else Fraction(int(at[0] == at[1]))
        for p, at in zip(places, columns, strict=True)
    }


class _Evaluator:
    """Values by definition, one element at a time, remembered."""

    def __init__(
        self,
        program: Program,
        sizes: Mapping[Size, int],
        shapes: Mapping[str, Place],
        data: Mapping[str, Mapping[Place, Value]],
    ) -> None:
        self.program, self.sizes, self.shapes = program, sizes, shapes
        self.values: dict[str, dict[Place, Value]] = {name: dict(v) for name, v in data.items()}
        self.values.update({e.name: {} for e in program.equations})
        self.field = RationalField()  # one for all: to make one takes milliseconds
        self.spent = 0

    def at(self, tensor: Tensor, place: Place) -> Value:
        shape = self.shapes[tensor.name]
        if not all(0 <= p < n for p, n in zip(place, shape, strict=True)):
            return Fraction(0)
        known = self.values[tensor.name]
        if place not in known:
            eq = self.program.equation(tensor.name)
            if eq is None:
                raise NotOnPaper(f"{tensor.name} has no definition")
            v = self.equation(eq, dict(zip(eq.idx, place, strict=True)))
            if isinstance(v, Fraction) and max(abs(v.numerator), v.denominator).bit_length() > LONG_NUMBER:
                raise NotOnPaper("a number has too many digits")
            known[place] = v
        return known[place]

    def equation(self, eq: Equation, env: Env) -> Value:
        if eq.reduce is None:
            return sum((self.term(t, env) for t in eq.terms), Fraction(0))
        if eq.reduce in MATRICES:
            return self.matrix(eq, eq.reduce, env)
        best: Value | None = None
        where = 0
        for inner in self._ranges(eq.over, env):
            if all(self.holds(g.condition, inner) for g in eq.guards):
                v = sum((self.term(t, inner) for t in eq.terms), Fraction(0))
                if best is None or v > best:
                    best, where = v, inner[eq.over[0]]
        if best is None:
            raise NotOnPaper(f"a window of {eq.name} is empty at the sizes chosen")
        return best if eq.reduce == "max" else Fraction(where)

    def matrix(self, eq: Equation, kind: str, env: Env) -> Value:
        p, q = eq.over
        read, size = eq.terms[0].fac[0], range(int(self.value(p.size, env)))
        rows = [[self.value(read, {**env, p: i, q: j}) for j in size] for i in size]
        try:
            found = MATRIX_VALUES[kind](RationalField(), rows)
        except Undefined as error:
            raise NotOnPaper(f"{eq.name}: {error}") from error
        for i in eq.idx[len(eq.idx) - MATRICES[kind].ranks :]:
            found = found[int(env[i])]
        return found if isinstance(found, Fraction) else float(found)

    def _ranges(self, over: Sequence[Index], env: Env) -> Iterator[Env]:
        for place in itertools.product(*(range(int(self.value(i.size, env))) for i in over)):
            self.spent += 1
            if self.spent > BUDGET:
                raise NotOnPaper("there would be too many numbers")
            yield {**env, **dict(zip(over, place, strict=True))}

    def term(self, t: Term, env: Env) -> Value:
        total: Value = Fraction(0)
        for inner in self._ranges(t.bnd, env):
            if all(self.holds(r.condition, inner) for r in t.rows):
                v: Value = Fraction(1)
                for f in t.fac:
                    v = v * self.value(f, inner)
                total = total + v
        return self.value(t.coef, env) * total

    def value(self, e: Expr, env: Env) -> Value:
        if isinstance(e, Index):
            return Fraction(env[e])
        if isinstance(e, Size):
            return Fraction(self.sizes[e])
        if e.is_Rational:
            return Fraction(int(e.p), int(e.q))
        if isinstance(e, Read):
            return self.at(e.tensor, tuple(int(self.value(i, env)) for i in e.idx))
        if isinstance(e, sympy.Piecewise):
            return next(self.value(v, env) for v, c in e.args if c == sympy.true or self.holds(c, env))
        if isinstance(e, nodes.Iverson):
            return Fraction(int(self.holds(e.condition, env)))
        args = [self.value(a, env) for a in e.args]
        if isinstance(e, Add):
            return sum(args[1:], args[0])
        if isinstance(e, Mul):
            return math.prod(args[1:], start=args[0])
        if isinstance(e, Pow):
            return _power(*args)
        if type(e) in EXACT:
            v = EXACT[type(e)](*args)
            return v if isinstance(v, float) else Fraction(v)
        if type(e).__name__ in FUNCTIONS:
            return self._function(type(e).__name__, args)
        if type(e) in FLOATS:
            return FLOATS[type(e)](*map(float, args))
        if e.is_number:
            return float(e)
        if isinstance(e, Unknown):
            raise NotOnPaper(f"{e.name_only} is an unknown function")
        raise NotOnPaper(f"{type(e).__name__} has no value on paper")

    def _function(self, name: str, args: Sequence[Value]) -> Value:
        """A function of the language by the checker's table: a fraction where it is one, else a float."""
        field = self.field
        try:
            found = field.call(name, *(((1, a if isinstance(a, Fraction) else field.mp.mpf(a)),) for a in args))
        except Undefined as error:
            raise NotOnPaper(str(error)) from error
        return found if isinstance(found, Fraction) else float(found)

    def holds(self, c: Boolean, env: Env) -> bool:
        if c in (sympy.true, sympy.false):
            return c == sympy.true
        if isinstance(c, (And, Or)):
            return (all if isinstance(c, And) else any)(self.holds(a, env) for a in c.args)
        if isinstance(c, Not):
            return not self.holds(c.args[0], env)
        return COMPARE[type(c)](self.value(c.lhs, env), self.value(c.rhs, env))


def _power(base: Value, exponent: Value) -> Value:
    if isinstance(base, Fraction) and isinstance(exponent, Fraction):
        longest = max(abs(n).bit_length() for n in (base.numerator, base.denominator))
        if abs(base) != 1 and base and longest * abs(exponent) > LONG_NUMBER:
            raise NotOnPaper("a power has too many digits")
        if exponent.denominator == 1:
            return base ** int(exponent)
        root = sympy.Rational(base.numerator, base.denominator) ** sympy.Rational(
            exponent.numerator, exponent.denominator
        )
        if root.is_Rational:
            return Fraction(int(root.p), int(root.q))
    v = float(base) ** float(exponent)
    if isinstance(v, complex):
        raise NotOnPaper("a root of a negative number")
    return v
