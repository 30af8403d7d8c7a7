"""The author's definitions, read as they were written: what the derivation as a whole is compared with.

``tensor.definition.body`` is walked node by node, element by element, over any field, by rules that share nothing with
ingestion, which makes the program that is derived from:

    Sum(f, i), sympy.Sum          every value of i, one after the other
    Prod(f, i), sympy.Product     the same, multiplied
    Max(f, i), argmax             the first largest, among the positions at which all that is read exists and is not -oo
    [c] f, {f if c; 0} g          0 where c is false; the rest is not looked at there
    h[t-1] in h[t]                a loop over t, in the direction that its reads leave open
    matrices                      by elimination

The expressions are compiled by :mod:`derive.exact.reader`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic

import sympy
from sympy import Basic, Float, Mul, Piecewise

from derive.language.grouping import float_in_exponent
from derive.language.tensor import Tensor
from derive.language.written import Group, groups, reads_itself, time_of
from derive.program.program import Program
from derive.program.schedule import schedule

from .abstract import Closure, Element, Field, V
from .compile import Array, whole_size
from .field import Undefined
from .machine import Machine, positions
from .reader import Reader


class Written(Generic[V]):
    """Tensors by name over one field and one binding of the sizes, from their written definitions.

    ``nudge`` gives tangents to add to computed tensors, wherever they are defined.
    """

    def __init__(
        self,
        field: Field[V],
        sizes: Mapping[str, int],
        arrays: Mapping[str, Array],
        linear: frozenset[str],
        nudge: Mapping[str, Sequence[V]] | None = None,
    ) -> None:
        self.F, self.sizes, self.linear, self.nudge = field, dict(sizes), linear, nudge or {}
        self.arrays = dict(arrays)

    def run(self, roots: Sequence[Tensor]) -> dict[str, Array]:
        """Compute what the roots need, and them; the inputs are in ``arrays``."""
        for group in groups(roots):
            if group[0].is_input:
                continue
            if group[0].definition is None:
                self._derived(group)
            else:
                self._define(group)
        return self.arrays

    def _derived(self, group: Group) -> None:
        """Tensors of an earlier derivation, whose equations its own evidence is about."""
        equations = tuple(t.origin.equation(t) for t in group if t.origin is not None)
        machine = Machine(self.F, self.sizes, self.linear, self.arrays, self.nudge)
        for part in schedule(Program((), equations)):
            machine.run_group(part)
        self.arrays.update({t.name: machine.arrays[t.name] for t in group})

    def _define(self, group: Group) -> None:
        members, axis, direction = time_of(group) if reads_itself(group) else (list(group), {}, 1)
        for t in members:
            shape = tuple(whole_size(a, self.sizes) for a in t.axes)
            self.arrays[t.name] = Array(shape, [None] * math.prod(shape))
        elements = [(t, self._element(t)) for t in members]
        first = members[0]
        times = range(self.arrays[first.name].shape[axis[first.name]]) if axis else range(1)
        for now in times[::direction]:
            for t, element in elements:
                ranges: list[Sequence[int]] = [range(n) for n in self.arrays[t.name].shape]
                if axis:
                    ranges[axis[t.name]] = (now,)
                self._fill(t, element, ranges)

    def _element(self, t: Tensor) -> Callable[[tuple[int, ...]], Element]:
        assert t.definition is not None  # the caller looked
        idx, body = t.definition.idx, _exact_numbers(t.definition.body)
        reader = Reader(self.F, self.sizes, self.arrays)
        slots = {i: reader.slot() for i in idx}
        found: Closure[Element] = (reader.value if t.dtype == "float" else reader.exact)(body, slots)
        I = [0] * reader.count

        def element(at: tuple[int, ...]) -> Element:
            I[: len(at)] = at
            return found(I)

        return element

    def _fill(self, t: Tensor, element: Callable[[tuple[int, ...]], Element], ranges: Sequence[Sequence[int]]) -> None:
        array, nudge = self.arrays[t.name], self.nudge.get(t.name)
        try:
            for at in positions(ranges):
                v, offset = element(at), array.offset(at)
                array.data[offset] = v if nudge is None else self.F.add(v, nudge[offset])
        except Undefined as error:
            raise type(error)(f"{error} (in the definition of {t.name})") from error


def _exact_numbers(e: Any) -> Any:
    """The expression with the decimals that its floats were written as; an exponent's number is put back into it."""
    if not isinstance(e, Basic) or isinstance(e, Tensor) or not e.has(Float):
        return e
    if isinstance(e, Float):
        return sympy.Rational(repr(float(e)))
    if isinstance(e, Mul):
        e = float_in_exponent(e)
    args = [_exact_numbers(a) for a in e.args]
    return Piecewise(*args, evaluate=False) if isinstance(e, Piecewise) else e.func(*args)
