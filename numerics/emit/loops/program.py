"""A whole derivation as one function: sizes from the arrays that are given, the equations in order, the results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sympy import Expr, Symbol

from derive.derivation.derivation import Derivation
from derive.language.facts import missing_value
from derive.language.index import Size
from derive.language.tensor import Tensor
from derive.program.schedule import schedule
from numerics.emit.source.asked import FUNCTION_NAMES, inputs_of, only_outputs
from numerics.emit.source.header import TITLES
from numerics.emit.source.names import Names, comment
from numerics.emit.source.sizes import UNKNOWN, size_place
from numerics.errors import SizeError

from . import tree
from .equations import Equations
from .tree import Fitting, Function, Gap, Given, Length, Let, Num, Result, Returned, Statement


def function(d: Derivation, sizes: Mapping[Size, int], name: str | None, taken: frozenset[str]) -> Function:
    """The function of a derivation; no variable of it has a name that is ``taken``."""
    names = Names(taken)
    called = camel(FUNCTION_NAMES.get(d.kind, "loss_and_grads"))
    names.taken.add(called)
    inputs = inputs_of(d)
    arrays = {t.name: names.of(("tensor", t.name), t.name, f"{t.name}_in") for t in inputs}
    arrays |= {e.name: names.of(("tensor", e.name), e.name, f"{e.name}_val") for e in d.program.equations}
    used = {s: names.fresh(s.name, f"{s.name}_size") for s in _sizes_of(d, inputs)}
    write = Equations(names, arrays, used)
    body: list[Statement] = [*_taken(write, inputs, sizes)]
    for group in schedule(d.program):
        body += write.group(group)
    return Function(called, tuple(_about(d, name or d.name)), (*body, Gap()), _returned(d, write))


def camel(name: str) -> str:
    """``loss_and_grads`` as ``lossAndGrads``."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _sizes_of(d: Derivation, inputs: tuple[Tensor, ...]) -> list[Size]:
    found = {s.name: s for s in d.program.sizes()}
    found |= {s.name: s for t in inputs for a in t.axes for s in a.free_symbols}
    return [found[n] for n in sorted(found)]


def _about(d: Derivation, title: str) -> list[str]:
    source = "its definitions" if d.kind == "forward" else "its derivation"
    facts = "; ".join(dict.fromkeys(f.text for f in d.facts)) or "none"
    kinks = "; ".join(dict.fromkeys(map(str, d.kinks))) or "none"
    head = f"{TITLES.get(d.kind, 'Loss and gradients')} of {title}, generated from {source}."
    return [comment(line) for line in (head, f"Facts used: {facts}.", f"Kinks: {kinks}.")]


def _taken(write: Equations, inputs: tuple[Tensor, ...], fixed: Mapping[Size, int]) -> list[Statement]:
    """Inputs by name, the sizes that they fix, and their data once it is known to fit."""
    given = {t.name: write.names.fresh(f"{t.name}_given") for t in inputs}
    lines: list[Statement] = [Given(given[t.name], t.name, t.rank) for t in inputs]
    for size, variable in write.sizes.items():
        if size in fixed:
            lines.append(Let(variable, Num(fixed[size])))
            continue
        place = size_place(size, inputs)
        if place is None:
            raise SizeError(
                f'size {size.name} is fixed by no array; give it, as in nx.source(d, sizes={{"{size.name}": 2}})'
            )
        t, axis, formula = place
        lines.append(Let(variable, _measured(write, Length(given[t.name], axis), formula)))
    for t in inputs:
        shape = tuple(write.value(a) for a in t.axes)
        below = None if t.below is None or not _known(write, t.below) else write.value(t.below)
        none = missing_value(t)
        missing = None if none is None else int(none)
        lines.append(Fitting(write.arrays[t.name], given[t.name], t.name, t.dtype, shape, below, missing))
    return lines


def _known(write: Equations, e: Expr) -> bool:
    return all(s in write.sizes for s in e.free_symbols)


def _measured(write: Equations, length: Length, formula: Expr | None) -> tree.Expr:
    """A size from the length of an axis, which is the size or linear in it."""
    if formula is None:
        return length
    return _Formula(write.names, write.arrays, write.sizes, length).value(formula)


class _Formula(Equations):
    """Writes a formula of the length of an axis."""

    def __init__(self, names: Names, arrays: dict[str, str], sizes: Mapping[Size, str], length: Length):
        super().__init__(names, arrays, sizes)
        self.length = length

    def value(self, e: Expr) -> tree.Expr:
        return self.length if isinstance(e, Symbol) and e == UNKNOWN else super().value(e)


def _returned(d: Derivation, write: Equations) -> Returned:
    def result(t: Tensor) -> Result:
        return Result(write.arrays[t.name], tuple(write.value(a) for a in t.axes))

    def nested(found: Mapping[Any, Tensor]) -> Returned:
        if any(isinstance(k, tuple) for k in found):  # a Hessian: by both names
            firsts = dict.fromkeys(k[0] for k in found)
            return tuple((a, tuple((k[1], result(t)) for k, t in found.items() if k[0] == a)) for a in firsts)
        return tuple((k, result(t)) for k, t in found.items())

    if only_outputs(d):
        return nested(d.result("outputs"))
    return tuple((group, result(v) if isinstance(v, Tensor) else nested(v)) for group, v in d.results)
