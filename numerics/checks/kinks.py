"""The rung of the kinks: at inputs that tie on purpose the kernel follows the stated conventions."""

from __future__ import annotations

import numpy as np
import sympy
from sympy import Expr

from derive.language.functions import FUNCTIONS
from derive.program.program import Equation
from numerics.reference.sampling import Sample, draw_arrays

from .bench import CONVENTIONS, Bench
from .distance import distance
from .ground import float64
from .rounding import Model, scales

# functions that keep what ties tied, in every rounding
TIES = {f.name for f in FUNCTIONS.values() if f.keeps_integers} | {"Piecewise", "Iverson"}


def at_ties(bench: Bench, sizes: dict) -> None:
    """Rows for inputs that are multiples of 1/2: where autodiff follows another convention, the row says so."""
    with float64():
        sample = Sample(sizes, _tied(bench, sizes), "multiples of 1/2")
        ruled = bench.opponent(sizes, True)(sample.arrays)
        if not all(np.all(np.isfinite(a)) for a in ruled.values()):
            bench.notes.append("no point with deliberate ties was tested: the loss or gradient is not finite there")
            return
        autodiff, ours = bench.opponent(sizes)(sample.arrays), bench.leaves(sample.arrays)
        bound = bench.tolerance("float64", Model.of(bench.program, sizes), 0.0)
        scale = scales(ruled)
        for name in bench.derivatives:
            _row(bench, name, sample, ours[name], ruled[name], autodiff[name], scale[name], bound)
        bench.seen.add(sample.arrays, sizes)


def _row(
    bench: Bench,
    name: str,
    sample: Sample,
    ours: np.ndarray,
    ruled: np.ndarray,
    autodiff: np.ndarray,
    scale: float,
    bound: float,
) -> None:
    error, note = distance(ours, ruled, scale)
    differs, _ = distance(autodiff, ruled, scale)
    verdict = "ok" if error is not None and error <= bound else "FAIL"
    if verdict == "FAIL" and not note and not ties_are_exact(bench.d.source.equations):
        bench.notes.append(
            f"kinks: {name} differs from the conventions by {error:.1e}, but rounding decides which "
            f"values tie here, so this says nothing"
        )
        return
    if verdict == "ok" and (differs is None or differs > bound):
        by = "is not finite" if differs is None else f"differs by {differs * scale:.1e}"
        verdict, note = "convention", f"autodiff of the forward {by} at ties: {'; '.join(bench.d.kinks)}"
    bench.add(name, "float64", sample, CONVENTIONS, error, scale, bound, verdict=verdict, note=note)


def _tied(bench: Bench, sizes: dict) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(bench.seed)
    arrays = draw_arrays(bench.program, sizes, {}, rng, bench.d.wrt)
    free = {t.name for t in bench.program.inputs if t.dtype == "float" and not t.facts}
    return {n: np.clip(np.round(2 * a) / 2, -1, 1) if n in free else a for n, a in arrays.items()}


def ties_are_exact(equations: tuple[Equation, ...]) -> bool:
    """Whether equal values stay equal up to every kink: sums, products and piecewise linear functions only."""
    upstream: list[Equation] = []
    names = {e.name for e in equations if _kinked(e)}
    while names:
        found = [e for e in equations if e.name in names and e not in upstream]
        upstream += found
        names = {t.name for e in found for t in e.tensors()}
    return all(_dyadic(e) for e in upstream)


def _nodes(e: Equation) -> list[Expr]:
    return [n for t in e.terms for f in t.fac for n in sympy.preorder_traversal(f)]


def _kinked(e: Equation) -> bool:
    heads = {type(n).__name__ for n in _nodes(e)}
    return e.reduce is not None or bool(heads & (TIES - {"stop_gradient"}))


def _dyadic(e: Equation) -> bool:
    for n in _nodes(e):
        if n.is_Function and type(n).__name__ not in TIES:
            return False
        if n.is_Pow and not (n.exp.is_Integer and n.exp > 0):
            return False
    return True
