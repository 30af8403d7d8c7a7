"""``nx.crosscheck``: a gradient that somebody wrote by hand, against the derived one, and what is wrong with it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from derive.language.index import Size
from derive.program.program import Program
from numerics.errors import NumericsError
from numerics.kernel.inputs import check_values
from numerics.reference.sampling import bind_sizes

from .answers import Expected, coarsest, copied, to_numpy
from .coverage import Seen, allowed_texts
from .draws import Draw, Drawing
from .ground import everything, fixed_sizes, float64
from .judge import Judge
from .ours import Ours, ours_at
from .rounding import Model, is_float
from .verdicts import CrossReport, Verdict


def crosscheck(
    kern: Any,
    fn: Callable[..., Any],
    inputs: dict[str, Any] | None = None,
    seed: int = 0,
    allow_unseen: Sequence[str] = (),
    held: Mapping[str, Any] | None = None,
) -> CrossReport:
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
        Arrays by name; ``fn`` gets copies of them, and is compared there and nowhere else.  Without them float64 NumPy
        arrays are drawn: of unequal sizes, so that each condition goes both ways, zeros, ties, up to 1e4, the first label and
        the last, of equal sizes, with one element in the first axis, with long axes, recurrences of 64 steps in float32.
    seed : int
        Of the drawn inputs.
    allow_unseen : sequence of str
        Conditions that no input needs to meet, as the report prints them after "not seen: ", such as ``["z[b] > 3"]``.
    held : dict, optional
        Arrays that the function holds itself and that are the same at every draw, such as a table of positions.

    Returns
    -------
    CrossReport
        ``.ok``, ``.verdicts`` (one per tensor, with ``.kind`` and ``.text``), ``.seen``, ``.not_seen`` (conditions that no
        input met, which leave ``ok`` False), ``.coverage``; ``print`` gives a table, explanations and what was seen.

    Raises
    ------
    numerics.InputError
        For inputs that the definitions exclude: a label out of its range, NaN, a declared fact that does not hold.
    numerics.NumericsError
        For an ``allow_unseen`` that names no condition of the program.

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
    if not hasattr(kern, "derivation"):
        raise NumericsError(f"crosscheck({type(kern).__name__}, ...): takes a kernel, as nx.compile(d) returns it")
    if kern.derivation.kind == "forward":
        raise NumericsError(
            f"crosscheck: {kern.derivation.name} only goes forward, so there is no gradient to compare with yours; compile "
            f"dv.backprop(loss, wrt=...), or compare values with nx.verify(kern, forward=...)"
        )
    return _Cross(kern, fn, inputs, seed, allowed_texts(allow_unseen, "crosscheck"), held).run()


SATURATED = 1e-6  # of a leaf at the first draw: below that, nothing is left of it at large numbers

VANISHED = 1e-10  # of it: below that, what is left of it at any other draw is rounding


class _Cross:
    """One cross-check: the draws, the function at each of them, and a verdict for each tensor."""

    def __init__(
        self,
        kern: Any,
        fn: Callable[..., Any],
        inputs: dict[str, Any] | None,
        seed: int,
        allow: tuple[str, ...],
        held: Mapping[str, Any] | None,
    ):
        self.kern, self.d, self.fn, self.seed, self.given = kern, kern.derivation, fn, seed, inputs
        self.allow = allow
        self.program: Program = everything(self.d)
        self.expected = Expected(self.d)
        self.fixed: dict[Size, int] = fixed_sizes(kern)
        targets = list(self.expected.tensors.values())
        names = [t.name for t in kern.inputs]
        self.drawing = Drawing(
            self.d, self.program, names, self.fixed, targets, {n: to_numpy(a) for n, a in (held or {}).items()}
        )
        self.seen = Seen(self.d)
        self.coarsest = "float64"
        self.notes: list[str] = []
        self.verdicts: dict[str, Verdict] = {}
        self.scale: dict[str, float] = {}  # of each leaf at the first draw

    def run(self) -> CrossReport:
        with float64():
            first = self.drawing.first(self.seed) if self.given is None else self._given(self.given)
        self.notes += [self.drawing.instead] if self.drawing.instead else []
        ours = self._compared(first)
        if ours is not None:
            self.scale = ours.scale
            self._again(first, ours)
            for draw in self._more(first, ours):
                self._compared(draw)
        coverage = self.seen.coverage(self.allow)
        verdicts = tuple(self.verdicts.values())
        return CrossReport(self.d.name, first.sizes_text, self.seed, verdicts, tuple(self.notes), coverage)

    # -- inputs --------------------------------------------------------------------------------------------------------

    def _given(self, inputs: dict[str, Any]) -> Draw:
        """Inputs as they came, after a check of their values: a label out of range is no place to compare at."""
        narrow = {n: to_numpy(a) for n, a in inputs.items()}
        self.coarsest = coarsest([str(a.dtype) for a in narrow.values() if is_float(a)])
        unneeded = {t.name for t in self.program.inputs} - {t.name for t in self.kern.inputs}
        check_values(self.kern.inputs, narrow, self.fixed, self.d.program, unneeded, matrices=False)
        arrays = {n: a.astype(float) if is_float(a) else a for n, a in narrow.items()}
        sizes = bind_sizes(self.program, arrays, self.fixed)
        return Draw(sizes, {**self.drawing.beside(arrays, sizes), **arrays}, dict(inputs))

    def _more(self, first: Draw, ours: Ours) -> Any:
        """The draws after the first."""
        if self.given is not None:
            yield from self._unvanished(first, ours)
            return
        draws = self.drawing.after(first, self.seen, self.seed)
        while True:
            with float64():
                draw = next(draws, None)
            if draw is None:
                return
            yield draw

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
        quiet = np.errstate(all="ignore") if draw.kind == "large" else contextlib.nullcontext()
        with float64() if self.given is None else contextlib.nullcontext(), quiet:
            returned = self.expected.named(self.fn(**handed))
        for n, a in handed.items():
            text = f"the function changes its input {n} in place; the caller's array changes with it"
            if text not in self.notes and not np.array_equal(to_numpy(a), to_numpy(draw.passed[n]), equal_nan=True):
                self.notes.append(text)
        return returned

    def _compared(self, draw: Draw) -> Ours | None:
        """Verdicts at one draw; the first wrong one of a tensor stands.  None where the function failed."""
        with float64():
            share = SATURATED if draw.kind == "large" else VANISHED
            least = {n: share * s for n, s in self.scale.items()}
            ours = ours_at(self.kern, draw, self.expected.tensors, self.seed, least)
        try:
            returned = self._call(draw)
        except Exception as error:
            if draw.kind == "large" and isinstance(error, ArithmeticError):
                self.seen.regime(f"{draw.regime} (yours fails there: {error})", False)
                return None
            said = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            text = f"the function failed: {said}"
            self._keep([Verdict(n, "error", text) for n in self.expected.required], draw)
            return None
        with float64():
            told = {n for n, v in self.verdicts.items() if not v.ok}
            overflows = self._overflows(draw, returned)
            judge = self._judge(ours, {n: a for n, a in returned.items() if n not in overflows}, told)
            self._keep([v for v in judge.verdicts() if v.tensor not in overflows], draw)
            self._note(draw, overflows)
        return ours

    def _overflows(self, draw: Draw, returned: dict[str, Any]) -> list[str]:
        """What nothing is compared of at large numbers: a right formula may overflow, and half precision has no digits."""
        if draw.kind != "large":
            return []
        with contextlib.suppress(TypeError, ValueError):
            arrays = {n: to_numpy(a) for n, a in returned.items()}
            half = {n for n, a in arrays.items() if str(a.dtype) in ("float16", "bfloat16")}
            return [n for n, a in arrays.items() if n in half or not np.all(np.isfinite(a.astype(float)))]
        return []

    def _note(self, draw: Draw, overflows: list[str]) -> None:
        """What this draw has met, now that it was compared; inputs too large to look at have met nothing."""
        if self.seen.small(draw.sizes):
            self.seen.add(draw.arrays, draw.sizes)
        else:
            self.notes.append("these inputs are too large to see which conditions they meet: give smaller ones")
        if overflows:
            self.seen.regime(
                f"{draw.regime} (yours is not finite there, or in half precision: {', '.join(overflows)})", False
            )
        elif draw.regime:
            self.seen.regime(draw.regime)

    def _judge(self, ours: Ours, returned: dict[str, Any], told: set[str]) -> Judge:
        model = Model.of(self.program, ours.draw.sizes)
        return Judge(self.d, ours, model, coarsest([self.coarsest, ours.draw.dtype]), returned, told)

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
            returned = self._call(draw)
        except Exception as error:
            self._differs(self.expected.required, f"the function failed when called again: {error}")
            return
        with float64():
            second = self._judge(ours, returned, set())
            for name in [n for n, v in self.verdicts.items() if v.ok]:
                said = second.wrong_again(name)
                if said is not None:
                    self._differs([name], said)

    def _differs(self, names: list[str], said: str) -> None:
        for n in names:
            if n in self.verdicts and self.verdicts[n].ok:
                self.verdicts[n] = replace(self.verdicts[n], kind="not repeatable", text=said)
