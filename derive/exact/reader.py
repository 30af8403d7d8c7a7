"""Written expressions, compiled over any field: what :mod:`derive.exact.written` walks definitions with.

A sum is taken one value after the other, the largest is the first of the positions that exist, a condition comes before
what it guards; what is inside a function, a power, a branch or an index is read by :mod:`derive.exact.compile`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import sympy
from sympy import Add, Basic, Expr, Integer, Mul, Piecewise
from sympy.core.function import AppliedUndef
from sympy.logic.boolalg import Boolean

from derive.language.index import Index
from derive.language.keys import key
from derive.language.matrices import KINDS, MatrixFunction
from derive.language.nodes import (
    ArgMax,
    Iverson,
    Max,
    Prod,
    Reduction,
    Sum,
    loggamma,
    maximum,
    minimum,
    polygamma,
    relu,
)
from derive.language.tensor import Read, Tensor
from derive.language.unknown import applied_function

from .abstract import Argument, Closure, Condition, Element, Exact, Rational, Slots, V, Values
from .compile import Compiler, additive_terms, is_exact, whole_size
from .field import Undefined, primal
from .machine import positions
from .matrices import MATRIX_VALUES


class Reader(Compiler[V]):
    """Compiles written expressions; every bound index gets a slot of its own."""

    count = 0

    def slot(self) -> int:
        self.count += 1
        return self.count - 1

    def value(self, e: Expr, slots: Slots) -> Closure[V]:
        if isinstance(e, ArgMax):
            return self._embed(self.exact(e, slots), constant=False)
        if isinstance(e, Reduction | sympy.Sum | sympy.Product):
            return self._reduction(e, slots)
        if isinstance(e, sympy.polygamma | sympy.loggamma):
            return self.value((polygamma if isinstance(e, sympy.polygamma) else loggamma)(*e.args), slots)
        if isinstance(e, AppliedUndef):
            return self.value(applied_function(e.func.__name__, *e.args), slots)
        if isinstance(e, sympy.log) and isinstance(e.args[0], sympy.gamma):
            return self.value(loggamma(*e.args[0].args), slots)
        if isinstance(e, sympy.KroneckerDelta):
            return self.value(Iverson(sympy.Eq(*e.args[:2], evaluate=False)), slots)
        if isinstance(e, sympy.Max | sympy.Min):
            return self.value(_of_two(e), slots)
        if isinstance(e, Mul) and not is_exact(e):
            return self._product(e, [], slots)
        return super().value(e, slots)

    def exact(self, e: Expr, slots: Slots) -> Exact:
        if isinstance(e, ArgMax):
            best = self._largest(e.body, e.binders, slots)
            return lambda I: best(I)[1]
        return super().exact(e, slots)

    def _reduction(self, e: Expr, slots: Slots) -> Closure[V]:
        if isinstance(e, MatrixFunction):
            return self._matrix(e, slots)
        if isinstance(e, Max):
            best = self._largest(e.body, e.binders, slots)
            return lambda I: best(I)[0]
        if isinstance(e, Sum):
            return self._sum(e.body, e.binders, slots)
        if isinstance(e, Prod):
            return self._all_factors(e.body, e.binders, slots)
        body, nothing = e.function, int(isinstance(e, sympy.Product))
        for i, *ends in e.limits:
            if ends:
                body = Piecewise((body, sympy.And(i >= ends[0], i <= ends[1])), (nothing, True), evaluate=False)
        binders = tuple(i for i, *_ in e.limits)
        return (self._all_factors if nothing else self._sum)(body, binders, slots)

    def argument(self, e: Expr, slots: Slots) -> Closure[Argument[V]]:
        """A sum inside an argument is taken apart to its terms, which exponentials mod p must know."""
        if not e.has(Reduction, sympy.Sum):
            return super().argument(e, slots)
        one = self.F.one
        parts: list[tuple[Exact, Closure[Argument[V]]]] = []
        for factors in additive_terms(e):
            rational = self.exact(Mul(*(f for f in factors if is_exact(f))), slots)
            floats = [f for f in factors if not is_exact(f)]
            if len(floats) == 1 and isinstance(floats[0], Sum):
                parts.append((rational, self._gathered(floats[0], slots)))
            elif floats:
                parts.append((rational, _alone(self.value(Mul(*floats, evaluate=False), slots))))
            else:
                parts.append((rational, lambda I: ((1, one),)))

        def collect(I: Values) -> Argument[V]:
            out = []
            for rational, terms in parts:
                c = rational(I)
                out += [(c * k, v) for k, v in terms(I)] if c else []
            return tuple(out)

        return collect

    def _gathered(self, e: Sum, slots: Slots) -> Closure[Argument[V]]:
        """The terms of a sum, one after the other."""
        inner = {**slots, **{b: self.slot() for b in e.binders}}
        body = self.argument(e.body, inner)
        places = [inner[b] for b in e.binders]
        ranges = [range(whole_size(b.size, self.sizes)) for b in e.binders]

        def terms(I: Values) -> Argument[V]:
            out: list[tuple[Rational, V]] = []
            for at in positions(ranges):
                for slot, k in zip(places, at, strict=True):
                    I[slot] = k
                out += body(I)
            return tuple(out)

        return terms

    # -- sums and products -----------------------------------------------------------------------------------------

    def _sum(self, body: Expr, binders: Sequence[Index], slots: Slots) -> Closure[V]:
        inner = {**slots, **{b: self.slot() for b in binders}}
        parts, add, zero = [self._product(a, binders, inner) for a in Add.make_args(body)], self.F.add, self.F.zero

        def total(I: Values) -> V:
            out = zero
            for p in parts:
                out = add(out, p(I))
            return out

        return total

    def _product(self, e: Expr, binders: Sequence[Index], slots: Slots) -> Closure[V]:
        """The sum over the binders of a product, each factor taken in at the loop at which its indices are known.

        Conditions first: where one is false, the rest of that loop is not looked at.
        """
        F, mul, add = self.F, self.F.mul, self.F.add
        factors = list(Mul.make_args(e))
        levels: list[tuple[list[Condition], list[Closure[V]]]] = [([], []) for _ in range(len(binders) + 1)]
        for f in factors:
            symbols = f.free_symbols
            depth = max((n for n, b in enumerate(binders, start=1) if b in symbols), default=0)
            condition, f = _taken_apart(f)
            if condition is not None:
                levels[depth][0].append(self.condition(condition, slots))
            if f != 1:
                levels[depth][1].append(self.value(f, slots))
        places = [(slots[b], whole_size(b.size, self.sizes)) for b in binders]

        def at(depth: int, I: Values, product: V) -> V:
            conditions, values = levels[depth]
            for holds in conditions:
                if not holds(I):
                    return F.zero
            for v in values:
                product = mul(product, v(I))
                if F.is_zero(product):
                    return F.zero
            if depth == len(places):
                return product
            slot, n = places[depth]
            out = F.zero
            for k in range(n):
                I[slot] = k
                out = add(out, at(depth + 1, I, product))
            return out

        return lambda I: at(0, I, F.one)

    def _all_factors(self, body: Expr, binders: Sequence[Index], slots: Slots) -> Closure[V]:
        """The product of the body at every value of the binders."""
        inner = {**slots, **{b: self.slot() for b in binders}}
        value, mul, one = self.value(body, inner), self.F.mul, self.F.one
        places = [inner[b] for b in binders]
        ranges = [range(whole_size(b.size, self.sizes)) for b in binders]

        def product(I: Values) -> V:
            out = one
            for at in positions(ranges):
                for slot, k in zip(places, at, strict=True):
                    I[slot] = k
                out = mul(out, value(I))
            return out

        return product

    # -- the largest -----------------------------------------------------------------------------------------------

    def _largest(self, body: Expr, binders: Sequence[Index], slots: Slots) -> Closure[tuple[Element, int]]:
        """The first largest value and its position, among the positions that exist."""
        F, below = self.F, primal(self.F, self.F.infinity(-1))
        inner = {**slots, **{b: self.slot() for b in binders}}
        exists, value = self._exists(body, inner), self.value(body, inner)
        places = [(inner[b], whole_size(b.size, self.sizes)) for b in binders]

        def best(I: Values, depth: int = 0) -> tuple[Element, int] | None:
            """The largest over the binders from ``depth`` on, of each the largest over those after it.

            In this order because mod p "larger" is not transitive: the largest of all at once may be another.
            """
            if depth == len(places):
                return (value(I), 0) if exists(I) else None
            found: tuple[Element, int] | None = None
            slot, n = places[depth]
            for k in range(n):
                I[slot] = k
                new = best(I, depth + 1)
                if new is None or (found is not None and primal(F, new[0]) == below):
                    continue  # -oo is chosen only where there is nothing else
                if found is None or primal(F, found[0]) == below or F.sign(F.sub(new[0], found[0])) > 0:
                    found = new[0], k * math.prod(m for _, m in places[depth + 1 :]) + new[1]
            return found

        def largest(I: Values) -> tuple[Element, int]:
            found = best(I)
            if found is None:
                raise Undefined("a max over an empty window")
            return found

        return largest

    def _exists(self, e: Basic, slots: Slots) -> Condition:
        """Whether all that is read lies inside its tensor; of branches, in the one that is chosen.  Sums are total."""
        if isinstance(e, Reduction | sympy.Sum | sympy.Product | Tensor):
            return lambda I: True
        if isinstance(e, Piecewise):
            branches = [(self.condition(c, slots), self._exists(v, slots)) for v, c in e.args]
            return lambda I: next((inside(I) for holds, inside in branches if holds(I)), True)
        parts = [self._exists(a, slots) for a in e.args if a.args or isinstance(a, Read)]
        if isinstance(e, Read):
            shape = [whole_size(a, self.sizes) for a in e.tensor.axes]
            at = [(self.exact(x, slots), n) for x, n in zip(e.idx, shape, strict=True)]
            parts.append(lambda I: all(0 <= x(I) < n for x, n in at))
        return lambda I: all(p(I) for p in parts)

    # -- matrices --------------------------------------------------------------------------------------------------

    def _matrix(self, e: MatrixFunction, slots: Slots) -> Closure[V]:
        F, values, n = self.F, MATRIX_VALUES[KINDS[type(e)]], whole_size(e.binders[0].size, self.sizes)
        inner = {**slots, **{b: self.slot() for b in e.binders}}
        p, q = (inner[b] for b in e.binders)
        body, at = self.value(e.body, inner), [self.exact(a, slots) for a in e.at]

        def row(I: Values, i: int) -> list[V]:
            I[p] = i
            out = []
            for I[q] in range(n):
                out.append(body(I))
            return out

        def element(I: Values) -> V:
            found = values(F, [row(I, i) for i in range(n)])
            for a in at:
                k = a(I)
                if not 0 <= k < n:
                    return F.zero
                found = found[k]
            return found

        return element


def _alone(value: Closure[V]) -> Closure[Argument[V]]:
    return lambda I: ((1, value(I)),)


def _taken_apart(f: Expr) -> tuple[Boolean | None, Expr]:
    """``(c, g)`` of a factor that is g where c holds and 0 elsewhere; None for no condition."""
    if isinstance(f, Iverson):
        return f.condition, Integer(1)
    if isinstance(f, Piecewise) and len(f.args) == 2 and f.args[1] == (0, sympy.true):
        return f.args[0][1], f.args[0][0]
    return None, f


def _of_two(e: Expr) -> Expr:
    """SymPy's Max and Min, which forget the order of their arguments, by our own of two; a number is the last."""
    first, *others = sorted(e.args, key=lambda a: (a.is_number, key(a)))
    if isinstance(e, sympy.Max) and others == [0]:
        return relu(first)
    for a in others:
        first = (maximum if isinstance(e, sympy.Max) else minimum)(first, a)
    return first
