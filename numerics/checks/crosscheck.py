"""``nx.crosscheck``: a gradient that somebody wrote by hand, against the derived one, and what is wrong with it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from derive.language.index import Size
from derive.program.program import Program
from numerics.errors import NumericsError
from numerics.kernel.inputs import check_values

from .answers import Expected, coarsest, copied, to_numpy
from .draws import Draw, Drawing, Seen, seen_at
from .ground import everything, fixed_sizes, float64
from .judge import Judge
from .ours import Ours, ours_at
from .replay import Replay
from .rounding import Model, is_float
from .sampling import bind_sizes
from .verdicts import CrossReport, Verdict


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
    if not hasattr(kern, "derivation"):
        raise NumericsError(f"crosscheck({type(kern).__name__}, ...): takes a kernel, as nx.compile(d) returns it")
    if kern.derivation.kind == "forward":
        raise NumericsError(
            f"crosscheck: {kern.derivation.name} only goes forward, so there is no gradient to compare with yours; compile "
            f"dv.backprop(loss, wrt=...), or compare values with nx.verify(kern, forward=...)"
        )
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

    def _compared(self, draw: Draw) -> Ours | None:
        """Verdicts at one draw; the first wrong one of a tensor stands.  None where the function failed."""
        with float64():
            ours = ours_at(self.kern, draw, self.expected.tensors, self.seed)
        try:
            returned = self._call(draw)
        except Exception as error:
            said = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            text = f"the function failed: {said}"
            self._keep([Verdict(n, "error", text) for n in self.expected.required], draw)
            return None
        with float64():
            told = {n for n, v in self.verdicts.items() if not v.ok}
            self._keep(self._judge(ours, returned, told).verdicts(), draw)
        return ours

    def _judge(self, ours: Ours, returned: dict[str, Any], told: set[str]) -> Judge:
        model = Model.of(self.program, ours.draw.sizes)
        return Judge(self.d, ours, model, self.coarsest, returned, told)

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
