"""What a derivation records beside its equations: its steps from end to end, its results, its facts.

The rows "steps", "results" and "facts" of an :class:`~derive.exact.verdict.Evidence`: the steps, applied to the source one
after another, give the program that is compiled; every result is a tensor of that program under its own name; every fact
that a step used is declared and listed, and none is listed that is not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from derive.language.errors import DerivationError
from derive.language.facts import range_text
from derive.language.tensor import Tensor
from derive.program.derived import Derived, earlier
from derive.program.program import Step
from derive.program.undeclared import kept_sums

from .replay import replay
from .verdict import PROVED, REFUTED, Finding

DERIVATIVES = ("grads", "hvp", "gauss_newton", "jacobian", "hessian")  # results by the tensors that are moved
DROPS = ("Gauss-Newton drops ", "(dv.dropped_term derives it)")  # the remark of a product that is not the Hessian's


def record_findings(d: Derived) -> Iterator[tuple[str, Finding]]:
    """(key, Finding) for the steps together, the results and the facts."""
    yield "results", _finding("results", "comparison with the program", _check_results, d)
    if d.steps:  # a program that was written by hand has none, and lists no facts
        yield "steps", _finding("steps", "replay", replay, d)
        yield "facts", _finding("facts", "comparison with the declarations", _check_facts, d)


def _finding(what: str, by: str, check: Callable[[Derived], object], d: Derived) -> Finding:
    started = time.perf_counter()
    try:
        check(d)
    except DerivationError as wrong:
        return Finding(what, REFUTED, by, time.perf_counter() - started, detail=str(wrong))
    return Finding(what, PROVED, by, time.perf_counter() - started)


def _check_results(d: Derived) -> None:
    """That every result is what its name says: a tensor of the program, the gradient of this tensor, this output."""
    made = {t.name: t for t in (*d.program.inputs, *(e.tensor for e in d.program.equations))}
    wrt = [t.name for t in d.wrt]
    told: list[Tensor] = []
    for group, value in d.results:
        for key, t in value.items() if isinstance(value, Mapping) else ((group, value),):
            told.append(t)
            if made.get(t.name) != t:
                raise DerivationError(f"the result {group} {key} is {t!r}, which the program does not compute")
            if group == "outputs" and d.kind != "forward" and key != t.name:
                raise DerivationError(f"the output {key} is said to be {t!r}")
        if isinstance(value, Mapping) and group in DERIVATIVES:
            wanted = {(a, b) for a in wrt for b in wrt} if group == "hessian" else set(wrt)
            if set(value) != wanted:
                raise DerivationError(f"there are results {group} of {', '.join(map(str, value))}; asked for: {wrt}")
            _check_shapes(d, group, value)
    first = d.kind == "forward" or not d.program.outputs or told[0] == d.program.outputs[0]
    if d.program.outputs and not (first and set(told) == set(d.program.outputs)):
        raise DerivationError(
            f"the results are {', '.join(t.name for t in told)}, and the program is for "
            f"{', '.join(t.name for t in d.program.outputs)}"
        )


def _check_shapes(d: Derived, group: str, value: Mapping[Any, Tensor]) -> None:
    """That a derivative has the axes of what it is a derivative by, after those of what is differentiated."""
    axes = {t.name: t.axes for t in d.wrt}
    for key, t in value.items():
        names = key if isinstance(key, tuple) else (key,)
        wanted = sum((axes[n] for n in names), d.loss.axes if group == "jacobian" else ())
        if t.axes != wanted:
            raise DerivationError(
                f"the result {group} {key} is {t!r}, and should have the axes ({', '.join(map(str, wanted))})"
            )


def _check_facts(d: Derived) -> None:
    """That steps use declared facts only, that all are listed with the steps that use them, and nothing else is."""
    used: dict[str, list[int]] = {}
    for s in d.steps:
        moved = [s.wrt] if s.claim == "structure" and s.wrt is not None else []
        known = {f.text(t): f for t in (*_tensors(s), *moved) for f in t.facts}
        for text in s.facts:
            if text not in known:
                raise DerivationError(
                    f"step {s.id} ({s.rule}) uses the fact {text!r}, which no tensor that it reads has"
                )
            used.setdefault(text, []).append(s.id)
    ranges = {range_text(t) for t in d.program.inputs if t.dtype == "int" and t.below is not None}
    declared = {f.text(t) for t in (*d.source.inputs, *d.program.inputs) for f in t.facts} | ranges
    relied = {text for origin in earlier(d.source) for text in origin.facts}
    kept = kept_sums(d) if d.kind == "hessian" else ()
    for f in d.facts:
        remark = f.text in kept or (d.kind == "gauss_newton" and _drops(f.text))
        if list(f.steps) != used.get(f.text, []) or not (
            f.steps or f.text in declared or remark or _follows(f.text, d)
        ):
            raise DerivationError(
                f"the fact {f.text!r} is listed for the steps {list(f.steps)}; used by {used.get(f.text, [])}"
            )
    if d.kind == "gauss_newton" and not any(_drops(f.text) for f in d.facts):
        raise DerivationError("a Gauss-Newton product is not a Hessian's, and what it drops is not listed")
    listed = {f.text for f in d.facts}
    missing = (set(used) | ranges | set(kept)) - listed
    if missing:
        raise DerivationError(f"the fact {min(missing)!r} is used and not listed")
    if relied - listed:
        raise DerivationError(
            f"the fact {min(relied - listed)!r} is not listed; the derivation that this one starts from used it"
        )


def _drops(text: str) -> bool:
    return text.startswith(DROPS[0]) and text.endswith(DROPS[1])


def _follows(text: str, d: Derived) -> bool:
    """Whether a fact is of a computed tensor, as an inverse is symmetric."""
    return any(f.text(e.tensor) == text for e in (*d.source.equations, *d.program.equations) for f in e.tensor.facts)


def _tensors(s: Step) -> set[Tensor]:
    return {t for e in (*s.before, s.after, *s.context) for t in (e.tensor, *e.tensors())}
