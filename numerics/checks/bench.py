"""What all rungs of ``nx.verify`` share: the kernel, its opponents, the findings, and what the inputs have met."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from derive.language.errors import DerivationError
from numerics.reference.sampling import Sample

from .coverage import Seen
from .ground import everything, fixed_sizes
from .opponent import Opponent, flatten, label
from .report import Finding
from .rounding import Model, is_float
from .second import DERIVATIVES

AUTODIFF = "autodiff of the forward"
FORWARD = "the definitions"  # of a program that only goes forward
CONVENTIONS = "stated conventions"


class Bench:
    """One kernel under test."""

    def __init__(self, kern: Any, forward: Callable | None, seed: int, dtypes: tuple[str, ...], tolerance: Any):
        self.kern, self.d, self.forward, self.seed = kern, kern.derivation, forward, seed
        self.dtypes, self.given = dtypes, tolerance
        self.program, self.fixed = everything(self.d), fixed_sizes(kern)
        self.seen = Seen(self.d)
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self._opponents: dict = {}
        self.guarded = False  # whether autodiff is kept away from roots and quotients at 0
        self.derivatives = {label(g, k): (g, k) for g, v in self.d.results if g in DERIVATIVES for k in v}

    def attempt(self, what: str, action: Callable[[], Any]) -> Any:
        """An opponent that crashes has not passed: the exception becomes a finding "error"."""
        try:
            return action()
        except Exception as error:
            verdict = "refuted" if isinstance(error, DerivationError) and what == "exact check" else "error"
            self.add(
                what,
                "float64",
                None,
                what,
                None,
                None,
                None,
                verdict=verdict,
                note=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            )
            return verdict

    def add(
        self,
        tensor: str,
        dtype: str,
        sample: Sample | None,
        opponent: str,
        error: float | None,
        scale: float | None,
        bound: float | None,
        **more: Any,
    ) -> None:
        """One row of the report."""
        sizes, domain = (sample.text(), sample.domain) if sample else ("", "")
        self.findings.append(Finding(tensor, dtype, sizes, domain, opponent, error, scale, bound, **more))

    def opponent(self, sizes: dict, conventions: bool = False) -> Opponent:
        """Compiled once for each set of sizes; with conventions it is always the evaluator of the definitions."""
        key = (tuple(sorted(sizes.items(), key=str)), conventions)
        if key not in self._opponents:
            self._opponents[key] = Opponent(
                self.d, sizes, None if conventions else self.forward, conventions, self.guarded
            )
        return self._opponents[key]

    def leaves(self, arrays: dict) -> dict[str, np.ndarray]:
        """The kernel's results by label, in the precision of the arrays."""
        return flatten(self.d, self.kern(**{t.name: arrays[t.name] for t in self.kern.inputs}))

    def steady_leaves(self, arrays: dict) -> dict[str, np.ndarray]:
        """The same without infinities, which no rounding moves."""
        return {n: np.where(np.isinf(a), 0, a) if is_float(a) else a for n, a in self.leaves(arrays).items()}

    def tolerance(self, dtype: str, model: Model, change: float) -> float:
        if self.given is None:
            return model.tolerance(dtype, change)
        return self.given[dtype] if isinstance(self.given, dict) else float(self.given)
