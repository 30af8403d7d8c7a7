"""A backward pass called as a cross-check calls a gradient: by the names of the definitions."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from derive.derivation.derivation import Derivation
from derive.language.errors import DeriveError
from derive.language.index import Size
from derive.program.program import Program
from numerics.checks.answers import coarsest, to_numpy
from numerics.checks.ground import float64
from numerics.checks.replay import Replay
from numerics.checks.rounding import unit
from numerics.checks.verdicts import Verdict
from numerics.reference.grid import size_value
from numerics.reference.sampling import TELLING, bind_sizes, draw_sizes

from .vjp_forward import Drawn, Forward, Lengths
from .vjp_rules import Rule

MODERATE = 100.0  # up to which inputs a value may be compared: at larger ones a right formula may overflow
ROUNDINGS = 1000  # of the largest value: what two spellings of a function may differ by


class Equations:
    """The derived program in NumPy, asked as a kernel is: there is nothing to compile for a comparison."""

    def __init__(self, d: Derivation, sizes: Mapping[Size, int]):
        self.derivation, self.sizes = d, {s.name: n for s, n in sizes.items()}
        self.inputs = d.program.inputs
        self.fixed = dict(sizes)
        self._replays: dict[tuple, Replay] = {}

    def __call__(self, **arrays: Any) -> tuple[Any, ...]:
        values = self.values(**arrays)
        return tuple(
            {k: values[t.name] for k, t in declared.items()} if isinstance(declared, Mapping) else values[declared.name]
            for _, declared in self.derivation.results
        )

    def values(self, **arrays: Any) -> dict[str, np.ndarray]:
        """All tensors of the program."""
        wide = {
            n: np.asarray(a, float) if np.asarray(a).dtype.kind == "f" else np.asarray(a) for n, a in arrays.items()
        }
        sizes = bind_sizes(self.derivation.program, wide, self.fixed)
        key = tuple(sorted((s.name, n) for s, n in sizes.items()))
        if key not in self._replays:
            self._replays[key] = Replay(self.derivation.program, wide, sizes)
        return self._replays[key].at(wide)


class Caller:
    """``caller(**arrays) -> {name: gradient}``: what :func:`crosscheck` compares.

    Attributes
    ----------
    narrow : bool
        Whether the backward is called in float32, which is what it computes in.
    verdicts : dict of str to Verdict
        What is wrong beside the gradients that are compared: the function's own values, gradients of what is not read.
    """

    def __init__(self, forward: Forward, rule: Rule, cotangents: Sequence[str], names: Sequence[str]):
        self.forward, self.rule, self.cotangents = forward, rule, list(cotangents)
        self.compared = set(names)  # the tensors whose gradients are derived
        self.narrow = False
        self.history: list[dict[str, Any]] = []  # the arrays that it was compared at
        self.verdicts: dict[str, Verdict] = {}

    def __call__(self, **given: Any) -> dict[str, Any]:
        self.history.append(given)
        arrays, cots = self.positional(given)
        if self.narrow:
            arrays, cots = self.narrowed(arrays), self.narrowed(cots)
        outs, grads = self.rule(arrays, cots)
        if outs is not None:
            self._compare_values(outs, arrays)
        found = {}
        for n in self.forward.floats:
            name = self.forward.names[n]
            if name in self.compared and grads[n] is not None:
                found[name] = grads[n]
            elif (
                self.forward.tensors[n] not in self.forward.wrt and grads[n] is not None and np.any(to_numpy(grads[n]))
            ):
                self.verdicts[name] = Verdict(
                    name, "not zero", f"the results do not depend on {name}, but yours is not zero"
                )
        return found

    def narrowed(self, arrays: Sequence[Any]) -> list[Any]:
        return [np.asarray(a, np.float32) if np.asarray(a).dtype == np.float64 else a for a in arrays]

    def named(self, drawn: Drawn) -> dict[str, Any]:
        """Positional arrays and cotangents by name, those as the definitions have their axes: merged ones apart."""
        given = dict(zip(self.forward.names, drawn.arrays, strict=True))
        lengths = self._lengths(given)
        for name, y, c in zip(self.cotangents, self.forward.model.outputs, drawn.cotangents, strict=True):
            given[name] = c.reshape([size_value(n, lengths) for n in y.axes])
        return given

    def positional(self, given: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
        """The arrays by their places, of those that the results do not read any of the right shape; and the cotangents."""
        lengths = self._lengths(given)
        arrays = []
        for name, t, a in zip(self.forward.names, self.forward.tensors, self.forward.args.arrays, strict=True):
            if name in given:
                arrays.append(given[name])
            else:
                shape = tuple(size_value(n, lengths) for n in t.axes) if t is not None else np.shape(a)
                arrays.append(np.zeros(shape, float if isinstance(a, float) else a.dtype))
        shapes = [o.shape for o in self.forward.shapes(arrays)]
        zipped = zip(self.cotangents, shapes, strict=True)
        return arrays, [np.reshape(given[c], s) if c in given else np.zeros(s) for c, s in zipped]

    def _lengths(self, given: Mapping[str, Any]) -> Lengths:
        """The sizes that arrays have, by name; those of the arguments where none has them."""
        lengths = dict(self.forward.lengths)
        for name, t in zip(self.forward.names, self.forward.tensors, strict=True):
            for axis, n in zip(t.axes, np.shape(given[name]), strict=True) if t is not None and name in given else ():
                times, size = axis.as_coeff_Mul()
                if isinstance(size, Size):
                    lengths[size] = n // int(times)
        return lengths

    def _compare_values(self, outs: Sequence[Any], arrays: Sequence[Any]) -> None:
        if any(np.max(np.abs(np.asarray(a, float)), initial=0.0) > MODERATE for a in arrays):
            return
        for t, ours, theirs in zip(self.forward.model.outputs, self.forward.fast(*arrays), outs, strict=True):
            a, b = np.asarray(ours), to_numpy(theirs)
            precision = coarsest([str(a.dtype), str(b.dtype), *(["float32"] if self.rule.wide else [])])
            a, b = a.astype(float), b.astype(float)
            if a.shape != b.shape:
                self._differs(t.name, f"shape {b.shape}, but the function itself returns {a.shape}")
            elif np.all(np.isfinite(a)):
                gap, scale = float(np.max(np.abs(a - b), initial=0.0)), float(np.max(np.abs(a), initial=0.0)) or 1.0
                if not gap <= ROUNDINGS * unit(precision) * scale:
                    said = f"off by {gap:.1e} of {scale:.1e}" if np.isfinite(gap) else "not finite"
                    self._differs(t.name, f"the value that comes with the backward pass is not the function's: {said}")

    def _differs(self, name: str, text: str) -> None:
        self.verdicts.setdefault(name, Verdict(name, "other value", text))


# -- which lengths the backward accepts ------------------------------------------------------------------------------------


def fixed_lengths(call: Caller, program: Program, seed: int) -> tuple[Lengths, list[str]]:
    """The sizes that the backward accepts only as they are, with what it says at another length."""
    own = call.forward.lengths
    first: set[int] = set()
    if not own or _fails(call, own, first) is not None:
        return {}, []  # where it fails as it is, the comparison says so
    drawn = draw_sizes(program, {}, seed=seed, pool=TELLING) or {}  # as the comparison will draw them
    others = {s: drawn[s] if drawn.get(s, n) != n else n + 1 for s, n in own.items()}
    if _fails(call, others, first) is None:
        return {}, []
    fixed, said = {}, []
    for s, n in own.items():
        other = others[s]
        why = _fails(call, {**own, s: other}, first) or (_fails(call, {**own, s: n + 1}, first) if n >= 8 else None)
        if why is not None:
            fixed[s] = n
            said.append(f"fixed: {s} = {n} (at {other} yours {why})")
    if _fails(call, {**others, **fixed}, first) is not None:
        free = [s for s in own if s not in fixed]
        said += [f"fixed: {s} = {own[s]} (others fail together)" for s in free]
        fixed = dict(own)
    return fixed, said


def _fails(call: Caller, lengths: Lengths, shapeless: set[int]) -> str | None:
    """What a backward does at other lengths that it does not at its own: raises, returns NaN or other shapes.

    ``shapeless`` are the gradients whose shapes are wrong at its own lengths, which are asked for first.
    """
    forward = call.forward
    try:
        drawn = forward.drawn(lengths, 1)
    except (DeriveError, TypeError, ValueError):
        return "cannot be asked: the forward fails"
    try:
        with contextlib.nullcontext() if call.narrow else float64():
            arrays, cots = (call.narrowed(x) if call.narrow else x for x in (drawn.arrays, drawn.cotangents))
            outs, grads = call.rule(arrays, cots)
            found = [None if g is None else to_numpy(g).astype(float) for g in grads]
            wanted = [np.asarray(o, float) for o in forward.fast(*arrays)]
    except Exception as error:  # whatever somebody else's function raises
        return f"fails: {type(error).__name__}: {(str(error).splitlines() or [''])[0][:100]}"
    for n, (g, a) in enumerate(zip(found, drawn.arrays, strict=True)):
        if g is not None and g.shape != a.shape and n not in shapeless:
            if lengths != forward.lengths:
                return f"returns the shape {g.shape} for {forward.names[n]}"
            shapeless.add(n)
    usual = all(np.all(np.isfinite(o)) for o in wanted)
    if usual and not all(np.all(np.isfinite(g)) for g in found if g is not None):
        return "is not finite"
    for o, y in zip(outs or (), wanted, strict=False):
        if usual and not np.all(np.isfinite(to_numpy(o).astype(float))):
            return "is not finite"
        if np.shape(o) != y.shape:
            return f"computes the shape {np.shape(o)}, not {y.shape}"
    return None
