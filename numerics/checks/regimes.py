"""Regimes of values that a gradient may be wrong in alone: zeros, ties, large numbers, the first label and the last.

Each is tried at the sizes of a first draw, from its arrays; one at which a result is not finite is no place to compare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import sympy

from derive.language.facts import missing_value
from derive.language.nodes import softplus
from derive.language.tensor import Read, Tensor
from numerics.reference.grid import size_value
from numerics.reference.sampling import with_zeros

from .conditions import Condition, conditions_of, evaluated
from .coverage import TO, Seen
from .steering import planted

Arrays = dict[str, np.ndarray]

LARGE = 1e4
EXPONENTS = "exponents of +-1e4"
TENSORS = 6  # made large one by one
STABLE = (sympy.exp, sympy.tanh, softplus)  # with sigmoid, whose definition is one of them


@dataclass(frozen=True)
class Regime:
    """``kind`` is "tie" where conventions decide, "large" where a right formula may overflow, or ""."""

    name: str
    arrays: Arrays
    kind: str = ""
    finite: bool = (
        True  # whether all results of the program are; of large ones those at which some are not are told, too
    )


def value_regimes(
    seen: Seen,
    inputs: Sequence[Tensor],
    start: Arrays,
    sizes: dict,
    finite: Callable[[Arrays], bool],
    tells: Callable[[Arrays], bool],
    seed: int,
) -> Iterator[Regime]:
    """The regimes that are finite, each with its inputs; of the others :class:`Seen` is told that none was in them.

    Large ones come in any case: whether a result should be finite there, the written definitions know.

    Where all results vanish in one (every pair of labels equal, every value that is read 0), nothing is told apart
    there: ``tells(arrays)`` is False, and the next inputs of the same name are taken, too.
    """
    rng = np.random.default_rng(seed + 7)
    tries = [
        *_zeros(inputs, start, sizes, rng),
        *_labels(inputs, start, sizes),
        *_ties(seen, inputs, start),
        *_large(seen, inputs, start, rng),
        *_exponents(seen, inputs, start, sizes),
    ]
    given: set[str] = set()
    telling: set[str] = set()
    for regime in tries:
        if regime.name not in telling and finite(regime.arrays):
            given.add(regime.name)
            if tells(regime.arrays):
                telling.add(regime.name)
            yield regime
        elif regime.kind == "large":
            yield replace(regime, finite=False)
    for name in dict.fromkeys(r.name for r in tries):
        if name not in given:
            seen.regime(name, False)


def free_floats(inputs: Sequence[Tensor], start: Arrays) -> list[Tensor]:
    return [t for t in inputs if t.dtype == "float" and not t.facts and t.name in start]


def _zeros(inputs: Sequence[Tensor], start: Arrays, sizes: dict, rng: np.random.Generator) -> Iterator[Regime]:
    """Some elements exactly zero, in all tensors or in one; and a whole row."""
    floats = free_floats(inputs, start)
    free = {t.name for t in floats}
    with_them = {
        t.name: with_zeros(start[t.name], t, sizes, rng) for t in inputs if t.dtype == "float" and t.name in start
    }
    some = {n: a for n, a in with_them.items() if a is not None}
    if some:
        yield Regime("exact zeros", {**start, **some}, "tie")
        yield from (Regime("exact zeros", {**start, n: a}, "tie") for n, a in some.items())
        yield from (Regime("exact zeros", {**start, n: _one_zero(start[n])}, "tie") for n in some if n in free)
    for t in floats:
        if t.rank > 1 and t.role != "parameter":
            array = np.array(start[t.name])
            array[0] = 0.0
            yield Regime("a whole row exactly 0", {**start, t.name: array}, "tie")


def _one_zero(array: np.ndarray) -> np.ndarray:
    """The array with its last element 0, as labels and positions that are drawn leave most others alone."""
    found = np.array(array)
    found.flat[-1] = 0.0
    return found


def _labels(inputs: Sequence[Tensor], start: Arrays, sizes: dict) -> Iterator[Regime]:
    """Every label the first, every label the last: one value repeated; masks that are all closed and all open."""
    whole = [t for t in inputs if t.name in start and (t.dtype == "bool" or (t.dtype == "int" and t.below is not None))]
    for last in (False, True):
        changed = {}
        for t in whole:
            top = 1 if t.below is None else size_value(t.below, sizes) - 1
            changed[t.name] = np.full_like(start[t.name], top if last else 0)
        labels = [t for t in whole if t.dtype == "int" and t.below != 2]
        masks = [t for t in whole if t not in labels]
        which = "last" if last else "first"
        for group, name in ((labels, f"all labels the {which}"), (masks, f"all masks {int(last)}")):
            if group:
                yield Regime(name, {**start, **{t.name: changed[t.name] for t in group}}, "tie")
                yield from (Regime(name, {**start, t.name: changed[t.name]}, "tie") for t in group)
    for t in whole:
        if missing_value(t) is not None:
            yield Regime(
                f"all of {t.name} missing", {**start, t.name: np.full_like(start[t.name], missing_value(t))}, "tie"
            )


def _ties(seen: Seen, inputs: Sequence[Tensor], start: Arrays) -> Iterator[Regime]:
    """Multiples of 1/2, so that values tie; and what solves single conditions exactly."""
    for c in _made(seen):
        yield from (Regime(f"values at {_at(c)}", arrays, "tie") for arrays in planted(c, start))
    moving = [c for c in seen.conditions if c.moves]
    if not (moving or seen.winners):
        return
    rounded = {t.name: np.clip(np.round(2 * start[t.name]) / 2, -1, 1) for t in free_floats(inputs, start)}
    yield Regime("values that tie", {**start, **rounded}, "tie")
    for c in moving:
        yield from (Regime(f"values at {_at(c)}", arrays, "tie") for arrays in planted(c, start))


def _made(seen: Seen) -> list[Condition]:
    """Values that only the derived program sets apart, as the labels 0 and 1 in a logarithm of a probability."""
    written = {c.text(True) for c in seen.conditions}
    found = [c for c in conditions_of(seen.d.program) if isinstance(c.test, sympy.Eq) and c.moves]
    return list({_at(c): c for c in found if c.text(True) not in written}.values())


def _at(c: Condition) -> str:
    return (
        c.text(True).partition(" where ")[0].replace(">=", "=").replace("<=", "=").replace(">", "=").replace("<", "=")
    )


def _large(seen: Seen, inputs: Sequence[Tensor], start: Arrays, rng: np.random.Generator) -> Iterator[Regime]:
    """One tensor with elements of every magnitude up to 1e4, both signs; data before what is differentiated for."""
    wrt = {t.name for t in seen.d.wrt}
    powers = _powers(seen)
    for t in sorted(free_floats(inputs, start), key=lambda t: t.name in wrt)[:TENSORS]:
        if t.name in powers:
            continue
        shape = start[t.name].shape
        array = np.asarray(rng.choice([-1.0, 1.0], shape) * 10.0 ** rng.uniform(-1, 4, shape))
        if array.size:
            array.flat[-1] = LARGE if array.size > 1 else array.flat[-1]
        yield Regime(t.name + TO, {**start, t.name: array}, "large")


def _powers(seen: Seen) -> set[str]:
    """The inputs that are an exponent themselves, of something that is no exponential: no float holds x^10000."""
    factors = [f for e in seen.program.equations for t in e.terms for f in t.fac]
    powers = [p for f in factors for p in f.atoms(sympy.Pow) if not isinstance(p, sympy.exp)]
    return {r.tensor.name for p in powers for r in p.exp.atoms(Read)}


def _exponents(seen: Seen, inputs: Sequence[Tensor], start: Arrays, sizes: dict) -> Iterator[Regime]:
    """What stands in an exponential is about 1e4: where a stabilizing pass must have acted."""
    names = {n.__name__ for n in STABLE} | {"sigmoid"}
    places = [
        (e, t, f.args[0])
        for e in seen.program.equations
        for t in e.terms
        for fac in t.fac
        for f in sympy.preorder_traversal(fac)
        if type(f).__name__ in names
    ]
    floats = free_floats(inputs, start)
    if not places or not floats:
        return
    replay = seen.replay(start, sizes)
    for factor in (3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4):
        arrays = {**start, **{t.name: start[t.name] * factor for t in floats}}
        quick = evaluated(seen.program, replay.at(arrays), sizes, replay.memory)
        with np.errstate(all="ignore"):
            sizes_of = [np.max(np.abs(quick.value(a, quick.scope(e.idx, (*e.over, *t.bnd), {})))) for e, t, a in places]
        if np.nanmax(sizes_of) >= LARGE:
            yield Regime(EXPONENTS, arrays, "large")
            return
