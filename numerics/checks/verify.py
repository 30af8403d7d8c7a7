"""``nx.verify``: the evidence ladder for a compiled kernel.

    exact      the derivation, step by step, in exact arithmetic            (derive.exact)
    autodiff   jax.grad of an independent forward, float64                  (numerics.checks.opponent)
    Taylor     the kernel's own loss, order of the remainder >= 1.9         (numerics.checks.taylor)
               and >= 2.9 with a Hessian, which is symmetric too             (numerics.checks.second)
    precision  float32, bfloat16 ... against float64, by a rounding model   (numerics.checks.rounding)
    kinks      at points with deliberate ties: the stated conventions hold  (numerics.checks.kinks)
    regions    where each condition goes both ways, at zeros, ties, 1e4, one example, long axes (numerics.checks.regions)

Autodiff appears here, as the opponent, and nowhere in the generated code.  An opponent that crashes is a failure.
"""

from __future__ import annotations

import functools

import jax
import numpy as np
import sympy

from derive.language.errors import DeriveError
from numerics.errors import NumericsError
from numerics.reference.sampling import UNEQUAL, Sample, draw_sample, draw_sizes

from .bench import AUTODIFF, FORWARD, Bench
from .coverage import allowed_texts
from .distance import distance, underflows, without_equal_infinities
from .draws import Drawing
from .ground import float64, in_precision
from .kinks import at_ties
from .large import as_defined
from .opponent import finite, label
from .regions import rounding_of, through_regions
from .report import Report
from .rounding import Model, is_float, known_dtype, moved, round_to, scales, unit
from .second import asymmetries, taylor_order
from .taylor import by_all_entries, order, structured_directions


def verify(kern, forward=None, seed: int = 0, dtypes=("float64", "float32"), tolerance=None, allow_unseen=()) -> Report:
    r"""Check a compiled kernel against opponents that share nothing with it.

    .. math::

        \text{error}(g) = \frac{\max|g - g_{ref}|}{\max(\max|g_{ref}|,\; 10^{-3}\,\max_{\text{leaves}}\max|g|)}

    Parameters
    ----------
    kern : Kernel
        From :func:`numerics.compile`.
    forward : callable, optional
        ``forward(**inputs) -> loss`` in ``jax.numpy``: your own independent forward, which autodiff differentiates; for a
        program that only goes forward, ``forward(**inputs) -> {"z": ..., "p": ...}``.
        Without one, a catalogue model's reference is used, else a plain evaluator of the definitions; the report says
        which.
    seed : int
        Of the inputs, the sizes and the directions.
    dtypes : sequence of str
        Among float64, float32, bfloat16, float16.  The opponents are met in float64 in any case; the others are
        compared with float64 on the same (rounded) inputs.
    tolerance : float or dict, optional
        Relative to the leaf, for all dtypes or by dtype; without it, the rounding model of :mod:`numerics.checks.rounding`.

    allow_unseen : sequence of str
        Conditions that no input needs to meet, as the report prints them after "not seen: ", such as ``["z[b] > 3"]``.

    Returns
    -------
    Report
        ``report.ok``, ``print(report)`` is a table, ``report.to_json()``; ``report.seen`` and ``report.not_seen``, the
        conditions that no input met, which leave ``ok`` False; ``report.coverage`` has the regimes besides.  It is also
        put into ``kern.evidence``, which ``kern.save`` writes beside the source.

    Raises
    ------
    NumericsError
        For a dtype outside the four, and for an ``allow_unseen`` that names no condition of the program.  A check that
        crashes raises nothing: it is a finding "error", and the report is not ok.

    Notes
    -----
    Sizes are unequal, so that a transposition cannot hide, then equal; others are taken, and the report says so, where a
    result is nothing but rounding at the first.  Where autodiff differs only by a convention at
    a kink (a tie in a max, the derivative of relu at 0), the verdict is "convention" and the note says which.

    References
    ----------
    Griewank and Walther, *Evaluating Derivatives* (2008); Farrell et al., *Automated derivation of the adjoint of
    high-level transient finite element programs*, SIAM J. Sci. Comput. 35 (2013), for the Taylor test.

    Examples
    --------
    >>> import derive as dv, numerics as nx
    >>> b, i = dv.indices("b i")
    >>> x, w = dv.tensor("x", b, i), dv.tensor("w", i)
    >>> loss = dv.define("loss", (), dv.Sum((x[b, i] * w[i])**2, b, i) / b.size)
    >>> kern = nx.compile(dv.backprop(loss, wrt=[w]))
    >>> report = nx.verify(kern)
    >>> report.ok
    True
    >>> kern.evidence["summary"].split(";")[0]
    'exact mod 2**61-1'
    """
    if not hasattr(kern, "derivation"):
        raise NumericsError(f"verify({type(kern).__name__}): takes a kernel, as nx.compile(d) returns it")
    for dtype in dtypes:
        if not known_dtype(dtype):
            raise NumericsError(
                f"verify(..., dtypes={tuple(dtypes)}): {dtype!r} is not one of float64, float32, bfloat16, float16"
            )
    allow = allowed_texts(allow_unseen, "verify")
    check = _Check(kern, forward, seed, tuple(dtypes), tolerance)
    report = check.run(allow)
    kern.evidence = {
        **(kern.evidence or {}),
        "summary": summary(report) if report.ok else "",
        "verify": report.as_dict(),
        "exact": check.exact,
    }
    return report


def summary(report: Report) -> str:
    """One line for the header of the generated module: what decided, and how near."""
    wide = [f for f in report.findings if f.dtype == "float64" and f.error is not None]
    worst = max((f.error or 0.0 for f in wide if f.opponent in (AUTODIFF, FORWARD)), default=0.0)
    if any(f.opponent == FORWARD for f in wide):
        return f"exact {next((f.exact for f in wide if f.exact), 'not checked exactly')}; definitions {worst:.1e}"
    orders = sorted({f.order for f in wide if f.order})
    exact = next((f.exact for f in wide if f.exact), "not checked exactly")
    lowest = f"Taylor order {orders[0]}" if orders else "no Taylor order taken"
    return f"exact {exact}; autodiff {worst:.1e}; {lowest} (evidence in the .json beside it)"


class _Check(Bench):
    def __init__(self, kern, forward, seed, dtypes, tolerance):
        super().__init__(kern, forward, seed, dtypes, tolerance)
        self.text = "none was reached"
        self.sizes: dict = {}  # unequal ones, at which the function is not degenerate
        self.first: Sample | None = None  # the sample at these sizes
        self.stopped = any(
            type(n).__name__ == "stop_gradient"
            for e in self.d.source.equations
            for t in e.terms
            for f in t.fac
            for n in sympy.preorder_traversal(f)
        )
        if self.stopped:
            self.notes.append("gradients are stopped on purpose, so the loss's own Taylor remainder says nothing")
        self.exact: dict | None = None  # the exact check's own evidence

    def run(self, allow: tuple[str, ...]) -> Report:
        exact = self.attempt("exact check", self._exact)
        results = [t for _, v in self.d.results for t in (v.values() if hasattr(v, "items") else [v])]
        names = [t.name for t in self.kern.inputs]
        self.drawing = Drawing(self.d, self.program, names, self.fixed, [t.name for t in results])
        self.attempt("unequal sizes", lambda: self._case(False, exact))
        self.attempt("equal sizes", lambda: self._case(True, exact))
        sizes, first = self.sizes, self.first
        if self.d.kinks and self.derivatives and first is not None:
            self.attempt("kinks", lambda: at_ties(self, sizes))
        if first is not None:
            self.attempt("conditions and regimes", lambda: through_regions(self, self.drawing, first))
        versions = {"jax": jax.__version__, "numpy": np.__version__}
        coverage = self.seen.coverage(allow)
        return Report(self.d.name, self.seed, self.text, tuple(self.findings), tuple(self.notes), versions, coverage)

    def _exact(self) -> str:
        found = self.d.check(seed=self.seed)
        self.exact = found.to_json()
        if not found.ok:
            self.notes.append(
                f"the exact check could neither prove nor refute {', '.join(found.undecided[:3])}; what "
                f"is left is the numeric evidence"
            )
            return "undecided"
        if not found.undecided:
            return "mod 2**61-1"
        self.notes.append(
            f"the exact check decided {len(found.undecided)} of {len(found.rows)} claims by 50-digit "
            f"evaluation only: {', '.join(found.undecided[:3])}"
        )
        return "50 digits"

    # -- float64: autodiff and Taylor ----------------------------------------------------------------------------------

    def _case(self, square, exact):
        free = set(self.program.sizes()) - set(self.fixed)
        if square and len(free) < 2:
            return
        sizes = draw_sizes(self.program, self.fixed, True, self.seed) if square else self._unequal()
        if sizes is None or (square and self._degenerate_beside(sizes)):
            why = "the derived sizes do not allow one" if sizes is None else "a result is zero but for rounding there"
            self.notes.append(f"no case of equal sizes: {why}")
            self.seen.regime("equal sizes", False)
            return
        with float64():
            sample = self._telling_sample(sizes)
            self._double(sample, exact)
            self.seen.add(sample.arrays, sizes)
        if square:
            self.seen.regime("equal sizes")
            return
        self.first = sample
        for dtype in self.dtypes:
            if dtype != "float64":
                self.attempt(f"{dtype} against float64", functools.partial(self._narrow, dtype, sizes))

    def _unequal(self) -> dict:
        with float64():
            self.sizes, instead = self.drawing.telling(self.seed, UNEQUAL)
        if instead:
            self.notes.append(instead)
        return self.sizes

    def _degenerate_beside(self, sizes) -> bool:
        """Whether something is nothing but rounding at equal sizes that is not at the unequal ones."""
        with float64():
            gone = set(self.drawing.degenerate(sizes, self.seed))
            return bool(gone - set(self.drawing.degenerate(self.sizes, self.seed)))

    def _sample(self, sizes, seed: int) -> Sample:
        """Inputs at which all is finite, by plain autodiff where it has any: it multiplies a slope of infinity by 0."""
        try:
            return draw_sample(self.program, finite(self.opponent(sizes)), sizes, seed, self.d.wrt)
        except DeriveError:
            if self.guarded or self.opponent(sizes).given is not None:
                raise
        self.guarded = True
        self._opponents.clear()
        sample = draw_sample(self.program, finite(self.opponent(sizes)), sizes, seed, self.d.wrt)
        self.notes.append(
            "a root, a logarithm or a quotient is always taken at 0 too, where autodiff is NaN: there it is a constant for it"
        )
        return sample

    def _telling_sample(self, sizes, tries: int = 5) -> Sample:
        """Inputs at which as few derivatives as possible vanish: two zeros agree whatever the equation says."""
        best: Sample
        fewest: list[str] | None = None
        for n in range(tries):
            sample = self._sample(sizes, self.seed + 1009 * n)
            expected = self.opponent(sizes)(sample.arrays)
            zero = [name for name in self.derivatives if not np.any(expected[name])]
            if fewest is None or len(zero) < len(fewest):
                best, fewest = sample, zero
            if not zero:
                break
        if fewest:
            self.notes.append(f"zero at every draw, so only compared with zero: {', '.join(fewest)}")
        return best

    def _double(self, sample: Sample, exact):
        opponent = self.opponent(sample.sizes)
        self.text = opponent.text
        expected, ours = without_equal_infinities(opponent(sample.arrays), self.leaves(sample.arrays))
        scale, model = scales(expected), Model.of(self.program, sample.sizes)
        change = moved(self.steady_leaves, sample.arrays, "float64", self.seed)
        first = next(iter(ours))
        noise = unit("float64") * abs(float(np.sum(ours[first]))) * 16 + 8 * change[first] * scale[first]
        ruled = None
        for name in sorted(ours, key=lambda n: n not in self.derivatives):
            reference = expected[name]
            bound = self.tolerance("float64", model, change[name])
            error, note = distance(ours[name], reference, scale[name])
            verdict = "ok" if error is not None and error <= bound else "FAIL"
            if verdict == "FAIL" and not note and self.d.kinks:
                ruled = ruled or self.opponent(sample.sizes, True)(sample.arrays)
                apart, _ = distance(ours[name], ruled[name], scale[name])
                if apart is not None and apart <= bound and self._agree_nearby(sample, name, bound):
                    verdict, note = "convention", "autodiff differs by a convention: " + "; ".join(self.d.kinks)
            if verdict == "FAIL" and not note and as_defined(self, sample, name, ours):
                verdict, note = "ok", "the forward loses its digits here: compared with the definitions, 50 digits"
            taylor = None if self.stopped or not self.derivatives else self._taylor(sample, name, ours, noise)
            if taylor is not None and not taylor.ok and verdict != "convention":
                verdict, note = "FAIL", note or f"the Taylor remainder has not order {taylor.wanted + 0.1:.0f}"
            if taylor is not None and taylor.tries > 1 and taylor.ok and self.d.kinks:
                note = note or f"direction {taylor.tries} stays on one side of the kinks"
            checked = exact if name in self.derivatives or not self.derivatives else ""
            self.add(
                name,
                "float64",
                sample,
                AUTODIFF if self.derivatives else FORWARD,
                error,
                scale[name],
                bound,
                exact=checked or "",
                order=str(taylor) if taylor else "",
                verdict=verdict,
                note=note,
            )
        if any(group == "hessian" for group, _ in self.d.results):
            self._symmetry(sample, ours, scale, model, change)

    def _symmetry(self, sample, ours, scale, model, change):
        for pair, error in asymmetries(self.d, ours, scale).items():
            name = label("hessian", pair)
            bound = self.tolerance("float64", model, change[name])
            self.add(
                name,
                "float64",
                sample,
                "its own transpose",
                error,
                scale[name],
                bound,
                verdict="ok" if error <= bound else "FAIL",
                note="" if error <= bound else "not symmetric",
            )

    def _taylor(self, sample, name, ours, noise):
        kind, key = self.derivatives.get(name, ("", None))
        if kind in ("jacobian", "hessian"):
            return taylor_order(self.d, self.leaves, sample, ours, key, noise, self.seed)
        if kind != "grads" or key not in sample.arrays:
            return None
        group, seed = self.d.results[0][0], self.d.seed
        weight = 1.0 if seed is None else sample.arrays[seed.name]

        def loss(array):
            return float(np.sum(self.leaves({**sample.arrays, name: array})[group] * weight))

        (t,) = (t for t in self.d.wrt if t.name == name)
        within = structured_directions([t], sample.arrays)
        slope = by_all_entries(ours[name], t)
        return order(loss, sample.arrays[name], slope, noise, self.seed, bool(self.d.kinks), within=within)

    def _agree_nearby(self, sample, name, bound) -> bool:
        """Whether the kernel and autodiff agree a little way off: then they differed at a kink, and only there."""
        rng = np.random.default_rng(self.seed + 1)
        near = {
            n: a * (1 + 1e-3 * rng.normal(size=a.shape)) + 1e-4 * rng.normal(size=a.shape) if is_float(a) else a
            for n, a in sample.arrays.items()
        }
        expected = self.opponent(sample.sizes)(near)
        error, _ = distance(self.leaves(near)[name], expected[name], scales(expected)[name])
        return error is not None and error <= bound

    # -- other precisions ----------------------------------------------------------------------------------------------

    def _narrow(self, dtype, sizes):
        sample, change = self._steady(dtype, sizes)
        with float64():
            exact = self.leaves({n: a.astype(float) if is_float(a) else a for n, a in sample.arrays.items()})
        with in_precision(dtype):
            ours = self.leaves(sample.arrays)
        exact, ours = without_equal_infinities(exact, ours)
        scale, model = scales(exact), Model.of(self.program, sizes)
        lost: dict[str, float] = {}
        for name, reference in exact.items():
            bound = self.tolerance(dtype, model, change[name])
            error, note = distance(ours[name].astype(reference.dtype), reference, scale[name])
            if is_float(reference) and str(ours[name].dtype) != dtype:
                note = f"returned {ours[name].dtype} for {dtype} inputs"
            if error is not None and error > bound and self.given is None:
                lost = lost or rounding_of(
                    self, sample, dtype
                )  # a bias before a batch norm: what is left of a cancelled sum
                bound = max(bound, self.tolerance(dtype, model, lost[name]))
            good = error is not None and (error <= bound or underflows(ours[name], reference)) and not note
            self.add(
                name,
                dtype,
                sample,
                "kernel in float64",
                error,
                scale[name],
                bound,
                verdict="ok" if good else "FAIL",
                note=note,
            )
        self.notes.append(f"tolerance {dtype}: " + (model.text(dtype) if self.given is None else "given"))

    def _steady(self, dtype, sizes):
        """Of a few draws, the one whose gradient moves least under rounding: away from kinks, for this precision."""
        best = None
        with float64():
            for n in range(5):
                sample = self._sample(sizes, self.seed + n)
                rounded = round_to(sample.arrays, dtype)
                wide = {k: a.astype(float) if is_float(a) else a for k, a in rounded.items()}
                change = moved(self.steady_leaves, wide, dtype, self.seed)
                if best is None or max(change.values()) < max(best[1].values()):
                    best = Sample(sizes, rounded, sample.domain), change
                if max(change.values()) < 16 * unit(dtype):
                    break
        return best
