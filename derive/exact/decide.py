"""From a claim to a verdict: mod p first, 50-digit reals for what that cannot settle.

A claim is a function of a :class:`~derive.exact.case.Case` that returns None where it holds and a :class:`Difference`
where it does not.  An :class:`Undefined` means that this draw has no values and another is made; any other error is an
error of the checker and is never caught here, so a crash cannot pass for agreement.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from .abstract import Element
from .case import Case, Cases
from .compile import Array
from .field import AGREE, CaseField, RationalField, RealField, Undefined
from .modular import ModularField
from .verdict import PROVED, REFUTED, UNDECIDED, Finding

TRIES = 40  # draws without values, per case, before giving up on it: counted, so that no verdict depends on the machine
LARGE = 4000  # elements of a case: one with n times as many counts n times
REAL_DRAWS = 2
ORDERED_DRAWS = 8  # where an order was used, which of two is larger is chance: a few draws need not meet each case
FEW_DRAWS = 4  # at which a claim is looked at where its quotients exist
FEW = 2000  # elements of a case of which so many draws are taken
SCALE = 232_792_560  # lcm(1..20): clears the denominators of means before exponentials are compared


@dataclass(frozen=True)
class Difference:
    """Two values that should be equal: where, and what they are, as text."""

    at: str
    left: str
    right: str

    def __str__(self) -> str:
        return f"{self.at}: {self.left} against {self.right}"


Claim: TypeAlias = Callable[[Case], Difference | None]
Outcome: TypeAlias = tuple[Case, Difference | None]


def decide(what: str, cases: Cases, claim: Claim, poles: bool = False) -> Finding:
    """The verdict on one claim over all assignments of the sizes.

    With ``poles``, a claim that has a quotient by 0 at every draw, as that of a distance of a point to itself which a guard
    of another step leaves out, is proved where both sides agree with 1/0 = 0; it is never refuted so.
    """
    started = time.perf_counter()

    def finding(verdict: str, by: str, detail: str = "") -> Finding:
        return Finding(what, verdict, by, time.perf_counter() - started, tuple(cases.assignments), cases.seed, detail)

    doubt, draws = "", REAL_DRAWS
    notes: set[str] = set()
    for n in range(len(cases.assignments)):
        try:
            case, difference = _first_outcome(cases, "modular", n, claim)
        except Undefined as e:
            doubt = str(e)
            break
        if difference is not None:
            if not case.field.used:
                shown = _real_difference(cases, claim) or difference
                return finding(REFUTED, case.field.name, str(shown))
            draws = ORDERED_DRAWS if "order" in case.field.used and _elements(case) <= FEW else REAL_DRAWS
            doubt = f"differs mod p, where {' and '.join(_USED[u] for u in sorted(case.field.used))}"
            break
        notes |= case.notes
    else:
        return finding(PROVED, "exact mod 2**61-1", "; ".join(sorted(notes)))
    agreed = 0
    for n in range(min(2, len(cases.assignments))):
        for _, difference in outcomes(cases, "real", n, claim, draws):
            if difference is not None:
                return finding(REFUTED, "50-digit evaluation", str(difference))
            agreed += 1
    if not agreed and poles and _agrees_off_poles(cases, claim):
        return finding(PROVED, "exact mod 2**61-1", "where its quotients exist")
    if not agreed:
        return finding(UNDECIDED, "nothing", f"{doubt}; and no draw of real inputs gives values")
    return finding(UNDECIDED, "50-digit evaluation", f"agrees to {AGREE} digits at {agreed} draws; {doubt}")


def _agrees_off_poles(cases: Cases, claim: Claim) -> bool:
    """Whether a claim holds mod p at one draw for each assignment when 1/0 is 0."""
    for n in range(len(cases.assignments)):
        held = False
        for case in itertools.islice(cases.each("modular", n), FEW_DRAWS):
            if not isinstance(case.field, ModularField):
                return False
            kept, case.field.poles = dict(case.sides), True
            try:
                held = claim(case) is None
                break
            except Undefined:
                continue
            finally:
                case.field.poles = False
                case.sides = kept
        if not held:
            return False
    return True


_USED = {"atom": "transcendental functions are random atoms", "order": "an order was used", "root": "a root was taken"}


def _first_outcome(cases: Cases, kind: str, n: int, claim: Claim) -> Outcome:
    for found in outcomes(cases, kind, n, claim, 1):
        return found
    raise Undefined("no draw of the inputs gives values")


def outcomes(cases: Cases, kind: str, n: int, claim: Claim, wanted: int) -> Iterator[Outcome]:
    """(case, difference or None) for the first ``wanted`` draws at which the claim has values."""
    found, tries = 0, 0
    failed: Undefined | None = None
    try:
        for case in cases.each(kind, n):
            case.notes = set()
            try:
                difference = claim(case)
            except Undefined as e:
                tries, failed = tries + 1 + _elements(case) // LARGE, e
                if tries >= TRIES:
                    break
                continue
            yield case, difference
            found += 1
            if found == wanted:
                return
    except Undefined as e:
        failed = e
    if kind == "modular" and not found and failed is not None:
        raise failed  # in reals, no values is an answer: the domain may be empty


def _elements(case: Case) -> int:
    return sum(len(a.data) for a in case.arrays.values())


def _real_difference(cases: Cases, claim: Claim) -> Difference | None:
    """The same difference in reals, for a message that people can read; None if reals show none."""
    for _, difference in outcomes(cases, "real", 0, claim, 2):
        if difference is not None:
            return difference
    return None


# -- comparing arrays ----------------------------------------------------------------------------------------------

FLOOR = 1e-6  # reals smaller than this are compared by their absolute difference


def compare(field: CaseField, name: str, left: Array, right: Array) -> Difference | None:
    """The first element at which two arrays differ, or None."""
    magnitude = 1 if field.exact else max((abs(v) for v in (*left.data, *right.data) if abs(v) < math.inf), default=1)
    for at, a, b in zip(left.positions(), left.data, right.data, strict=True):
        if not field.same(a, b, max(magnitude, FLOOR)):
            where = f"{name}[{', '.join(map(str, at))}]" if at else name
            return Difference(where, show(field, a), show(field, b))
    return None


def same_exponentials(field: CaseField, left: Array, right: Array) -> bool:
    """Whether ``exp`` of both sides agrees everywhere mod p, which makes the real sides equal."""
    return all(
        field.exp(((SCALE, a),)) == field.exp(((SCALE, b),))
        for a, b in zip(left.data, right.data, strict=True)
        if a != b
    )


def show(field: CaseField, v: Element) -> str:
    """A value as a person wants it."""
    if isinstance(field, RealField) and not isinstance(field, RationalField):
        return field.mp.nstr(field.mp.mpf(v), 12)
    return str(v)
