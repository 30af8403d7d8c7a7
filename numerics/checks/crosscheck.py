"""``nx.crosscheck``: a gradient that somebody wrote by hand, against the derived one, and what is wrong with it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass

import numpy as np

from numerics.errors import NumericsError

from .alterations import Alterations
from .ground import everything, fixed_sizes, float64
from .mistakes import ARRAY_FINDERS, SLICE_FINDERS, Case, Mistake, elsewhere, wrong_shape
from .opponent import Opponent, finite, flatten
from .report import table
from .rounding import CAPS, Model, is_float, known_dtype, moved, scales
from .sampling import TELLING, bind_sizes, draw_sample, draw_sizes

RIGHT = ("ok",)


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
            },
            indent=1,
            sort_keys=True,
        )

    def __str__(self):
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
        return "\n".join(lines)


def crosscheck(kern, fn, inputs=None, seed: int = 0) -> CrossReport:
    """Compare a gradient written by hand with the derived one, and say what is wrong with it.

    Parameters
    ----------
    kern : Kernel
        From :func:`numerics.compile`.
    fn : callable
        ``fn(**inputs) -> {"W": array, ...}``, JAX, NumPy or torch arrays in any float precision; a single array when
        there is one gradient.
    inputs : dict, optional
        Arrays by name, passed to ``fn`` as they are.  Without them float64 NumPy arrays are drawn, of unequal sizes.
    seed : int
        Of the drawn inputs.

    Returns
    -------
    CrossReport
        ``.ok``, ``.verdicts`` (one per tensor, with ``.kind`` and ``.text``); ``print`` gives a table and explanations.

    Notes
    -----
    The tolerance follows the precision of the array that was returned (or of the inputs, if coarser), by the rounding
    model of :mod:`numerics.checks.rounding`: a right float16 gradient passes, and a zero, negated or doubled one never does.
    Told apart are: missing and extra tensors, shapes, transposes, signs, constant factors (named when they are sizes),
    missing, doubled or negated terms and factors of our equations, forgotten paths and derivatives, index shifts, wrong
    slices, and rounding.

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
    return _Cross(kern, fn, inputs, seed).run()


class _Cross:
    def __init__(self, kern, fn, inputs, seed):
        self.kern, self.d, self.fn, self.seed, self.given = kern, kern.derivation, fn, seed, inputs
        self.program = everything(self.d)
        self._alterations = None

    def run(self) -> CrossReport:
        with float64():
            self._prepare()
        try:
            with float64() if self.given is None else contextlib.nullcontext():
                returned = self._named(self.fn(**self.passed))
        except Exception as error:
            said = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            verdicts = tuple(Verdict(n, "error", f"the function failed: {said}") for n in self.d.gradients)
        else:
            with float64():
                verdicts = tuple(self._verdicts(returned))
        shown = " ".join(f"{s.name}={n}" for s, n in sorted(self.sizes.items(), key=lambda p: p[0].name))
        return CrossReport(self.d.name, shown or "(fixed)", self.seed, verdicts)

    def _prepare(self):
        """The inputs, as passed to the function and in float64, and our gradients."""
        if self.given is None:
            self.sizes = draw_sizes(self.program, fixed_sizes(self.kern), seed=self.seed, pool=TELLING)
            sample = draw_sample(self.program, finite(Opponent(self.d, self.sizes)), self.sizes, self.seed, self.d.wrt)
            self.arrays = {t.name: sample.arrays[t.name] for t in self.kern.inputs}
            self.passed, self.coarsest = dict(self.arrays), "float64"
        else:
            self.passed = dict(self.given)
            narrow = {n: to_numpy(a) for n, a in self.passed.items()}
            self.coarsest = coarsest([str(a.dtype) for a in narrow.values() if is_float(a)])
            self.arrays = {n: a.astype(float) if is_float(a) else a for n, a in narrow.items()}
            self.sizes = bind_sizes(self.program, self.arrays, fixed_sizes(self.kern))
        self.ours = {n: a for n, a in self._leaves(self.arrays).items() if n in self.d.gradients}
        self.scale = scales(self.ours)
        self.model = Model.of(self.program, self.sizes)
        self._moved = {}

    def _leaves(self, arrays):
        return flatten(self.d, self.kern(**arrays))

    def tolerance(self, name, dtype) -> float:
        if dtype not in self._moved:
            self._moved[dtype] = moved(self._leaves, self.arrays, dtype, self.seed)
        bound = self.model.tolerance(dtype, self._moved[dtype][name])
        return max(bound, 1e-10) if dtype == "float64" else bound

    def _named(self, returned) -> dict:
        names = list(self.d.gradients)
        if hasattr(returned, "keys"):
            return dict(returned)
        if isinstance(returned, (tuple, list)) or len(names) > 1:
            raise TypeError(f"returned {type(returned).__name__}; expected a dict with the keys {', '.join(names)}")
        return {names[0]: returned}

    def _verdicts(self, returned):
        for name in self.d.gradients:
            if name not in returned:
                near = ", ".join(map(str, returned)) or "nothing"
                yield Verdict(name, "missing", f"no gradient of {name} was returned (returned: {near})")
            else:
                yield self._verdict(name, returned[name])
        for name in returned:
            if name not in self.d.gradients:
                yield Verdict(
                    str(name), "extra", f"{name} is not differentiated here; expected are {', '.join(self.d.gradients)}"
                )

    def _verdict(self, name, raw) -> Verdict:
        try:
            theirs = to_numpy(raw)
        except (TypeError, ValueError) as error:
            return Verdict(name, "not an array", f"{type(raw).__name__} is not an array: {error}")
        dtype = str(theirs.dtype)
        if not known_dtype(dtype):
            said = f"dtype {dtype}; a gradient is float64, float32, float16 or bfloat16"
            return Verdict(name, "dtype", said, dtype=dtype)
        precision = coarsest([dtype, self.coarsest])
        bound = self.tolerance(name, precision)
        ours, theirs = self.ours[name], theirs.astype(float)
        if theirs.shape != ours.shape:
            found = wrong_shape(name, self._letters(name), ours, theirs, None, bound, self._by_name())
            return Verdict(name, found.kind, found.text, None, bound, dtype)
        bad = np.argwhere(~np.isfinite(theirs))
        if len(bad):
            where = ", ".join(f"[{', '.join(map(str, b))}]" for b in bad[:3].tolist())
            word = "NaN" if np.isnan(theirs).any() else "inf"
            return Verdict(
                name,
                "not finite",
                f"{word} at {where}{' ...' if len(bad) > 3 else ''}: {len(bad)} of {theirs.size} entries",
                None,
                bound,
                dtype,
            )
        error = float(np.max(np.abs(theirs - ours), initial=0.0)) / self.scale[name]
        if error <= bound:
            said = "" if error <= 1e-10 else f"only rounding, as {precision} arithmetic makes it"
            return Verdict(name, "ok", said, error, bound, dtype)
        found = self._diagnose(name, theirs, bound)
        return Verdict(name, found.kind, found.text, error, bound, dtype)

    def _diagnose(self, name, theirs, bound) -> Mistake:
        case = Case(
            name,
            self._letters(name),
            self.ours[name],
            theirs,
            self.scale[name],
            bound,
            self._by_name(),
            {n: a for n, a in self.ours.items() if n != name},
        )
        for finder in ARRAY_FINDERS:
            found = finder(case)
            if found is not None:
                return self._with_factor_place(case, found)
        self._alterations = self._alterations or Alterations(self.d, self.arrays, self.sizes)
        found = self._alterations.explain(case)
        if found is not None:
            return found
        for finder in SLICE_FINDERS:
            found = finder(case)
            if found is not None:
                return found
        error = float(np.max(np.abs(theirs - case.ours))) / case.scale
        if error <= self.tolerance(name, "float32"):
            return Mistake(
                "precision",
                f"off by {error:.1e}: too much for the float64 that was returned, about what "
                f"float32 arithmetic gives; return float32 if that is what it computes in",
            )
        return elsewhere(case)

    def _with_factor_place(self, case: Case, found: Mistake) -> Mistake:
        """Name the equation whose coefficient the missing factor is."""
        if found.kind != "factor":
            return found
        self._alterations = self._alterations or Alterations(self.d, self.arrays, self.sizes)
        place = self._alterations.coefficient_of(case)
        return found if place is None else Mistake("factor", f"{place} ({found.text})")

    def _letters(self, name):
        tensor = next(t for t in self.d.wrt if t.name == name)
        return tuple("" if i is None else str(i) for i in tensor.letters)

    def _by_name(self):
        return {s.name: n for s, n in self.sizes.items()}


def coarsest(dtypes) -> str:
    """The least precise of some dtype names."""
    known = [t for t in dtypes if t in CAPS]
    order = ("bfloat16", "float16", "float32", "float64")
    return min(known, key=order.index, default="float64")


def to_numpy(array) -> np.ndarray:
    """JAX, NumPy and torch arrays (on any device, with or without a graph) as NumPy; Python numbers as float64."""
    if hasattr(array, "detach"):
        array = array.detach().cpu()
        if str(array.dtype) == "torch.bfloat16":
            import ml_dtypes

            return array.float().numpy().astype(ml_dtypes.bfloat16)
        return array.numpy()
    found = np.asarray(array)
    if found.dtype == object:
        raise TypeError(f"it holds {type(array).__name__} objects, not numbers")
    return found
