"""``nx.crosscheck``: a gradient that somebody wrote by hand, against the derived one, and what is wrong with it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from sympy import Mul

from derive.language.index import Size
from derive.program.program import Program
from numerics.inputs import check_values

from .alterations import Alterations
from .answers import Expected, coarsest, copied, to_numpy
from .draws import LARGE, Draw, Drawing, Seen, seen_at
from .elements import expr_text
from .ground import everything, fixed_sizes, float64
from .mistakes import ARRAY_FINDERS, SLICE_FINDERS, Case, Mistake, elsewhere, wrong_shape, zeroed_slice
from .opponent import flatten
from .replay import QuickEvaluator, Replay, points
from .report import table
from .rounding import CAPS, FLOOR, Model, is_float, known_dtype, moved, scales, unit
from .sampling import bind_sizes

RIGHT = ("ok",)
NOTHING = 1e-12  # of the largest leaf: what a zero may be when it is computed
STEPS = 1e9  # of a rounding unit, about: from how far a leaf moves by rounding to a hundredth of the move itself


@dataclass(frozen=True)
class Verdict:
    """One tensor.  ``kind`` is "ok" or the kind of mistake; ``text`` the sentence; ``error`` relative to the leaf."""

    tensor: str
    kind: str
    text: str
    error: float | None = None
    tolerance: float | None = None
    dtype: str = ""

    @property
    def ok(self) -> bool:
        return self.kind in RIGHT


@dataclass(frozen=True)
class CrossReport:
    """One verdict per tensor; ``ok`` only when every one is right.  ``print`` gives a table and the explanations."""

    name: str
    sizes: str
    seed: int
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return bool(self.verdicts) and all(v.ok for v in self.verdicts)

    def __getitem__(self, tensor: str) -> Verdict:
        return next(v for v in self.verdicts if v.tensor == tensor)

    def to_json(self) -> str:
        return json.dumps(
            {
                "name": self.name,
                "ok": self.ok,
                "sizes": self.sizes,
                "seed": self.seed,
                "verdicts": [asdict(v) for v in self.verdicts],
                "notes": list(self.notes),
            },
            indent=1,
            sort_keys=True,
        )

    def __str__(self) -> str:
        body = [
            [
                v.tensor,
                v.dtype,
                "" if v.error is None else f"{v.error:.1e}",
                "" if v.tolerance is None else f"{v.tolerance:.1e}",
                v.kind,
            ]
            for v in self.verdicts
        ]
        lines = [
            f"crosscheck of {self.name}  sizes {self.sizes}  seed {self.seed}",
            table(["tensor", "dtype", "error", "tolerance", "verdict"], body),
        ]
        lines += [f"{v.tensor}: {v.text}" for v in self.verdicts if v.text]
        lines += [f"note: {n}" for n in self.notes]
        return "\n".join(lines)


def crosscheck(kern: Any, fn: Callable[..., Any], inputs: dict[str, Any] | None = None, seed: int = 0) -> CrossReport:
    """Compare a gradient written by hand with the derived one, and say what is wrong with it.

    Parameters
    ----------
    kern : Kernel
        From :func:`numerics.compile`.
    fn : callable
        ``fn(**inputs) -> {"W": array, ...}``, or a tuple in the order of ``wrt``, or a single array when there is one
        gradient; JAX, NumPy or torch arrays in any float precision.  For second derivatives the keys are those of the
        kernel's own result: ``{("W", "c"): block}`` (or ``{"W": {"c": block}}``) for a Hessian, names for a Jacobian or a
        product; gradients beside them are compared when ``{"grads": {...}, "hvp": {...}}`` is returned.
    inputs : dict, optional
        Arrays by name; ``fn`` gets copies of them.  Without them float64 NumPy arrays are drawn: of unequal sizes, again, of
        equal sizes, with one element in the first axis, and so that conditions go both ways.
    seed : int
        Of the drawn inputs.

    Returns
    -------
    CrossReport
        ``.ok``, ``.verdicts`` (one per tensor, with ``.kind`` and ``.text``); ``print`` gives a table and explanations.

    Raises
    ------
    numerics.InputError
        For inputs that the definitions exclude: a label out of its range, NaN, a declared fact that does not hold.

    Notes
    -----
    The tolerance follows the precision of the array that was returned (or of the inputs, if coarser), by the rounding
    model of :mod:`numerics.checks.rounding`: a right float16 gradient passes, and a zero, negated or doubled one never does,
    however small it is beside the others.
    Told apart are: missing and extra tensors, shapes, transposes, permuted, reversed and shifted axes, signs, constant
    factors (named when they are sizes, roots of them or scalar inputs); in our equations: terms and factors missing, doubled
    or negated, forgotten paths and derivatives, sums over other axes, conditions, numbers, other tensors, other positions;
    wrong slices, and rounding.

    Examples
    --------
    >>> import derive as dv, numerics as nx
    >>> b, i = dv.indices("b i")
    >>> x, w = dv.tensor("x", b, i), dv.tensor("w", i)
    >>> loss = dv.define("loss", (), dv.Sum((x[b, i] * w[i])**2, b, i) / b.size)
    >>> kern = nx.compile(dv.backprop(loss, wrt=[w]))
    >>> report = nx.crosscheck(kern, lambda x, w: {"w": 2 * (x**2).sum(axis=0) * w})
    >>> report.ok, report["w"].kind
    (False, 'factor')
    >>> print(report["w"].text)
    missing 1/B of (3) dw[i] = ... (theirs is B times ours: missing 1/B, or B too many)
    """
    return _Cross(kern, fn, inputs, seed).run()


def assert_gradients(
    kern: Any, fn: Callable[..., Any], inputs: dict[str, Any] | None = None, seed: int = 0
) -> CrossReport:
    """:func:`crosscheck` as a test: its report, or an AssertionError that shows it.

    >>> import derive as dv, numerics as nx
    >>> b = dv.index("b")
    >>> x, w = dv.tensor("x", b), dv.tensor("w")
    >>> kern = nx.compile(dv.backprop(dv.define("loss", (), dv.Sum((x[b] - w[()])**2, b)), wrt=[w]))
    >>> nx.assert_gradients(kern, lambda x, w: {"w": 2 * (w - x).sum()}).ok
    True
    """
    report = crosscheck(kern, fn, inputs, seed)
    if not report.ok:
        raise AssertionError(str(report))
    return report


@dataclass
class Ours:
    """Our results at one draw: arrays, what an error of each is measured against, and how far it moves by rounding."""

    draw: Draw
    arrays: dict[str, np.ndarray]
    scale: dict[str, float]
    slack: dict[str, float]  # rounding of what is large beside a small leaf, relative to it and to a unit roundoff
    vanishing: set[str]
    leaves: Callable[[dict], dict[str, np.ndarray]]
    seed: int

    def __post_init__(self) -> None:
        self._moved: dict[str, dict[str, float]] = {}

    def tolerance(self, model: Model, name: str, dtype: str) -> float:
        if dtype not in self._moved:
            self._moved[dtype] = moved(self.leaves, self.draw.arrays, dtype, self.seed)
        shift = self._moved[dtype][name] * scales(self.arrays)[name] / self.scale[name]
        bound = max(model.tolerance(dtype, shift), min(CAPS[dtype], unit(dtype) * self.slack[name]))
        return max(bound, 1e-10) if dtype == "float64" else bound


class _Cross:
    """One cross-check: the draws, the function at each of them, and a verdict for each tensor."""

    def __init__(self, kern: Any, fn: Callable[..., Any], inputs: dict[str, Any] | None, seed: int):
        self.kern, self.d, self.fn, self.seed, self.given = kern, kern.derivation, fn, seed, inputs
        self.program: Program = everything(self.d)
        self.expected = Expected(self.d)
        self.fixed: dict[Size, int] = fixed_sizes(kern)
        targets = list(self.expected.tensors.values())
        self.drawing = Drawing(self.d, self.program, [t.name for t in kern.inputs], self.fixed, targets)
        self.coarsest = "float64"
        self.notes: list[str] = []
        self.verdicts: dict[str, Verdict] = {}

    def run(self) -> CrossReport:
        with float64():
            first = self.drawing.first(self.seed) if self.given is None else self._given(self.given)
        ours = self._compared(first)
        if ours is not None:
            self._again(first, ours)
            for draw in self._more(first, ours):
                self._compared(draw)
        return CrossReport(self.d.name, first.sizes_text, self.seed, tuple(self.verdicts.values()), tuple(self.notes))

    # -- inputs --------------------------------------------------------------------------------------------------------

    def _given(self, inputs: dict[str, Any]) -> Draw:
        """Inputs as they came, after a check of their values: a label out of range is no place to compare at."""
        narrow = {n: to_numpy(a) for n, a in inputs.items()}
        self.coarsest = coarsest([str(a.dtype) for a in narrow.values() if is_float(a)])
        unneeded = {t.name for t in self.program.inputs} - {t.name for t in self.kern.inputs}
        check_values(self.kern.inputs, narrow, self.fixed, self.d.program, unneeded, matrices=False)
        arrays = {n: a.astype(float) if is_float(a) else a for n, a in narrow.items()}
        return Draw(bind_sizes(self.program, arrays, self.fixed), arrays, dict(inputs))

    def _more(self, first: Draw, ours: Ours) -> Any:
        """The draws after the first, and notes on what none of them has met."""
        if self.given is not None:
            yield from self._unvanished(first, ours)
            with float64():
                seen = seen_at(self.d.program, first.arrays, first.sizes)
        else:
            seen = Seen(self.d.program)
            others = self._in_float64(self.drawing.others(first, self.seed))
            for draw in (first, *others):
                seen.add(Replay(self.d.program, draw.arrays, draw.sizes).base, draw.sizes)
                if draw is not first:
                    yield draw
            yield from self._in_float64(self.drawing.steered(first, seen, self.seed))
        self.notes += [f"not seen: {text}" for text in (seen.missing() if seen is not None else ())]

    @staticmethod
    def _in_float64(draws: Any) -> list[Draw]:
        with float64():
            return list(draws)

    def _unvanished(self, first: Draw, ours: Ours) -> Any:
        gone = sorted(n for n in ours.vanishing if not np.any(ours.arrays[n]))
        zero = [n for n, a in first.arrays.items() if is_float(a) and a.size and not np.any(a)]
        if not gone:
            return
        if not zero:
            self.notes.append(f"at these inputs the gradient of {', '.join(gone)} is zero: little is compared")
            return
        self.notes.append(
            f"the gradient of {', '.join(gone)} vanishes at these inputs, where {', '.join(zero)} is all zero; "
            f"compared again with {', '.join(zero)} drawn instead"
        )
        with float64():
            draw = self.drawing.unvanished(first, zero, self.seed)
        yield draw

    # -- both sides ----------------------------------------------------------------------------------------------------

    def _call(self, draw: Draw) -> dict[str, Any]:
        """What the function returns at copies of the inputs, by label; what it wrote into them is noted."""
        handed = {n: copied(a) for n, a in draw.passed.items()}
        with float64() if self.given is None else contextlib.nullcontext():
            returned = self.expected.named(self.fn(**handed))
        for n, a in handed.items():
            text = f"the function changes its input {n} in place; the caller's array changes with it"
            if text not in self.notes and not np.array_equal(to_numpy(a), to_numpy(draw.passed[n]), equal_nan=True):
                self.notes.append(text)
        return returned

    def _ours(self, draw: Draw) -> Ours:
        if draw.compiled:

            def leaves(arrays: dict) -> dict[str, np.ndarray]:
                found = flatten(self.d, self.kern(**{t.name: arrays[t.name] for t in self.kern.inputs}))
                return {n: found[n] for n in self.expected.tensors}

        else:
            replay = Replay(self.d.program, draw.arrays, draw.sizes)

            def leaves(arrays: dict) -> dict[str, np.ndarray]:
                values = replay.run({}, {n: a for n, a in arrays.items() if n in draw.arrays}) or replay.base
                return {n: values[t] for n, t in self.expected.tensors.items()}

        arrays = leaves(draw.arrays)
        own = {n: float(np.max(np.abs(a), initial=0.0)) for n, a in arrays.items()}
        whole, largest = scales(arrays), max(own.values(), default=0.0)
        shift = moved(leaves, draw.arrays, "float64", self.seed)
        # what moves as much as it is when its inputs move in the ninth digit, and is this small, is rounding of a zero
        vanishing = {n for n, size in own.items() if shift[n] * whole[n] * STEPS >= size and size <= NOTHING * largest}
        scale = {n: FLOOR * largest or 1.0 if n in vanishing else own[n] for n in arrays}
        slack = {n: 8 * largest / scale[n] if n not in vanishing else 0.0 for n in arrays}
        return Ours(draw, arrays, scale, slack, vanishing, leaves, self.seed)

    def _compared(self, draw: Draw) -> Ours | None:
        """Verdicts at one draw; the first wrong one of a tensor stands.  None where the function failed."""
        with float64():
            ours = self._ours(draw)
            model = Model.of(self.program, draw.sizes)
            bounds = {n: ours.tolerance(model, n, self.coarsest) for n in ours.arrays}  # before the function runs
        try:
            returned = self._call(draw)
        except Exception as error:
            said = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            text = f"the function failed: {said}"
            self._keep([Verdict(n, "error", text) for n in self.expected.required], draw)
            return None
        with float64():
            self._keep(_Judge(self, draw, ours, model, bounds, returned).verdicts(), draw)
        return ours

    def _keep(self, verdicts: list[Verdict], draw: Draw) -> None:
        for v in verdicts:
            before = self.verdicts.get(v.tensor)
            if before is None:
                self.verdicts[v.tensor] = v
            elif before.ok and not v.ok:
                text = f"right at the first draw, wrong at {draw.text}: {v.text}"
                self.verdicts[v.tensor] = replace(v, text=text)
            elif before.ok and v.error is not None and before.error is not None and v.error > before.error:
                self.verdicts[v.tensor] = v

    def _again(self, draw: Draw, ours: Ours) -> None:
        """The same inputs a second time: a function that keeps a state, or rounds by chance, may answer differently."""
        try:
            with np.errstate(all="ignore"):
                second = _Judge(self, draw, ours, Model.of(self.program, draw.sizes), {}, self._call(draw))
        except Exception as error:
            self._differs(self.expected.required, f"the function failed when called again: {error}")
            return
        with float64():
            for name in [n for n, v in self.verdicts.items() if v.ok]:
                said = second.wrong_again(name)
                if said is not None:
                    self._differs([name], said)

    def _differs(self, names: list[str], said: str) -> None:
        for n in names:
            if n in self.verdicts and self.verdicts[n].ok:
                self.verdicts[n] = replace(self.verdicts[n], kind="not repeatable", text=said)


class _Judge:
    """What was returned at one draw, tensor by tensor."""

    def __init__(self, cross: _Cross, draw: Draw, ours: Ours, model: Model, bounds: dict[str, float], returned: dict):
        self.cross, self.draw, self.ours, self.model = cross, draw, ours, model
        self.bounds, self.returned, self.expected = bounds, returned, cross.expected
        self.agreed: list[Case] = []
        self.disagreed: dict[str, tuple[Case, Verdict]] = {}

    def verdicts(self) -> list[Verdict]:
        """Everything that must be returned or was: verdicts of the arrays alone first, then the search for what is left."""
        found: dict[str, Verdict] = {}
        for name in dict.fromkeys([*self.expected.required, *self.returned]):
            if name not in self.expected.tensors:
                names = ", ".join(self.expected.required)
                found[name] = Verdict(name, "extra", f"{name} is not differentiated here; expected are {names}")
            elif name not in self.returned:
                near = ", ".join(map(str, self.returned)) or "nothing"
                found[name] = Verdict(name, "missing", f"no gradient of {name} was returned (returned: {near})")
            else:
                found[name] = self._verdict(name, self.returned[name])
        for name, mistake in self._diagnosed().items():
            found[name] = replace(self.disagreed[name][1], kind=mistake.kind, text=mistake.text)
        return list(found.values())

    def wrong_again(self, name: str) -> str | None:
        """What is different at a second call, of a tensor that was right at the first."""
        if name not in self.returned:
            return "it was not returned when the function was called again with the same inputs"
        v = self._verdict(name, self.returned[name])
        if v.ok:
            return None
        return "the function answers differently when it is called again with the same inputs: it keeps a state"

    def _verdict(self, name: str, raw: Any) -> Verdict:
        try:
            theirs = to_numpy(raw)
        except (TypeError, ValueError) as refused:
            return Verdict(name, "not an array", f"{type(raw).__name__} is not an array: {refused}")
        dtype = str(theirs.dtype)
        if not known_dtype(dtype):
            said = f"dtype {dtype}; a gradient is float64, float32, float16 or bfloat16"
            return Verdict(name, "dtype", said, dtype=dtype)
        precision = coarsest([dtype, self.cross.coarsest])
        bound = self._bound(name, precision)
        ours, theirs = self.ours.arrays[name], theirs.astype(float)
        if theirs.shape != ours.shape:
            found = wrong_shape(name, ours, theirs, bound, self.draw.by_name)
            return Verdict(name, found.kind, found.text, None, bound, dtype)
        if not np.all(np.isfinite(theirs)):
            return Verdict(name, "not finite", _not_finite(theirs), None, bound, dtype)
        error = float(np.max(np.abs(theirs - ours), initial=0.0)) / self.ours.scale[name]
        case = self._case(name, theirs, bound)
        if error <= bound:
            self.agreed.append(case)
            said = "" if error <= 1e-10 else f"only rounding, as {precision} arithmetic makes it"
            return Verdict(name, "ok", said, error, bound, dtype)
        wrong = Verdict(name, "unexplained", "", error, bound, dtype)
        self.disagreed[name] = (case, wrong)
        return wrong

    def _bound(self, name: str, precision: str) -> float:
        if precision == self.cross.coarsest and name in self.bounds:
            return self.bounds[name]
        return self.ours.tolerance(self.model, name, precision)

    def _case(self, name: str, theirs: np.ndarray, bound: float) -> Case:
        letters = tuple("" if i is None else str(i) for i in self.expected.letters[name])
        others = {n: a for n, a in self.ours.arrays.items() if n != name}
        scale = self.ours.scale[name]
        return Case(
            name, letters, self.ours.arrays[name], theirs, scale, bound, self.draw.by_name, others, self.factors()
        )

    def factors(self) -> dict[str, float]:
        """What a constant factor may come from: scalar inputs."""
        arrays = self.draw.arrays.items()
        return {n: float(a) for n, a in arrays if is_float(a) and np.ndim(a) == 0}

    # -- the search ----------------------------------------------------------------------------------------------------

    def _diagnosed(self) -> dict[str, Mistake]:
        found: dict[str, Mistake] = {}
        told = {n for n, v in self.cross.verdicts.items() if not v.ok}  # at an earlier draw
        cases = {n: case for n, (case, _) in self.disagreed.items() if n not in told}
        if not cases:
            return found
        for name, case in cases.items():
            mistake = next((m for finder in ARRAY_FINDERS if (m := finder(case)) is not None), None)
            if mistake is not None:
                found[name] = mistake
        small = points(self.cross.d.program, self.draw.sizes) <= LARGE
        search = self._search() if small and (len(found) < len(cases) or _factors(found)) else None
        if search is not None:
            found = {n: self._placed(search, cases[n], m) for n, m in found.items()}
            left = [c for n, c in cases.items() if n not in found]
            found.update(search.explain(left, self.agreed, early=(zeroed_slice,)))
        for name, case in cases.items():
            if name not in found:
                found[name] = self._last(case, small)
        return found

    def _search(self) -> Alterations:
        return Alterations(self.cross.d, self.draw.arrays, self.draw.sizes, self.expected.tensors)

    def _placed(self, search: Alterations, case: Case, found: Mistake) -> Mistake:
        """Name the equation whose coefficient the missing factor is, or the positions that were counted."""
        if found.kind != "factor":
            return found
        place = search.coefficient_of(case)
        if place is None:
            place = self._counted(search, case)
        return found if place is None else Mistake("factor", f"{place} ({found.text})")

    def _counted(self, search: Alterations, case: Case) -> str | None:
        """An average over the positions where a condition holds, for one over all of them."""
        c = float(np.sum(case.theirs * case.ours)) / float(np.sum(case.ours * case.ours) or 1.0)
        seen = Seen(self.cross.d.program)
        quick = QuickEvaluator({}, self.draw.sizes, {})
        quick.values = search.replay.base
        for e, t, condition in seen.conditions:
            holds = quick._condition(condition, quick._scope(e.idx, (*e.over, *t.bnd), {}))
            count, total = int(np.sum(holds)), int(np.size(holds))
            if 0 < count < total and abs(c * count - total) <= 1e-6 * total:
                said = expr_text(e, Mul(condition.lhs)) if condition.rhs == 0 else str(condition)
                return f"yours averages over the {count} of {total} positions where {said} is positive, not over all"
        return None

    def _last(self, case: Case, small: bool) -> Mistake:
        """Nothing explains it: rounding, if the array shows that it was computed in float32; else where it differs."""
        found = next((m for finder in SLICE_FINDERS if (m := finder(case)) is not None), None)
        if found is not None:
            return found
        error = float(np.max(np.abs(case.theirs - case.ours))) / case.scale
        if error <= self.ours.tolerance(self.model, case.name, "float32") and _is_float32(case.theirs):
            return Mistake(
                "precision",
                f"off by {error:.1e}, about what float32 arithmetic gives, and every entry is a float32 number: "
                f"computed in float32 and returned as float64; return float32 if that is meant",
            )
        last = elsewhere(case)
        return last if small else Mistake(last.kind, f"{last.text} (give smaller inputs for an explanation)")


def _factors(found: dict[str, Mistake]) -> bool:
    return any(m.kind == "factor" for m in found.values())


def _is_float32(a: np.ndarray) -> bool:
    """Whether a float64 array holds nothing but float32 numbers, as no float64 computation leaves it."""
    return bool(np.array_equal(a.astype(np.float32).astype(float), a))


def _not_finite(theirs: np.ndarray) -> str:
    bad = np.argwhere(~np.isfinite(theirs))
    where = ", ".join(f"[{', '.join(map(str, b))}]" for b in bad[:3].tolist())
    word = "NaN" if np.isnan(theirs).any() else "inf"
    return f"{word} at {where}{' ...' if len(bad) > 3 else ''}: {len(bad)} of {theirs.size} entries"
