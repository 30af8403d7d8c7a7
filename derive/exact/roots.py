"""Inputs at which every square root of a program exists mod p.

Half of all numbers have a square root mod p, so that a network with 40 of them (each row of each layer norm takes one)
has values at one draw in 2**40.  Instead of drawing everything again, the inputs are changed one element at a time: a
change is kept when the program gets further, which takes about two changes for each root.  A recurrence is walked
through step by step, and the weights of each step are changed by themselves.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from derive.language.index import Index
from derive.language.tensor import Tensor
from derive.program.program import Equation, Program
from derive.program.schedule import Scan, members, schedule

from .abstract import V
from .compile import Array
from .field import NoRoot, Undefined
from .loops import linear_tensors
from .machine import Machine, Unit

CHANGES = 160  # of one root, before this draw is given up: what a softmax is made of moves all roots of a row
TOGETHER = 8  # roots of one step that one change is to give at once: it takes about two to their number of changes

Slice = tuple[int, int]  # an axis of an input, and the place there that one step reads
Redrawn = Callable[[Tensor, Array, Sequence[int]], Array]  # with one element of these places drawn anew


def run_with_roots(machine: Machine[V], program: Program, redrawn: Redrawn) -> None:
    """Run a program on ``machine``, whose input arrays are changed by ``redrawn`` where a root does not exist.

    Raises
    ------
    Undefined
        For a value that does not exist for another reason, or a root that no change of the inputs gave.
    """
    # A root asks half of all numbers to be another half, so with n roots a draw is right once in 2**n; but a draw that is
    # right up to the k-th root stays right there while only what is first read after it changes.  So the search walks:
    # change one element of one input, go on from where that input is first read, keep the change if the walk gets further.
    if not machine.linear:
        machine.linear = linear_tensors(program.equations)
    groups = schedule(program)
    units = [u for group in groups for u in machine.units(group)]
    stepped = {e.name for g in groups if isinstance(g, Scan) for e in g.equations}  # whose arrays are filled in place
    first = _first_uses(program, groups, units, machine)
    rng = random.Random("roots")  # not of the case: a second run of the same case walks the same way
    stopped = _advance(machine, units, 0)
    tries = 0
    while stopped is not None:
        at, error = stopped
        tries += 1
        if not isinstance(error, NoRoot) or tries > _allowed(machine, units[at[0]]):
            raise error
        # only an input that has been read can change the root at hand; of these the ones read last undo the least
        known = [
            (t, s) for (t, s), n in first.items() if n <= at[0] and t.dtype == "float" and machine.arrays[t.name].data
        ]
        if not known:
            raise error
        t, s = known[min(int(rng.expovariate(0.5)), len(known) - 1)]  # the last mostly, now and then one further back
        before = {n: Array(a.shape, list(a.data)) if n in stepped else a for n, a in machine.arrays.items()}
        machine.arrays[t.name] = redrawn(t, machine.arrays[t.name], _places(machine.arrays[t.name].shape, s))
        further = _advance(machine, units, first[t, s])
        if further is None or (isinstance(further[1], NoRoot) and further[0] > at):
            stopped, tries = further, 0
        else:
            machine.arrays.update(before)


def _allowed(machine: Machine[V], unit: Unit) -> int:
    """How many changes are tried for one root: what a step reads changes all roots of the next one at once."""
    if unit.at is None:
        return CHANGES
    roots = math.prod(n for k, n in enumerate(machine.shape(unit.equation.tensor)) if k != unit.at[0])
    return max(CHANGES, int(4 * 2 ** min(roots, TOGETHER)))


def _advance(machine: Machine[V], units: Sequence[Unit], start: int) -> tuple[tuple[int, int], Undefined] | None:
    """Evaluate from a unit on; where it stopped, as (unit, element), and why; None at the end."""
    for n in range(start, len(units)):
        try:
            machine.run_unit(units[n])
        except Undefined as error:
            return (n, error.element), error
    return None


def _first_uses(
    program: Program, groups: Sequence[Equation | Scan], units: Sequence[Unit], machine: Machine[V]
) -> dict[tuple[Tensor, Slice | None], int]:
    """The first unit that reads each input, or each slice of one that recurrences alone read, a slice at a step.

    The latest used come first, as their change moves the fewest roots.
    """
    sliced = _sliced(groups)
    found: dict[tuple[Tensor, Slice | None], int] = {}
    for n, (e, at) in enumerate(units):
        for r in e.reads():
            t = r.tensor
            if not t.is_input:
                continue
            k = sliced.get(t)
            if k is None or at is None:
                found.setdefault((t, None), n)
                continue
            place = at[1] + int(r.idx[k] - e.idx[at[0]])
            if 0 <= place < machine.arrays[t.name].shape[k]:
                found.setdefault((t, (k, place)), n)
    return {key: found[key] for key in sorted(found, key=lambda key: (-found[key], key[0].name, key[1] or ()))}


def _sliced(groups: Sequence[Equation | Scan]) -> dict[Tensor, int]:
    """The axis of each input along which every read of it stands at a constant distance of the step."""
    found: dict[Tensor, set[int]] = {}
    for group in groups:
        for e in members(group):
            step: Index | None = e.idx[group.axis[e.name]] if isinstance(group, Scan) else None
            for r in e.reads():
                axes = {k for k, i in enumerate(r.idx) if step is not None and (i - step).is_Integer}
                found[r.tensor] = found.get(r.tensor, axes) & axes
    return {
        t: min(axes) for t, axes in found.items() if t.is_input and axes and not t.facts
    }  # facts tie elements together


def _places(shape: Sequence[int], part: Slice | None) -> range | list[int]:
    """The places of a slice among the elements of an array, all of them without one."""
    if part is None:
        return range(math.prod(shape))
    k, at = part
    inner = math.prod(shape[k + 1 :])
    return [n for n in range(math.prod(shape)) if n // inner % shape[k] == at]
