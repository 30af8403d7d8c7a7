"""Whether two programs are the same function: evaluated at inputs of every regime, in float64.

Sizes: unequal (two sets), equal, one example.  Values: every domain of :data:`numerics.reference.sampling.DOMAINS`, whole
numbers (ties and zeros), exact zeros, 30 and 1e4 times as large, a thousandth, all labels the first and the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from derive.language.errors import DeriveError
from derive.language.index import Size
from derive.program.program import Equation, Program
from numerics.checks.ground import everything
from numerics.reference.grid import size_value
from numerics.reference.programs import evaluate
from numerics.reference.sampling import DOMAINS, draw_arrays, draw_sizes, with_zeros

SAME = 1e-7  # relative to the largest entry: what rounding leaves at these sizes
POOLS = ((3, 5, 4, 6, 7, 8, 9), (9, 8, 7, 6, 5, 4, 3))

Arrays = dict[str, np.ndarray]


def _sizes(program: Program, fixed: dict[Size, int]) -> Iterator[dict[Size, int]]:
    for pool in POOLS:
        yield draw_sizes(program, fixed, pool=pool) or {}
    square = draw_sizes(program, fixed, square=True)
    if square:
        yield square
    for t in program.inputs:
        for a in t.axes[:1]:
            if isinstance(a, Size) and a not in fixed:
                try:
                    yield draw_sizes(program, {**fixed, a: 1}) or {}
                except DeriveError:
                    continue


def _values(program: Program, sizes: dict[Size, int], wrt) -> Iterator[tuple[str, Arrays]]:
    rng = np.random.default_rng(0)
    floats = [t.name for t in program.inputs if t.dtype == "float"]
    for domain in DOMAINS:
        yield domain, draw_arrays(program, sizes, dict.fromkeys(floats, domain), rng, wrt)
    base = draw_arrays(program, sizes, {}, rng, wrt)
    free = {t.name: t for t in program.inputs if t.dtype == "float" and not t.facts}
    yield "whole numbers", {n: np.round(2 * a) if n in free else a for n, a in base.items()}
    for times in (30, 1e4):
        yield f"{times:g} times as large", {n: times * a if n in free else a for n, a in base.items()}
    yield "a thousandth", {n: a / 1000 if n in free else a for n, a in base.items()}
    zeros = {n: with_zeros(base[n], t, sizes, rng) for n, t in free.items()}
    yield "exact zeros", {n: zeros[n] if zeros.get(n) is not None else a for n, a in base.items()}
    bounded = {t.name: size_value(t.below, sizes) for t in program.inputs if t.dtype == "int" and t.below is not None}
    if bounded:
        yield "first labels", {n: np.zeros_like(a) if n in bounded else a for n, a in base.items()}
        yield "last labels", {n: np.full_like(a, bounded[n] - 1) if n in bounded else a for n, a in base.items()}


def draws(d, fixed: dict[Size, int]) -> Iterator[tuple[str, dict[Size, int], Arrays]]:
    """(what, sizes, arrays) in every regime."""
    program = everything(d)
    for sizes in _sizes(program, fixed):
        said = " ".join(f"{s.name}={n}" for s, n in sizes.items())
        for what, arrays in _values(program, sizes, d.wrt):
            yield f"{what} at {said}", sizes, arrays


def apart(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether two arrays differ by more than rounding, where ours are numbers."""
    ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
    if ours.shape != theirs.shape:
        return True
    known = np.isfinite(ours)
    with np.errstate(all="ignore"):
        error = np.where(known, np.abs(ours - theirs), 0.0)
    return bool(np.isnan(error).any() or error.max(initial=0.0) > SAME * np.abs(ours[known]).max(initial=0.0) + 1e-12)


def _rounding(right: Callable, arrays: Arrays, sizes: dict[Size, int], name: str, ours, theirs) -> bool:
    """Whether a difference is no more than what inputs that move by a few roundings explain."""
    ours, theirs, rng = np.asarray(ours, float), np.asarray(theirs, float), np.random.default_rng(1)
    if ours.shape != theirs.shape or not np.isfinite(theirs[np.isfinite(ours)]).all():
        return False
    moved = {n: a * (1 + 1e-14 * rng.normal(size=a.shape)) if a.dtype.kind == "f" else a for n, a in arrays.items()}
    with np.errstate(all="ignore"):
        noise = np.nanmax(np.abs(np.asarray(right(moved, sizes)[name], float) - ours), initial=0.0)
        return bool(np.nanmax(np.abs(ours - theirs), initial=0.0) <= 100 * noise)


def difference(d, right: Callable, other: Callable, fixed: dict[Size, int] | None = None) -> str | None:
    """Where two functions of (arrays, sizes) differ, in words; None where they agree in every regime.

    A regime in which ours is no number says nothing; if none says anything, that is told as a difference.
    """
    told = 0
    for what, sizes, arrays in draws(d, fixed or {}):
        with np.errstate(all="ignore"):
            try:
                ours = right(arrays, sizes)
            except (DeriveError, ArithmeticError, np.linalg.LinAlgError):
                continue
            try:
                theirs = other(arrays, sizes)
            except Exception as error:
                return f"{type(error).__name__} at {what}"
        told += all(np.isfinite(np.asarray(a, float)).all() for a in ours.values())
        for name, a in ours.items():
            if apart(a, theirs[name]) and not _rounding(right, arrays, sizes, name, a, theirs[name]):
                return f"{name} at {what}"
    return None if told else "compared nowhere"


def results_of(program: Program, names: list[str]) -> Callable:
    """The named tensors of a program as a function of (arrays, sizes)."""

    def found(arrays: Arrays, sizes: dict[Size, int]) -> Arrays:
        values = evaluate(program, arrays, sizes, np)
        return {n: np.asarray(values[n]) for n in names}

    return found


def programs_differ(d, other: Program) -> str | None:
    """Where the results of a derivation and of a mutant of its program differ."""
    names = [t.name for _, v in d.results for t in (v.values() if hasattr(v, "items") else (v,))]
    return difference(d, results_of(d.program, names), results_of(other, names))


def equations_differ(d, right: Equation, other: Equation) -> str | None:
    """Where two equations of one tensor differ, whatever they read being what the derivation makes it."""
    known = {e.name: e for e in (*d.source.equations, *(s.after for s in d.steps), *d.program.equations)}
    known.pop(right.name, None)
    inputs = {t.name: t for t in (*d.source.inputs, *d.program.inputs)}

    def of(e: Equation) -> Callable:
        needed, todo = {e.name: e}, [e]
        while todo:
            for t in todo.pop().tensors():
                if t.name not in needed and t.name in known:
                    needed[t.name] = known[t.name]
                    todo.append(known[t.name])
        return results_of(Program(tuple(inputs.values()), tuple(needed.values())), [e.name])

    return difference(d, of(right), of(other))
