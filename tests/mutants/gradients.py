"""Mutants of gradients that somebody wrote by hand, given to ``nx.crosscheck``.

equations   what the derived program gives when one of its equations is altered
by hand     the mistakes of ``handwritten`` and ``explained_programs``
regimes     the right gradient, wrong in one leaf: always, for one example, B, label, size or value only
precisions  zero, minus or double of one leaf in each dtype
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import explained_programs
import handwritten
import jax.numpy as jnp
import numpy as np
from slowkernel import SlowKernel

from derive.language.index import Size
from derive.program.program import Program
from derive.program.schedule import Scan, schedule
from numerics.checks.crosscheck import _Cross
from numerics.checks.draws import STEPS
from numerics.checks.ground import float64
from numerics.checks.opponent import label
from numerics.checks.rounding import is_float
from numerics.checks.second import DERIVATIVES
from numerics.reference.programs import evaluate
from numerics.reference.sampling import bind_sizes

from .equations import program_mutants
from .equivalent import difference

Arrays = dict[str, np.ndarray]
Gradient = Callable[..., Mapping[str, Any]]
Sizes = dict[Size, int]  # those that no array fixes
DTYPES = ("float64", "float32", "float16", "bfloat16")
LEAVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "zero": lambda a: 0 * a,
    "minus": lambda a: -a,
    "double": lambda a: 2 * a,
}


def gradient(d, fixed: Sizes, program: Program | None = None) -> Gradient:
    """The derivatives that a program computes, as somebody would write them: NumPy arrays by name."""
    program = program or d.program
    tensors = {label(g, k): t.name for g, v in d.results[1:] if g in DERIVATIVES for k, t in v.items()}

    def fn(**arrays):
        narrow = {n: np.asarray(a) for n, a in arrays.items()}
        dtype = next((a.dtype for a in narrow.values() if is_float(a)), np.dtype(float))
        wide = {n: a.astype(float) if is_float(a) else a for n, a in narrow.items()}
        with np.errstate(all="ignore"):
            values = evaluate(program, wide, bind_sizes(d.program, wide, fixed), np)
        return {n: np.asarray(values[t]).astype(dtype) for n, t in tensors.items()}

    return fn


def of_equations(d, fixed: Sizes) -> Iterator[tuple[str, Gradient]]:
    """One altered equation of the program, forward or backward, that still has an order of evaluation."""
    used = _read_by(d)
    for what, bad in program_mutants(d, used):
        try:
            schedule(bad.program)
        except ValueError:
            continue
        yield what, gradient(d, fixed, bad.program)


def _read_by(d) -> set[str]:
    """The equations that a derivative reads: a mistake in the loss alone is none in its gradient."""
    used, todo = set(), [t.name for g, v in d.results[1:] if g in DERIVATIVES for t in v.values()]
    while todo:
        name = todo.pop()
        e = d.program.equation(name)
        if e is not None and name not in used:
            used.add(name)
            todo += [t.name for t in e.tensors()]
    return used


def by_hand(name: str) -> Iterator[tuple[str, Gradient]]:
    """Every mistake that a function of the catalogues knows; strings of its body that change nothing are none."""
    _, fn = {**handwritten.MODELS, **explained_programs.PROGRAMS}[name]
    tree = ast.parse(textwrap.dedent(inspect.getsource(fn)))
    strings = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    asked = {
        c.value
        for n in ast.walk(tree)
        if isinstance(n, ast.Compare) and isinstance(n.left, ast.Name) and n.left.id == "mistake"
        for c in ast.walk(n)
        if isinstance(c, ast.Constant) and c.value
    }
    keys = {
        k.value
        for n in ast.walk(tree)
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == "get"
        for k in getattr(n.func.value, "keys", [])
    }
    for mistake in sorted((asked | keys) & strings):
        yield mistake, lambda m=mistake, **arrays: fn(m, **arrays)


def of_precisions(d, fixed: Sizes) -> Iterator[tuple[str, Gradient]]:
    """Zero, minus or double of one leaf, returned in each dtype."""
    right = gradient(d, fixed)
    for leaf in _leaves(d):
        for how, change in LEAVES.items():
            for dtype in DTYPES:

                def fn(leaf=leaf, change=change, dtype=dtype, **arrays):
                    found = {n: a.astype(jnp.dtype(dtype)) for n, a in right(**arrays).items()}
                    return {**found, leaf: change(found[leaf])}

                yield f"{how} of {leaf} in {dtype}", fn


def of_regimes(d, fixed: Sizes) -> Iterator[tuple[str, Gradient]]:
    """Double of every leaf where a regime is met, and the right gradient elsewhere; one example counted wrongly."""
    right = gradient(d, fixed)
    for what, met in _regimes(d):

        def fn(met=met, **arrays):
            found = right(**arrays)
            narrow = {n: np.asarray(a) for n, a in arrays.items()}
            sizes = bind_sizes(d.program, narrow, fixed)
            return {n: 2 * a for n, a in found.items()} if met(narrow, sizes) else found

        yield f"wrong only {what}", fn
    for leaf in _leaves(d):
        for n, where in ((0, "first"), (-1, "last"), (1, "second")):

            def fn(leaf=leaf, n=n, **arrays):
                found = dict(right(**arrays))
                wrong = found[leaf].copy()
                if wrong.ndim and len(wrong) > abs(n):
                    wrong[n] = 0
                return {**found, leaf: wrong}

            if d.program.equation(leaf) is None and _rank(d, leaf):
                yield f"the {where} entry of {leaf} left 0", fn


def _rank(d, leaf: str) -> int:
    return next(t.rank for g, v in d.results[1:] if g in DERIVATIVES for k, t in v.items() if label(g, k) == leaf)


def _leaves(d) -> list[str]:
    return [label(g, k) for g, v in d.results[1:] if g in DERIVATIVES for k in v]


def _regimes(d) -> Iterator[tuple[str, Callable[[Arrays, Mapping[Size, int]], bool]]]:
    """Regimes that the documents promise to be seen (docs/evidence.md, section 5), where the program has them."""
    inputs, names = d.program.inputs, {t.name for t in d.wrt}
    free = d.program.sizes()
    data = sorted((t for t in inputs if t.axes), key=lambda t: (t.name in names, t.role != "data"))
    steps = {e.tensor.axes[g.axis[e.name]] for g in schedule(d.source) if isinstance(g, Scan) for e in g.equations}
    lead = next((t.axes[0] for t in data if isinstance(t.axes[0], Size) and t.axes[0] not in steps), None)
    if lead is not None:
        yield f"for {lead} = 1", lambda a, s: s[lead] == 1
    if len(free) > 1:
        yield "for equal sizes", lambda a, s: len({s[f] for f in free}) == 1
    for size in sorted((s for s in steps if isinstance(s, Size)), key=str):
        yield f"for {size} >= {STEPS}", lambda a, s, size=size: s[size] >= STEPS
    for t in inputs:
        if t.dtype == "int" and t.below is not None and t.axes:
            yield f"where {t.name} is all 0", lambda a, s, t=t: not a[t.name].any()
            yield f"where {t.name} is one repeated", lambda a, s, t=t: len(np.unique(a[t.name])) == 1 < a[t.name].size
            yield f"where a {t.name} is 0", lambda a, s, t=t: bool((a[t.name] == 0).any())
    for t in [t for t in data if t.dtype == "float" and not t.facts][:1]:
        yield f"where an entry of {t.name} is 0", lambda a, s, t=t: bool((a[t.name] == 0).any())
        yield f"where {t.name} is beyond 1000", lambda a, s, t=t: bool((np.abs(a[t.name].astype(float)) > 1e3).any())
        if d.kinks:
            tie = lambda a, s, t=t: len(np.unique(a[t.name])) < a[t.name].size  # noqa: E731
            yield f"where two entries of {t.name} are equal", tie


class Trial(_Cross):
    """One cross-check with many functions at each of its draws: those that were refused are asked no more."""

    def __init__(self, d, mutants: Mapping[Any, Gradient], fixed: Sizes, seed: int = 0):
        self.right = gradient(d, fixed)
        super().__init__(SlowKernel(d, sizes=fixed), self.right, None, seed, (), None)
        self.live, self.refused = dict(mutants), dict[Any, str]()
        self.told: dict[Any, str] = {}  # where nothing was compared, which the report says

    def _compared(self, draw):
        ours = super()._compared(draw)
        for what, fn in list(self.live.items()):
            said = self._said(draw, ours, fn, what)
            if said:
                self.refused[what] = said
                del self.live[what]
        return ours

    def _said(self, draw, ours, fn: Gradient, what: Any) -> str:
        self.fn = fn
        try:
            returned = self._call(draw)
        except Exception as error:
            mild = draw.kind == "large" and isinstance(error, ArithmeticError)
            return "" if mild else f"crash: {type(error).__name__}"
        finally:
            self.fn = self.right
        with float64():
            overflows = self._overflows(draw, returned)
            if overflows:
                self.told[what] = f"{draw.regime} (yours is not finite there)"
            kept = {n: a for n, a in returned.items() if n not in overflows}
            judge = self._judge(ours, kept, set(self.expected.tensors))  # told of all: nothing is explained
            wrong = [v for v in judge.verdicts() if v.tensor not in overflows and not v.ok]
        return (draw.regime or draw.kind or "a draw") if wrong else ""


def tried(d, mutants: Mapping[Any, Gradient], fixed: Sizes) -> Trial:
    """The trial of mutants, run."""
    trial = Trial(d, mutants, fixed)
    with np.errstate(all="ignore"):
        trial.report = trial.run()
    return trial


def different(d, fn: Gradient, fixed: Sizes) -> str | None:
    """Where a survivor returns something else; None where it is the same function."""
    right = gradient(d, fixed)
    names = {t.name for t in SlowKernel(d).inputs}

    def of(f):
        return lambda arrays, sizes: dict(f(**{n: a for n, a in arrays.items() if n in names}))

    with contextlib.suppress(ValueError):
        return difference(d, of(right), of(fn), fixed)
    return "compared nowhere"
