"""Mutants of derivations, given to ``d.check()``."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from slowkernel import SlowKernel

import numerics as nx
from derive.exact.check import Checker
from derive.exact.record import record_findings
from derive.exact.verdict import REFUTED
from derive.language.errors import DerivationError, DeriveError

from .equations import consistent_mutants, fact_mutants, program_mutants, result_mutants, step_mutants
from .equivalent import equations_differ, programs_differ

KINDS = {
    "equations of a program": program_mutants,
    "steps, alone": step_mutants,
    "steps, and what follows": consistent_mutants,
    "facts": fact_mutants,
    "results": result_mutants,
}


def mutants(d, kind: str) -> Iterator:
    """(what was done, the derivation with one mistake)."""
    return KINDS[kind](d)


def refused(d) -> str:
    """By what ``d.check()`` refuses a derivation; "" where it does not.

    What ``d.check()`` would find is asked for in another order, the cheap rows first, and no further than to the first
    that is refuted.
    """
    try:
        for key, finding in record_findings(d):
            if finding.verdict == REFUTED:
                return str(key)
        checker = Checker(d, 0)
        for key, finding in checker.all_findings():
            if finding.verdict == REFUTED or finding.by == "nothing":
                row = "a step" if isinstance(key, int) else str(key).partition(":")[0]
                return row if finding.verdict == REFUTED else f"{row}, left undecided"
    except DerivationError:
        return "the check's own error"
    except DeriveError:
        return "an error of the language"
    except Exception as error:
        return f"crash: {type(error).__name__}"
    return ""


def difference(d, bad, kind: str) -> str | None:
    """Where a survivor is another function than the derivation; None where it is the same."""
    if bad.program != d.program:
        found = programs_differ(d, bad.program)
        if found is not None or kind == "equations of a program":
            return found
    for right, other in zip(d.steps, bad.steps, strict=False):
        if right != other:
            pairs = zip(
                (*right.before, right.after, *right.context), (*other.before, other.after, *other.context), strict=True
            )
            found = next((f for a, b in pairs if a != b and (f := equations_differ(d, a, b))), None)
            if found is not None:
                return f"step {right.id}: {found}"
            if right.facts != other.facts:
                return f"step {right.id}: its facts"
    if len(d.steps) != len(bad.steps) or d.facts != bad.facts or d.results != bad.results:
        return "what is recorded"
    return None


def verified(bad) -> bool:
    """Whether ``nx.verify`` finds nothing wrong with the program of a mutant."""
    return all(f.verdict in ("ok", "convention") for f in _report(bad).findings)


def unseen(d, bad) -> str:
    """The regimes that the report on a mutant says it has not seen, where that on the right program has."""
    return "; ".join(r for r in _report(bad).coverage.absent if r not in _report(d).coverage.absent)


@functools.lru_cache(maxsize=8)
def _report(d):
    return nx.verify(SlowKernel(d), dtypes=("float64", "float32"))
