"""Scalar expressions over reads: at one position of each index, every index, size and array by its variable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sympy
from sympy import Add, Expr, Integer, Mul, Piecewise, Pow, Rational
from sympy.logic.boolalg import And, BooleanFalse, BooleanTrue, Not, Or

from derive.language.affine import bounds, nonnegative
from derive.language.errors import UnsupportedError
from derive.language.functions import FUNCTIONS
from derive.language.index import Index, Size
from derive.language.nodes import Iverson
from derive.language.tensor import Read
from derive.program.rows import guard_of
from numerics.emit.source.names import Names
from numerics.emit.terms import accurate

from . import tree
from .tree import At, Call, Choose, Constant, Minus, Num, Op, Var, joined, multiplied, summed

RELATIONS = {sympy.Eq: "==", sympy.Ne: "!=", sympy.Lt: "<", sympy.Le: "<=", sympy.Gt: ">", sympy.Ge: ">="}
CONSTANTS = {sympy.pi: "pi", sympy.E: "e", sympy.oo: "infinity"}
IDENTITIES = {f.name for f in FUNCTIONS.values() if f.jax == "identity"}


class Scalars:
    """The variables in force, and what an expression is in them.

    Attributes
    ----------
    arrays : dict of str to str
        Tensor name -> the variable that holds it: a flat array, or a number where it has no axes.
    sizes : dict of Size to str
    places : dict of Index to Expr
        The position of each index that is open here.
    """

    def __init__(self, names: Names, arrays: dict[str, str], sizes: Mapping[Size, str]):
        self.names, self.arrays, self.sizes = names, arrays, sizes
        self.places: dict[Index, tree.Expr] = {}
        self.beside: list[str] = []  # variables of the block that is being written, besides its loops'

    def value(self, e: Expr) -> tree.Expr:
        """The value of a scalar expression."""
        if isinstance(e, Read):
            return self.read(e)
        if isinstance(e, Index):
            return self.places[e]
        if isinstance(e, Size):
            return Var(self.sizes[e])
        if isinstance(e, Rational):
            return number(e)
        if e in CONSTANTS or -e in CONSTANTS:
            return Constant(CONSTANTS[e]) if e in CONSTANTS else Minus(Constant(CONSTANTS[-e]))
        if isinstance(e, Add):
            return self.sum(e)
        if isinstance(e, Mul):
            return self.product(e.args)
        if isinstance(e, Pow):
            return self.power(e)
        if isinstance(e, Piecewise):
            return self.choice(e)
        if isinstance(e, Iverson):
            return Choose(self.condition(e.condition), Num(1), Num(0))
        return self.function(e)

    def function(self, e: Expr) -> tree.Expr:
        name = type(e).__name__
        if name == "log" and (u := accurate.one_minus_exp(e.args[0])) is not None:
            return Call("log1mexp", (self.value(-u),))
        if name == "log" and (u := accurate.one_plus(e.args[0])) is not None:
            return Call("log1p", (self.value(u),))
        if name in IDENTITIES:
            return self.value(e.args[0])
        if name in FUNCTIONS or name == "Mod":
            return Call(name, tuple(self.value(a) for a in e.args))
        raise UnsupportedError(
            f"{e}: no loop is known for the function {name}; the functions are {', '.join(FUNCTIONS)}"
        )

    # -- sums, products, powers ------------------------------------------------------------------------------------

    def sum(self, e: Add) -> tree.Expr:
        """A sum; a part of it that would cancel is computed by the function that does not."""
        found = accurate.cancelling(e)
        if found is None:
            return summed([self.signed(a) for a in e.args])
        coef, name, argument, rest = found
        negative = coef.could_extract_minus_sign()
        part = multiplied([self.value(-coef if negative else coef), Call(name, (self.value(argument),))])
        return summed([*(self.signed(a) for a in rest), (negative, part)])

    def signed(self, e: Expr) -> tuple[bool, tree.Expr]:
        negative = e.as_coeff_Mul()[0].is_negative is True
        return negative, self.value(-e if negative else e)

    def product(self, factors: Iterable[Expr]) -> tree.Expr:
        """A product; what a condition leaves out is not evaluated."""
        tests: list[tree.Expr] = []
        above: list[tree.Expr] = []
        below: list[tree.Expr] = []
        coef = Integer(1)
        for f in (g for factor in factors for g in Mul.make_args(factor)):
            guard = guard_of(f)
            if guard is not None:
                tests.append(self.condition(guard))
            if isinstance(f, Iverson):
                continue
            for g in Mul.make_args(f.args[0][0] if guard is not None else f):
                if isinstance(g, Rational):
                    coef *= g
                elif isinstance(g, Pow) and g.exp.is_Rational and g.exp.is_negative:
                    below.append(self.value(Pow(g.base, -g.exp)))
                else:
                    above.append(self.value(g))
        inside = quotient(abs(coef), above, below)
        inside = Minus(inside) if coef < 0 else inside
        return Choose(joined("and", tests), inside, Num(0)) if tests else inside

    def power(self, e: Pow) -> tree.Expr:
        base, exponent = e.args
        if exponent.is_Rational and exponent.is_negative:
            return Op("/", Num(1), self.value(Pow(base, -exponent)))
        v = self.value(base)
        if exponent == Rational(1, 2):
            return Call("sqrt", (v,))
        if exponent == 2 and isinstance(v, Var | At):
            return Op("*", v, v)
        return Op("^", v, self.value(exponent))

    # -- conditions ------------------------------------------------------------------------------------------------

    def choice(self, e: Piecewise) -> tree.Expr:
        *branches, (last, always) = e.args
        if not isinstance(always, BooleanTrue):
            raise UnsupportedError(f"{e}: a Piecewise needs a last branch (value, True)")
        v = self.value(last)
        for value, test in reversed(branches):
            v = Choose(self.condition(test), self.value(value), v)
        return v

    def condition(self, c: Any) -> tree.Expr:
        if isinstance(c, BooleanTrue | BooleanFalse):
            return Op("==", Num(int(bool(c))), Num(1))
        if isinstance(c, And | Or):
            return joined("and" if isinstance(c, And) else "or", [self.condition(a) for a in c.args])
        if isinstance(c, Not):
            return tree.Not(self.condition(c.args[0]))
        if isinstance(c, Read):
            return Op("!=", self.read(c), Num(0))
        op = next((text for kind, text in RELATIONS.items() if isinstance(c, kind)), None)
        if op is None:
            raise UnsupportedError(f"condition {c}: accepted are ==, !=, <, <=, >, >=, And, Or and Not of scalars")
        return Op(op, self.value(c.lhs), self.value(c.rhs))

    # -- reads -----------------------------------------------------------------------------------------------------

    def read(self, r: Read) -> tree.Expr:
        """An element; 0 outside, which is tested where sizes do not prove that it is inside."""
        array = self.arrays[r.tensor.name]
        if not r.idx:
            return Var(array)
        tests = [t for e, n in zip(r.idx, r.tensor.axes, strict=True) for t in self.inside(e, n)]
        found = At(array, self.place([self.value(e) for e in r.idx], r.tensor.axes))
        return Choose(joined("and", tests), found, Num(0)) if tests else found

    def place(self, at: list[tree.Expr], axes: Iterable[Expr]) -> tree.Expr:
        """Where an element stands in a flat array, the last axis next to itself."""
        place: tree.Expr = Num(0)
        for e, n in zip(at, axes, strict=True):
            place = e if place == Num(0) else Op("+", Op("*", place, self.value(n)), e)
        return place

    def inside(self, e: Expr, size: Expr) -> list[tree.Expr]:
        """What must hold for ``0 <= e < size``, where it is not known to."""
        found, v = bounds(e), self.value(e)
        low = found is not None and nonnegative(found[0])
        high = found is not None and nonnegative(sympy.expand(size - 1 - found[1]))
        return [*([] if low else [Op(">=", v, Num(0))]), *([] if high else [Op("<", v, self.value(size))])]


def number(q: Rational) -> tree.Expr:
    """A rational; a quotient where no short decimal is exact."""
    if q < 0:
        return Minus(number(-q))
    if q.is_Integer:
        return Num(int(q) if q < 2**53 else float(q))
    decimal = float(q)
    if Rational(repr(decimal)) == q or len(str(q.p)) + len(str(q.q)) > 12:
        return Num(decimal)
    return Op("/", Num(int(q.p)), Num(int(q.q)))


def quotient(coef: Rational, above: list[tree.Expr], below: list[tree.Expr]) -> tree.Expr:
    """``coef * above / below``, the parts of a simple coefficient on both sides of the line."""
    if isinstance(number(coef), Num):
        above = [number(coef), *above]
    else:
        above, below = [number(Integer(coef.p)), *above], [number(Integer(coef.q)), *below]
    top = multiplied(above)
    return Op("/", top, multiplied(below)) if below else top
