"""What a hand-written function returned at one draw, tensor by tensor, and the search for what is wrong with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sympy import Mul

from derive.derivation.derivation import Derivation

from .alterations import Alterations
from .answers import Expected, to_numpy
from .answers import coarsest as coarsest_of
from .conditions import conditions_of
from .conventions import by_convention
from .coverage import LARGE
from .elements import expr_text
from .mistakes import ARRAY_FINDERS, SLICE_FINDERS, Case, Mistake, elsewhere, wrong_shape, zeroed_slice
from .ours import Ours
from .overwritten import overwritten
from .replay import QuickEvaluator, points
from .rounding import Model, is_float, known_dtype
from .verdicts import Verdict


class Judge:
    """What was returned at one draw, tensor by tensor."""

    def __init__(
        self, d: Derivation, ours: Ours, model: Model, coarsest: str, returned: dict[str, Any], told: set[str]
    ):
        self.d, self.draw, self.ours, self.model, self.coarsest = d, ours.draw, ours, model, coarsest
        self.returned, self.told, self.expected = returned, told, Expected(d)
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
        precision = coarsest_of([dtype, self.coarsest])
        ours, theirs = self.ours.arrays[name], theirs.astype(float)
        if theirs.shape != ours.shape:
            bound = self.ours.tolerance(self.model, name, precision)
            found = wrong_shape(name, ours, theirs, bound, self.draw.by_name)
            return Verdict(name, found.kind, found.text, None, bound, dtype)
        if not np.all(np.isfinite(theirs)):
            return Verdict(name, "not finite", _not_finite(theirs), None, None, dtype)
        error = float(np.max(np.abs(theirs - ours), initial=0.0)) / self.ours.scale[name]
        bound = self.ours.accepts(error, self.model, name, precision)
        case = self._case(name, theirs, bound)
        if not error <= bound and self._another_side(name, theirs, bound, precision):
            return Verdict(name, "ok", "at ties yours follows another convention", None, bound, dtype)
        if error <= bound:
            self.agreed.append(case)
            said = "" if error <= 1e-10 else f"only rounding, as {precision} arithmetic makes it"
            return Verdict(name, "ok", said, error, bound, dtype)
        wrong = Verdict(name, "unexplained", "", error, bound, dtype)
        self.disagreed[name] = (case, wrong)
        return wrong

    def _another_side(self, name: str, theirs: np.ndarray, bound: float, precision: str) -> bool:
        """Whether a difference is only by a convention at a tie, or by rounding where a condition has just turned."""
        if self.draw.kind == "tie" and self.d.kinks:
            return by_convention(self.ours, name, theirs, bound)
        if self.draw.kind == "turn" and precision != "float64":
            return by_convention(self.ours, name, theirs, bound, precision)
        return False

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
        cases = {n: case for n, (case, _) in self.disagreed.items() if n not in self.told}
        if not cases:
            return found
        for name, case in cases.items():
            mistake = next((m for finder in ARRAY_FINDERS if (m := finder(case)) is not None), None)
            if mistake is not None:
                found[name] = mistake
        small = points(self.d.program, self.draw.sizes) <= LARGE
        search = self._search() if small and (len(found) < len(cases) or _factors(found)) else None
        if search is not None:
            found = {n: self._placed(search, cases[n], m) for n, m in found.items()}
            for name, case in cases.items():
                e = self.d.program.equation(self.expected.tensors[name])
                if name not in found and (mistake := overwritten(e, case, search.replay)) is not None:
                    found[name] = mistake
            left = [c for n, c in cases.items() if n not in found]
            found.update(search.explain(left, self.agreed, early=(zeroed_slice,)))
        for name, case in cases.items():
            if name not in found:
                found[name] = self._last(case, small)
        return found

    def _search(self) -> Alterations:
        return Alterations(self.d, self.draw.arrays, self.draw.sizes, self.expected.tensors)

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
        quick = QuickEvaluator({}, self.draw.sizes, {})
        quick.values = search.replay.base
        for condition in conditions_of(self.d.program):
            margin, _ = condition.decided(quick)
            count, total = int(np.sum(margin >= 0)), int(np.size(margin))
            if 0 < count < total and abs(c * count - total) <= 1e-6 * total:
                e, test = condition.equation, condition.test
                said = expr_text(e, Mul(test.lhs)) if test.rhs == 0 else str(test)
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
