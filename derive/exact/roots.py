"""Inputs at which every square root of a program exists mod p.

Half of all numbers have a square root mod p, so that a network with 40 of them (each row of each layer norm takes one)
has values at one draw in 2**40.  Instead of drawing everything again, the inputs are changed one element at a time: a
change is kept when the program gets further, which takes about two changes for each root.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from derive.language.tensor import Tensor
from derive.program.program import Equation, Program
from derive.program.schedule import Scan, members, schedule

from .abstract import V
from .compile import Array
from .field import NoRoot, Undefined
from .loops import linear_tensors
from .machine import Machine

CHANGES = 40  # of one root, before this draw is given up


def run_with_roots(machine: Machine[V], program: Program, redrawn: Callable[[Tensor, Array], Array]) -> None:
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
    first = _first_uses(program, groups)
    rng = random.Random("roots")  # not of the case: a second run of the same case walks the same way
    stopped = _advance(machine, groups, 0)
    tries = 0
    while stopped is not None:
        at, error = stopped
        tries += 1
        if not isinstance(error, NoRoot) or tries > CHANGES:
            raise error
        # only an input that has been read can change the root at hand; of these the ones read last undo the least
        known = [t for t in first if t.dtype == "float" and first[t] <= at[0] and machine.arrays[t.name].data]
        if not known:
            raise error
        t = known[min(int(rng.expovariate(0.5)), len(known) - 1)]  # the last mostly, now and then one further back
        before = dict(machine.arrays)
        machine.arrays[t.name] = redrawn(t, machine.arrays[t.name])
        further = _advance(machine, groups, first[t])
        if further is None or (isinstance(further[1], NoRoot) and further[0] > at):
            stopped, tries = further, 0
        else:
            machine.arrays.update(before)


def _advance(
    machine: Machine[V], groups: Sequence[Equation | Scan], start: int
) -> tuple[tuple[int, int], Undefined] | None:
    """Evaluate from a group on; where it stopped, as (group, element), and why; None at the end."""
    for n in range(start, len(groups)):
        try:
            machine.run_group(groups[n])
        except Undefined as error:
            return (n, error.element), error
    return None


def _first_uses(program: Program, groups: Sequence[Equation | Scan]) -> dict[Tensor, int]:
    """The first group that reads each input; the latest used come first, as their change moves the fewest roots."""
    found: dict[Tensor, int] = {}
    for n, group in enumerate(groups):
        for e in members(group):
            for t in e.tensors():
                if t.is_input:
                    found.setdefault(t, n)
    return {t: found[t] for t in sorted(found, key=lambda t: (-found[t], t.name))}
