"""The first check of a kernel: its module against its equations, once, at small sizes, before anybody calls it.

    module       run by NumPy, nothing compiled                     (numerics.kernel.eager)
    equations    every result by the evaluator of definitions       (numerics.reference.definitions)
    definitions  the gradients along a random direction by a central difference of the loss

Where the module and an equation differ, the kernel is refused with the first equation that does.  The differences are taken
where the derivation has no kinks, stops no gradient and uses no declared fact about what it differentiates for; elsewhere the
gradients are still compared with their equations, and ``d.check()`` and :func:`numerics.verify` are for the rest.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from derive.derivation.derivation import Derivation
from derive.language.errors import DeriveError
from derive.language.index import Size
from derive.language.tensor import Tensor
from derive.program.program import Equation, Program
from derive.program.schedule import Scan, schedule
from numerics.errors import NumericsError
from numerics.reference import definitions
from numerics.reference.grid import size_value
from numerics.reference.programs import evaluate
from numerics.reference.sampling import DOMAINS, draw_arrays, draw_sizes

from . import eager
from .kernel import Kernel

BUDGET = 5_000_000  # elements of the grids of all terms; an equation counts as OVERHEAD of them besides
OVERHEAD = 10_000
SIZES = (3, 5, 4, 6, 7, 8, 9)
CLOSE, STEP, SLOPE = 1e-7, 1e-5, 1e-2
CANCELLED = 1e-16  # what is left of numbers of order 1 where the definitions, as written, give exactly 0

Values = Mapping[str, Any]
_PASSED: dict[str, str] = {}  # by the digest of the source, in whose head the equations stand


def first_check(kern: Kernel) -> str:
    """What was checked, or why not, in a sentence.

    Raises
    ------
    numerics.NumericsError
        With the first equation in which the module differs, both values, and the sizes.
    """
    digest = hashlib.sha256(kern.source.encode()).hexdigest()
    if digest not in _PASSED:
        _PASSED[digest] = _checked(kern)
    return _PASSED[digest]


def _checked(kern: Kernel) -> str:
    d = kern.request.written
    inputs = {t.name: t for t in (*d.source.inputs, *d.program.inputs)}
    whole = Program(tuple(inputs.values()), (*d.source.equations, *d.program.equations))
    try:
        sizes = draw_sizes(whole, dict(kern.request.sizes), pool=SIZES)
        assert sizes is not None  # None stands for equal sizes only
        cost = _cost(d.program, sizes)
    except DeriveError as error:
        return f"not checked: {error}"
    if cost > BUDGET:
        said = f"at {_said(sizes)} its equations cost {cost:.0e} operations, more than {BUDGET:.0e}"
        return f"not checked{_in_c_alone(kern, whole, sizes)}: {said}"
    try:
        found = _draw(d, Program(tuple(inputs.values()), whole.equations), sizes)
    except (DeriveError, ArithmeticError, np.linalg.LinAlgError) as error:
        return f"not checked: {str(error).splitlines()[0]}"
    if found is None:
        return f"not checked: no inputs were found at which its results are numbers, at {_said(sizes)}"
    arrays, values = found
    try:
        out, named = eager.run(kern.module, [arrays[t.name] for t in kern.inputs])
    except Exception as error:  # what only JAX can run is for nx.verify; the sentence says that nothing was compared
        _runs(kern, arrays, sizes)
        return f"not checked: {type(error).__name__} of NumPy: {error}"
    results = list(_results(d, out))
    by_name = {t.name: ours for t, ours in results}
    wrong = [t for t, ours in results if _differs(d, t.name, ours, arrays, values, sizes)]
    if wrong:
        raise NumericsError(_refusal(d, wrong[0], by_name, named, arrays, values, sizes))
    in_c = _in_c(kern, arrays, out, sizes)
    # the program of a part divides by the whole: its loss is no longer the one that was defined
    slope = _slope(d, by_name, arrays, sizes) if d.program is kern.derivation.program or kern.request.layout else ""
    return f"checked at {_said(sizes)}: the module against its equations{in_c}{slope}"


def _in_c_alone(kern: Kernel, program: Program, sizes: dict[Size, int]) -> str:
    """The loops in C against the plain lines, where the equations themselves cost too much."""
    if not _loops(kern):
        return ""
    floats = [t.name for t in program.inputs if t.dtype == "float"]
    rng = np.random.default_rng(0)
    arrays = draw_arrays(program, sizes, dict.fromkeys(floats, next(iter(DOMAINS))), rng, kern.derivation.wrt)
    plain = Kernel(replace(kern.request, native=False))
    with jax.enable_x64(True):
        out = plain.fn(*[arrays[t.name] for t in plain.inputs])
    return f" against its equations, only{_in_c(kern, arrays, out, sizes).removeprefix(',')}"


def _loops(kern: Kernel) -> bool:
    return kern.request.native and "loops in C" in {rule for rule, *_ in kern.choices}


def _in_c(kern: Kernel, arrays: Mapping[str, Any], out: Any, sizes: Mapping[Size, int]) -> str:
    """The loops in C against the plain lines of the module."""
    if not _loops(kern):
        return ""
    with jax.enable_x64(True):
        found = [np.asarray(a) for a in jax.tree.leaves(kern.fn(*[arrays[t.name] for t in kern.inputs]))]
    for a, b in zip(found, map(np.asarray, jax.tree.leaves(out)), strict=True):
        with np.errstate(all="ignore"):
            error = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        if not error.max(initial=0.0) <= CLOSE * np.abs(b).max(initial=0.0) + CANCELLED:
            raise NumericsError(
                f"the loops in C of {kern.name} differ from its plain lines by {error.max():.1e} at {_said(sizes)}\n  "
                f"this is a fault of the emission or of the C compiler, not of your definitions; compile without native=True"
            )
    return ", its loops in C against its plain lines"


def _runs(kern: Kernel, arrays: Mapping[str, Any], sizes: Mapping[Size, int]) -> None:
    """A module that neither NumPy nor JAX can run is refused now, and not at its first call."""
    try:
        jax.eval_shape(kern.fn, *[arrays[t.name] for t in kern.inputs])
    except Exception as error:
        raise NumericsError(
            f"the module of {kern.name} does not run at {_said(sizes)}: {type(error).__name__}: {error}"
        ) from error


def _cost(program: Program, sizes: Mapping[Size, int]) -> int:
    """Elements of the grids that evaluating a program forms, a recurrence once for each step."""

    def of(e: Equation) -> int:
        grids = [(*e.idx, *e.over, *t.bnd) for t in e.terms]
        return OVERHEAD + sum(math.prod(size_value(i.size, sizes) for i in grid) for grid in grids)

    total = 0
    for group in schedule(program):
        if isinstance(group, Scan):
            first = group.equations[0]
            steps = size_value(first.tensor.axes[group.axis[first.name]], sizes)
            total += sum(of(e) + (steps - 1) * OVERHEAD for e in group.equations)
        else:
            total += of(group)
    return total


def _draw(d: Derivation, program: Program, sizes: dict[Size, int]) -> tuple[dict[str, Any], Values] | None:
    """Inputs and all values there: at which every value is finite, or at least a number.

    Every one on the way, too: relu makes a number of a NaN or keeps it, by how it is computed.
    """
    rng, second = np.random.default_rng(0), None
    names = [e.name for e in d.program]
    floats = [t.name for t in program.inputs if t.dtype == "float"]
    for n, domain in enumerate((*DOMAINS, *DOMAINS)):
        arrays = draw_arrays(program, sizes, dict.fromkeys(floats, domain), rng, d.wrt, open_masks=n >= len(DOMAINS))
        with np.errstate(all="ignore"):
            values = evaluate(d.program, arrays, sizes, np)
        if all(np.isfinite(values[name]).all() for name in names):
            return arrays, values
        if second is None and not any(np.isnan(values[name]).any() for name in names):
            second = arrays, values
    return second


def _tensors(d: Derivation) -> Iterator[tuple[tuple[Any, ...], Tensor]]:
    for n, (group, value) in enumerate(d.results):
        if isinstance(value, Tensor):
            yield (n, group), value
        else:
            for key, t in value.items():
                yield (n, group, key), t


def _results(d: Derivation, out: Any) -> Iterator[tuple[Tensor, np.ndarray]]:
    """Every result as the module returned it: an array each, or arrays by name."""
    for (n, _, *key), t in _tensors(d):
        group = out if isinstance(out, dict) else out[n]
        yield t, np.asarray(group[key[0]] if key else group)


def _differs(
    d: Derivation, name: str, ours: np.ndarray, arrays: Values, values: Values, sizes: Mapping[Size, int]
) -> bool:
    """Whether an array is another one than its equation gives, by more than rounding explains."""
    wanted = np.asarray(values[name])
    if ours.shape != wanted.shape:
        return True
    with np.errstate(all="ignore"):
        error = np.where(ours == wanted, 0.0, np.abs(ours - wanted))  # an infinity that is meant is equal
        if np.isnan(error).any():
            return True
        scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=0.0)
        if error.max(initial=0.0) <= (CLOSE * scale or CANCELLED):
            return False
        rng = np.random.default_rng(1)
        moved = {n: a * (1 + 1e-12 * rng.normal(size=a.shape)) if a.dtype.kind == "f" else a for n, a in arrays.items()}
        change = np.abs(evaluate(d.program, moved, sizes, np)[name] - wanted)
        noise = 1e3 * np.nanmax(change, initial=0.0)
        if error.max(initial=0.0) > CLOSE * scale + noise:
            noise += 64 * _apart(d.program, name, arrays, values, sizes)
    return bool(error.max(initial=0.0) > CLOSE * scale + noise)


def _apart(of: Program | Tensor, name: str, arrays: Values, values: Values, sizes: Mapping[Size, int]) -> float:
    """What rounding alone makes of an equation: ``log(1e12 + x) - log(1e12)`` cancels inside it, where no input moves it."""
    wide = {n: a.astype(np.longdouble) if a.dtype.kind == "f" else a for n, a in arrays.items()}
    try:
        with np.errstate(all="ignore"):
            if isinstance(of, Program):
                found = evaluate(of, wide, sizes, np)
            else:
                found = definitions.evaluate([of], wide, sizes, np)
            apart = np.abs(found[name] - values[name])
    except (TypeError, np.linalg.LinAlgError):  # some functions have no wider version
        return 0.0
    return float(np.nanmax(apart, initial=0.0))


def _refusal(
    d: Derivation,
    result: Tensor,
    results: Values,
    named: Values,
    arrays: Values,
    values: Values,
    sizes: Mapping[Size, int],
) -> str:
    """What differs first: the first equation whose array the module names, else that of the result."""
    found, ours = result, results[result.name]
    for e in d.program.equations:
        local = results.get(e.name, named.get(e.name))
        if local is None or np.shape(local) != np.shape(values[e.name]):
            continue
        if _differs(d, e.name, np.asarray(local), arrays, values, sizes):
            found, ours = e.tensor, np.asarray(local)
            break
    equation, wanted = d.program.equation(found.name), np.asarray(values[found.name])
    shown = f"({equation.number})  {equation}" if equation is not None else found.name
    head = f"the program that was written for {d.name} is not its equation {shown}\n"
    if ours.shape != wanted.shape:
        return head + f"  it has the shape {ours.shape}, and the equation {wanted.shape}, at {_said(sizes)}"
    with np.errstate(all="ignore"):
        error = np.nan_to_num(np.where(ours == wanted, 0.0, np.abs(ours - wanted)), nan=np.inf, posinf=np.inf)
    at = np.unravel_index(int(np.argmax(error)), error.shape)
    place = f"[{', '.join(map(str, at))}]" if at else ""
    return (
        f"{head}  {found.name}{place} is {ours[at]:.6g} by the program and {wanted[at]:.6g} by the equation, at "
        f"{_said(sizes)}\n  this is a fault of the emission, not of your definitions; dense=True writes every term out, "
        f"patterns= chooses another emission, check=False compiles it all the same"
    )


def _slope(d: Derivation, results: Values, arrays: Values, sizes: Mapping[Size, int]) -> str:
    """The gradients together, along one direction, against a central difference of the definitions."""
    grads = dict(d.results).get("grads")
    if d.kind not in ("backprop", "vjp") or grads is None or d.kinks or any(t.facts or not t.is_input for t in d.wrt):
        return ""
    if any(
        type(n).__name__ == "stop_gradient"
        for e in d.source.equations
        for t in e.terms
        for f in t.fac
        for n in _nodes(f)
    ):
        return ""
    rng = np.random.default_rng(2)
    along = {t.name: rng.normal(size=np.shape(arrays[t.name])) for t in d.wrt}
    seed = 1.0 if d.seed is None else arrays[d.seed.name]

    def loss(step: float) -> float:
        moved = {**arrays, **{n: arrays[n] + step * v for n, v in along.items()}}
        return float(np.sum(definitions.evaluate([d.loss], moved, sizes, np)[d.loss.name] * seed))

    with np.errstate(all="ignore"):
        parts = [float(np.sum(results[t.name] * along[key])) for key, t in grads.items() if key in along]
        slopes = [(loss(h) - loss(-h)) / (2 * h) for h in (STEP, STEP / 2)]
        noise = abs(slopes[0] - slopes[1]) + 1e-14 * abs(loss(0.0)) / STEP + (CANCELLED if not any(slopes) else 0.0)
    error, scale = abs(sum(parts) - slopes[1]), sum(map(abs, parts)) + abs(slopes[1])
    if error > SLOPE * scale + 1e2 * noise:  # digits that were cancelled inside a formula
        noise += _apart(d.loss, d.loss.name, arrays, definitions.evaluate([d.loss], arrays, sizes, np), sizes) / STEP
    if not np.isfinite(error) or error <= SLOPE * scale + 1e2 * noise:
        return ", the gradients along a direction against differences of the loss" if np.isfinite(error) else ""
    raise NumericsError(
        f"the gradients of {d.name} are not those of its definitions: along a random direction the loss changes by "
        f"{slopes[1]:.6g}, and the gradients say {sum(parts):.6g}, at {_said(sizes)}\n  the derivation is at fault, not your "
        f"definitions; d.check() says which step; check=False compiles it all the same"
    )


def _nodes(e: Any) -> Iterator[Any]:
    yield e
    for a in getattr(e, "args", ()):
        yield from _nodes(a)


def _said(sizes: Mapping[Size, int]) -> str:
    return " ".join(f"{s.name}={n}" for s, n in sorted(sizes.items(), key=lambda p: p[0].name)) or "its own sizes"
