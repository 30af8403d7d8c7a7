"""Evaluate a program, element by element, over any field; written for clarity of meaning, at sizes like 2, 3, 5.

The meaning is the one of :mod:`derive.program.program`: sums over the full range of their bound indices where the rows hold,
total reads, the first maximiser of a max over the positions that exist, recurrences step by step in their direction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Generic, NamedTuple, TypeAlias

import sympy
from sympy import Mul

from derive.language.errors import DerivationError
from derive.language.matrices import MATRICES
from derive.language.tensor import Tensor
from derive.program.program import Equation, Program
from derive.program.schedule import Scan, schedule

from .abstract import Argument, Closure, Element, Exact, Field, Rational, Sizes, V, Values
from .compile import Array, Compiler, Position, is_exact, whole_size
from .field import NoRoot, RationalField, Undefined, primal
from .loops import Frame, gathered, linear_tensors, product_sum, visitor
from .matrices import MATRIX_VALUES

Given: TypeAlias = (
    "Array | Rational | str | Sequence[Given]"  # the value of an input: numbers, nested as deep as its axes
)


def evaluate(
    program: Program, values: Mapping[str, Given], sizes: Sizes, field: Field[V] | None = None
) -> dict[str, Array]:
    """Every tensor of a program, by name.

    Parameters
    ----------
    program : Program
    values : dict
        Input name -> :class:`Array`, or nested lists of numbers (ints, Fractions, strings such as ``"1/3"``).
    sizes : dict
        Size name -> positive int.
    field : optional
        Where to compute; by default exact rationals, and 50-digit reals from the first irrational value on.

    Returns
    -------
    dict of str to Array
        ``.shape``, flat ``.data``, ``array[i, j]`` and ``.nested()``; inputs included.

    Raises
    ------
    DerivationError
        For a missing input, a wrong shape, or a value that does not exist (a division by zero); names the equation.

    >>> import derive as dv
    >>> from derive.program.program import Equation, Program, Term
    >>> from sympy import Integer
    >>> i, = dv.indices("i")
    >>> x, y = dv.tensor("x", i), dv.tensor("y", role="state")
    >>> from derive.language.tensor import Tensor
    >>> s = Tensor("s", role="computed")
    >>> total = Equation(s, (), (Term(Integer(1), (x[i]**2,), (i,)),))
    >>> evaluate(Program((x,), (total,), (s,)), {"x": [1, "1/2", 3]}, {"I": 3})["s"].nested()
    Fraction(41, 4)
    """
    where: Field[Element] = RationalField() if field is None else field
    machine = Machine(where, sizes)
    for t in program.inputs:
        if t.name not in values:
            needed = ", ".join(x.name for x in program.inputs)
            raise DerivationError(f"evaluate: no value for the input {t.name}; it needs {needed}")
        machine.put(t, values[t.name])
    try:
        machine.run(program)
    except Undefined as e:
        raise DerivationError(f"evaluate: {e}") from e
    return machine.arrays


class Unit(NamedTuple):
    """An equation, at one step if it belongs to a recurrence: ``(its axis of steps, the step)``."""

    equation: Equation
    at: tuple[int, int] | None


class Machine(Generic[V]):
    """Arrays over one field and one binding of the sizes, and the equations run on them.

    ``linear`` names the tensors whose elements are sums that an exp (or a sine) may take apart again, or products with
    an exp that a log may; their terms are registered with the field.  ``nudge`` gives tangents to add to computed ones.
    """

    def __init__(
        self,
        field: Field[V],
        sizes: Sizes,
        linear: frozenset[str] = frozenset(),
        arrays: Mapping[str, Array] | None = None,
        nudge: Mapping[str, Sequence[V]] | None = None,
    ) -> None:
        self.F, self.sizes, self.linear, self.nudge = field, dict(sizes), linear, nudge or {}
        self.arrays: dict[str, Array] = {} if arrays is None else dict(arrays)
        self.compiler = Compiler(field, self.sizes, self.arrays)
        self._elements: dict[
            int, tuple[Equation, _Element[V]]
        ] = {}  # by id: an equation is run again after a root failed

    def shape(self, t: Tensor) -> tuple[int, ...]:
        return tuple(whole_size(a, self.sizes) for a in t.axes)

    def put(self, t: Tensor, value: Given) -> None:
        """Bind an input from an Array or nested lists."""
        if isinstance(value, Array):
            array = value
        else:
            flat = _flat(value, self.shape(t), t.name)
            array = Array(self.shape(t), [self.F.rational(Fraction(v)) for v in flat] if t.dtype == "float" else flat)
        if array.shape != self.shape(t):
            raise DerivationError(f"evaluate: {t.name} has shape {array.shape}, its axes are {self.shape(t)}")
        self.arrays[t.name] = array

    def run(self, program: Program) -> None:
        if not self.linear:
            self.linear = linear_tensors(program.equations)
        for group in schedule(program):
            self.run_group(group)

    def run_group(self, group: Equation | Scan) -> None:
        for unit in self.units(group):
            self.run_unit(unit)

    def units(self, group: Equation | Scan) -> list[Unit]:
        """What a group is evaluated by, in order: of a recurrence every equation at every step, its arrays laid out."""
        if not isinstance(group, Scan):
            return [Unit(group, None)]
        for e in group.equations:
            shape = self.shape(e.tensor)
            self.arrays[e.name] = Array(shape, [None] * math.prod(shape))
        first = group.equations[0]
        steps = range(self.shape(first.tensor)[group.axis[first.name]])
        order = steps if group.direction > 0 else reversed(steps)
        return [Unit(e, (group.axis[e.name], t)) for t in order for e in group.equations]

    def run_unit(self, unit: Unit) -> None:
        e, at = unit
        if at is None:
            self.arrays[e.name] = self.result(e)
            return
        self._fill(e, at, self._compiled(e))

    def result(self, e: Equation) -> Array:
        """The right-hand side of an equation at every position of its left-hand side."""
        shape = self.shape(e.tensor)
        return Array(shape, self._fill(e, None, self._compiled(e)))

    def _compiled(self, e: Equation) -> _Element[V]:
        if e.reduce in MATRICES:  # it keeps the values of the matrices it has met
            return _Element(self, e)
        if id(e) not in self._elements:
            self._elements[id(e)] = e, _Element(self, e)
        return self._elements[id(e)][1]

    def _fill(self, e: Equation, fixed: tuple[int, int] | None, element: _Element[V]) -> list[Element]:
        nudge = self.nudge.get(e.name)
        array = Array(self.shape(e.tensor), []) if fixed is None else self.arrays[e.name]
        ranges: list[Sequence[int]] = [range(n) for n in array.shape]
        data = array.data
        if fixed is not None:
            ranges[fixed[0]] = (fixed[1],)
        done = 0
        try:
            for at in positions(ranges):
                v = element(at)
                if nudge is not None:
                    v = self.F.add(v, nudge[array.offset(at)])
                if fixed is None:
                    data.append(v)
                else:
                    data[array.offset(at)] = v
                done += 1
        except Undefined as error:
            kind = NoRoot if isinstance(error, NoRoot) else Undefined
            found = kind(f"{error} (in the equation of {e.name})")
            found.element = done
            raise found from error
        return data


def positions(ranges: Sequence[Sequence[int]]) -> Iterator[Position]:
    """Every choice of one number from each range, the last fastest."""
    if not ranges:
        yield ()
        return
    for head in positions(ranges[:-1]):
        for i in ranges[-1]:
            yield (*head, i)


class _Element(Generic[V]):
    """One element of an equation, as a function of its position."""

    def __init__(self, machine: Machine[V], e: Equation) -> None:
        self.F = machine.F
        order = [*e.idx, *e.over, *(b for t in e.terms for b in t.bnd)]
        slots = {i: n for n, i in enumerate(order)}
        self.I = [0] * len(order)
        self.rank = len(e.idx)
        self.frame = Frame(machine.compiler, slots, frozenset(e.idx))
        if e.reduce in MATRICES:
            self.element: Closure[Element] = self._matrix(e, e.reduce)
        elif e.reduce is not None:
            self.element = self._reduction(e)
        elif e.tensor.dtype != "float":
            self.element = self._exact_sum(e)
        elif e.name in machine.linear:
            self.element = self._registered_sum(e)
        else:
            self.element = self._sum(e)

    def __call__(self, at: Position) -> Element:
        self.I[: self.rank] = at
        return self.element(self.I)

    def _sum(self, e: Equation) -> Closure[V]:
        runs = []
        for t in e.terms:
            run = product_sum(t, self.frame)
            runs.append(run)
        zero, add = self.F.zero, self.F.add

        def element(I: Values) -> V:
            out: V | None = None
            for run in runs:
                v = run(I)
                if v is not None:
                    out = v if out is None else add(out, v)
            return zero if out is None else out

        return element

    def _registered_sum(self, e: Equation) -> Closure[V]:
        F = self.F
        visits = [visitor(t.bnd, t.rows, self.frame) for t in e.terms]
        arguments = [self.frame.argument(Mul(t.coef, *t.fac, evaluate=False)) for t in e.terms]
        product = self._exp_times_rest(e)
        plain = self._sum(e)

        def element(I: Values) -> V:
            try:
                return registered(I)
            except Undefined:
                return plain(I)  # it knows which factors do not matter

        def registered(I: Values) -> V:
            both = zip(visits, arguments, strict=True)
            arg = [term for visit, argument in both for terms in gathered(visit, argument, I) for term in terms]
            value = F.total(arg)
            F.register(value, arg)
            if product is not None and not F.is_zero(value):
                F.register_product(value, *product(I))
            return value

        return element

    def _exp_times_rest(self, e: Equation) -> Closure[tuple[Argument[V], V]] | None:
        """For an equation ``exp(u) * w``: a closure to the terms of u and the value of w; else None."""
        if len(e.terms) != 1 or e.terms[0].bnd or e.terms[0].rows:
            return None
        t = e.terms[0]
        exps = [f for f in t.fac if isinstance(f, sympy.exp)]
        rest = Mul(t.coef, *(f for f in t.fac if not isinstance(f, sympy.exp)), evaluate=False)
        if not exps:
            return None
        arg = self.frame.argument(sympy.Add(*(f.args[0] for f in exps)))
        value = self.frame.value(rest)
        return lambda I: (arg(I), value(I))

    def _exact_sum(self, e: Equation) -> Exact:
        visits = [visitor(t.bnd, t.rows, self.frame) for t in e.terms]
        values = [self.frame.exact(Mul(t.coef, *t.fac, evaluate=False)) for t in e.terms]

        def element(I: Values) -> Rational:
            both = zip(visits, values, strict=True)
            return sum(v for visit, value in both for v in gathered(visit, value, I))

        return element

    def _matrix(self, e: Equation, kind: str) -> Closure[V]:
        """Inverse, det and logdet: the matrix of each position in the batch, computed once."""
        F, values = self.F, MATRIX_VALUES[kind]
        p, q = (self.frame.slots[b] for b in e.over)
        read, n = self.frame.value(e.terms[0].fac[0]), self.frame.size(e.over[0])
        batch = self.rank - MATRICES[kind].ranks
        known: dict[Position, Element] = {}

        def matrix(I: Values) -> list[list[V]]:
            rows: list[list[V]] = []
            for I[p] in range(n):
                rows.append([])
                for I[q] in range(n):
                    rows[-1].append(read(I))
            return rows

        def element(I: Values) -> V:
            at = tuple(I[:batch])
            if at not in known:
                known[at] = values(F, matrix(I))
            found = known[at]
            for i in I[batch : self.rank]:
                found = found[i]
            return found

        return element

    def _reduction(self, e: Equation) -> Closure[Element]:
        F = self.F
        body = [Mul(t.coef, *t.fac, evaluate=False) for t in e.terms]
        rows = [[self.frame.holds(r) for r in t.rows] for t in e.terms]
        exact = all(is_exact(b) for b in body)
        compiled: Callable[..., Closure[Element]] = self.frame.exact if exact else self.frame.value
        parts = [compiled(b) for b in body]
        zero: Element = 0 if exact else F.zero
        add: Callable[[Element, Element], Element] = (lambda a, b: a + b) if exact else F.add
        larger: Callable[[Element, Element], bool] = (
            (lambda a, b: a > b) if exact else (lambda a, b: F.sign(F.sub(a, b)) > 0)
        )
        below = primal(F, F.infinity(-1))

        def beats(v: Element, best: Element) -> bool:
            if exact or below not in (primal(F, v), primal(F, best)):
                return larger(v, best)
            return primal(F, v) != below  # -oo is chosen only where there is nothing else

        visit = visitor(e.over, e.guards, self.frame, in_order=True)
        at = [(self.frame.slots[b], self.frame.size(b)) for b in e.over]

        def element(I: Values) -> Element:
            best: list[Element] = []  # the value and its position

            def look(I: Values) -> None:
                v = zero
                for checks, part in zip(rows, parts, strict=True):
                    if all(c(I) for c in checks):
                        v = add(v, part(I))
                if not best or beats(v, best[0]):
                    position = 0
                    for slot, n in at:
                        position = position * n + I[slot]
                    best[:] = [v, position]

            visit(I, look)
            if not best:
                raise Undefined("a max over an empty window")
            if e.reduce == "argmax":
                return best[1] if e.tensor.dtype != "float" else F.rational(best[1])
            return F.rational(best[0]) if exact and e.tensor.dtype == "float" else best[0]

        return element


def _flat(value: Given, shape: tuple[int, ...], name: str) -> list[Element]:
    if not shape:
        return [value]
    if not isinstance(value, (list, tuple)) or len(value) != shape[0]:
        raise DerivationError(f"evaluate: the value of {name} does not have the shape of its axes; wanted {shape}")
    return [x for v in value for x in _flat(v, shape[1:], name)]
