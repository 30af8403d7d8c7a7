"""What a wrong gradient looks like in the equations: one element of one equation altered, evaluated, compared.

Our own program is altered, one mistake at a time, and evaluated again; the alteration that gives theirs is the explanation.
An alteration that spoils a gradient that is right in yours is no explanation, and one that gives all your wrong
gradients at once is preferred.  Within one adjoint equation the gradient is linear in the coefficients of its terms, so the
coefficients (0: missing, 2: doubled, -1: wrong sign) are solved for, not tried; so are numbers.  Effects of two
alterations add where they touch different terms, so that pairs are found among those already evaluated.
The search ends after a number of evaluations, never after seconds: its answer does not depend on the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from sympy import Integer, Mul

from derive.derivation.derivation import Derivation
from derive.program.program import Equation

from .candidates import Candidate, Candidates
from .combined import Effect, pair_of, solve
from .constants import Knob, near
from .elements import equation_text, term_text, with_term
from .mistakes import Case, Finder, Mistake
from .paths import COEFFICIENTS, Definition, Definitions, number
from .replay import Changes, Replay, points
from .weighed import weighed

BUDGET = 1500  # evaluations of altered programs for one report
WORK = 600_000_000  # grid points that they may visit together: large inputs are searched less far
STAGE = 450  # of them for one kind of mistake, so that no kind starves the next
CLOSE = 0.2  # of a number: steps so short end near a short number, if one was meant
PAIRABLE = 4  # entries that a gradient needs for two alterations to be told from chance


class Alterations:
    """The search for the mistakes behind some wrong gradients of one derivation at one sample.

    ``targets`` maps the label of each result to its tensor; ``right`` are the labels of those that agree.
    """

    def __init__(self, d: Derivation, arrays: dict[str, Any], sizes: dict, targets: dict[str, str]):
        self.d, self.arrays, self.sizes, self.targets = d, arrays, sizes, targets
        self.replay = Replay(d.program, arrays, sizes)
        self._plain: Replay | None = None
        self.budget = max(60, min(BUDGET, WORK // max(points(d.program, sizes), 1)))
        self.spent = 0
        self.definitions: Definitions | None = None
        self.pending: dict[str, Case] = {}
        self.right: dict[str, Case] = {}
        self.found: dict[str, Mistake] = {}
        self.fallback: dict[str, Mistake] = {}
        self.effects: list[Effect] = []
        self._terms: dict[str, list] = {}
        self._upstream: dict[str, list[Equation]] = {}

    @property
    def unstabilized(self) -> Replay:
        """With every stabilizing maximum at 0 where the sample allows it: a sum over other axes then means itself."""
        if self._plain is None:
            own = {e.name for e in self.d.source.equations}
            maxima = {e.name for e in self.d.program.equations if e.reduce == "max" and e.name not in own}
            zeros = {n: np.zeros_like(self.replay.base[n]) for n in maxima}
            plain = Replay(self.d.program, self.arrays, self.sizes, zeros) if maxima else self.replay
            same = all(np.allclose(plain.base[n], self.replay.base[n], rtol=1e-9) for n in self.targets.values())
            self._plain = plain if same else self.replay
        return self._plain

    # -- the search ----------------------------------------------------------------------------------------------------

    def explain(
        self, wrong: Iterable[Case], right: Iterable[Case], early: tuple[Finder, ...] = ()
    ) -> dict[str, Mistake]:
        """A mistake for each wrong gradient that an alteration explains.  ``early`` finders look at arrays, halfway."""
        self.pending = {c.name: c for c in wrong}
        self.right = {c.name: c for c in right}
        tried = Candidates(self.d, self.sizes, self.replay)
        needed = {e.name for n in (*self.pending, *self.right) for e in self.upstream(n)}
        self._by_terms()
        self._stage(tried.elements(self.suspects()))
        self._stage(tried.readings(self.suspects(), needed, self._numbers))
        for name, case in list(self.pending.items()):
            found = next((m for finder in early if (m := finder(case)) is not None), None)
            if found is not None:
                self._settle({name: found})
        self._by_definition()
        self._stage(tried.tensors(self.suspects()))
        self._stage(tried.uses(self._users()))
        self._by_coefficients()
        self._by_pairs()
        self._stage(tried.elsewhere(self.suspects(within=False), needed, self._numbers))
        self._settle(self.fallback)
        self._partly()
        return self.found

    def _settle(self, mistakes: dict[str, Mistake]) -> None:
        for name, mistake in mistakes.items():
            if self.pending.pop(name, None) is not None:
                self.found[name] = mistake

    def _stage(self, candidates: Iterator[Candidate]) -> None:
        """Evaluate candidates until every wrong gradient is explained by one, or there are no more."""
        tentative: dict[str, Mistake] = {}
        limit = min(self.budget, self.spent + STAGE)
        for candidate in candidates if self.pending else ():
            if self.spent >= limit:
                break
            gradients = self.evaluate(candidate)
            if gradients is not None and self._offer(candidate, gradients, tentative):
                break
        self._settle(tentative)

    def evaluate(self, candidate: Candidate) -> dict[str, np.ndarray] | None:
        self.spent += 1
        replay = self.unstabilized if candidate.plain else self.replay
        values = replay.run(candidate.changed, candidate.known)
        return None if values is None else {n: values[t] for n, t in self.targets.items()}

    def _offer(self, candidate: Candidate, gradients: dict, tentative: dict[str, Mistake]) -> bool:
        """Whether the candidate explains everything that is pending; what it explains of it is kept."""
        explained = [n for n, c in self.pending.items() if c.fits(gradients[n])]
        clean = all(c.agrees(gradients[n]) for n, c in self.right.items())
        if clean:
            self.effects.append(Effect(candidate, gradients))
        for n in explained:
            (tentative if clean else self.fallback).setdefault(n, Mistake(candidate.kind, candidate.text))
        if clean and explained and len(explained) == len(self.pending):
            tentative.update({n: Mistake(candidate.kind, candidate.text) for n in explained})
            return True
        return False

    # -- which equations -----------------------------------------------------------------------------------------------

    def upstream(self, label: str) -> list[Equation]:
        """The equations a gradient depends on, nearest first."""
        if label not in self._upstream:
            found: list[Equation] = []
            todo = [self.targets[label]]
            while todo:
                e = self.d.program.equation(todo.pop(0))
                if e is not None and e not in found:
                    found.append(e)
                    todo += sorted((t.name for t in e.tensors()), key=lambda n: -self._number(n))
            self._upstream[label] = found
        return self._upstream[label]

    def _number(self, name: str) -> int:
        e = self.d.program.equation(name)
        return e.number if e is not None else 0

    def suspects(self, within: bool = True) -> list[Equation]:
        """Equations of the wrong gradients, last first: those that no right gradient depends on (or the others)."""
        wrong = {e.name for n in self.pending for e in self.upstream(n)}
        clear = {e.name for n in self.right for e in self.upstream(n)}
        shared = (
            set.intersection(*({e.name for e in self.upstream(n)} for n in self.pending)) if self.pending else set()
        )
        some = [e for e in reversed(self.d.program.equations) if e.name in wrong and (e.name not in clear) == within]
        return sorted(some, key=lambda e: e.name not in shared)

    def _users(self) -> list[Equation]:
        """Equations that only wrong gradients depend on, last first."""
        clear = {e.name for n in self.right for e in self.upstream(n)}
        wrong = {e.name for n in self.pending for e in self.upstream(n)}
        return [f for f in reversed(self.d.program.equations) if f.name in wrong - clear]

    # -- terms, solved for ---------------------------------------------------------------------------------------------

    def _without(self, e: Equation) -> list[dict | None]:
        """For each term of an equation, the gradients without it."""
        if e.name not in self._terms:
            zeroed = [with_term(e, n, replace(t, coef=Integer(0))) for n, t in enumerate(e.terms)]
            self._terms[e.name] = [self.evaluate(Candidate("", "", {e.name: (z,)})) for z in zeroed]
        return self._terms[e.name]

    def _by_terms(self) -> None:
        for name, case in list(self.pending.items()):
            for e in self.upstream(name):
                if e.reduce is None and len(e.terms) > 1 and self.spent < self.budget:
                    found = self._wrong_terms(e, name, case)
                    if found is not None:
                        self._settle({name: found})
                        break

    def _wrong_terms(self, e: Equation, name: str, case: Case) -> Mistake | None:
        parts = [p for p in self._without(e) if p is not None]
        if len(parts) < len(e.terms):
            return None
        wanted = solve([(case.ours - p[name]).ravel() for p in parts], (case.theirs - case.ours).ravel())
        if wanted is None or all(c == 1 for c in wanted):
            return None

        def moved(n: str, ours: np.ndarray) -> np.ndarray:
            return ours + sum(((c - 1) * (ours - p[n]) for c, p in zip(wanted, parts, strict=True)), np.zeros(()))

        if not case.fits(moved(name, case.ours)):
            return None
        said = [f"the term {term_text(e, n)} {COEFFICIENTS[c]}" for n, c in enumerate(wanted) if c != 1]
        kind = {0: "missing term", 2: "doubled term", -1: "sign of a term"}[next(c for c in wanted if c != 1)]
        mistake = Mistake(kind, f"in {equation_text(e)}, {' and '.join(said)}")
        if all(c.agrees(moved(n, c.ours)) for n, c in self.right.items()):
            return mistake
        self.fallback.setdefault(name, mistake)
        return None

    def _by_coefficients(self) -> None:
        limit = min(self.budget, self.spent + STAGE)
        for name, case in list(self.pending.items()):
            tried = weighed(case, self.right, self.upstream(name), self.d.program, self.sizes, self.evaluate)
            for mistake in tried:
                if mistake is not None:
                    self._settle({name: mistake})
                if mistake is not None or self.spent >= limit:
                    break

    def coefficient_of(self, case: Case) -> str | None:
        """Where a constant factor comes from: a coefficient of a whole equation whose absence gives theirs."""
        for e in self.upstream(case.name):
            for part in Mul.make_args(e.terms[0].coef) if e.terms else ():
                if part in (1, -1) or any(part not in Mul.make_args(t.coef) for t in e.terms):
                    continue
                divided = replace(e, terms=tuple(replace(t, coef=t.coef / part) for t in e.terms))
                gradients = self.evaluate(Candidate("", "", {e.name: (divided,)}))
                if gradients is not None and case.fits(gradients[case.name]):
                    return f"missing {part} of {equation_text(e)}"
        return None

    # -- numbers, solved for -------------------------------------------------------------------------------------------

    def _numbers(self, knob: Knob) -> list[float]:
        """The values of a number that may be theirs, short ones first; no long ones for so few entries that any fit."""
        value = self._solved(knob) if self.pending else None
        if value is None:
            return []
        short = max(c.ours.size for c in self.pending.values()) < PAIRABLE
        return [v for v in near(value, short) if knob.allows(v)]

    def _solved(self, knob: Knob) -> float | None:
        """The value of a number at which a wrong gradient is theirs, by secants along what the number changes."""
        altered = set(knob.make(number(knob.start)))
        moved = [c for n, c in self.pending.items() if any(e.name in altered for e in self.upstream(n))]
        if not moved:
            return None
        case = max(moved, key=lambda c: c.ours.size)
        at, before, value = knob.start, case.ours, knob.start + knob.step
        for _ in range(6):
            if self.spent >= self.budget or not np.isfinite(value) or abs(value) > 1e6 * max(1.0, abs(knob.start)):
                return None
            gradients = self.evaluate(Candidate("", "", knob.make(number(value))))
            if gradients is None or not np.all(np.isfinite(gradients[case.name])):
                return None
            here = gradients[case.name]
            slope = (here - before) / (value - at)
            gap = case.theirs - here
            size = float(np.sum(slope * slope))
            if size == 0.0:
                return self._tried(knob, case) if at == knob.start else None
            if case.fits(here):
                return value
            if at == knob.start and abs(float(np.sum(slope * gap))) < 0.5 * np.sqrt(size * float(np.sum(gap * gap))):
                return None  # it moves the gradient another way
            at, before, value = value, here, value + float(np.sum(slope * gap)) / size
            if abs(value - at) < CLOSE * abs(value):
                for short in near(value, short=True):  # a threshold is met at no other number
                    gradients = self.evaluate(Candidate("", "", knob.make(number(short))))
                    if gradients is not None and case.fits(gradients[case.name]):
                        return short
            if abs(value - at) <= 1e-13 * max(1.0, abs(value)):
                return None
        return None

    def _tried(self, knob: Knob, case: Case) -> float | None:
        """A number that moves nothing at this sample, as a threshold that none reaches: others that people write."""
        start = knob.start
        for value in (1.0, 2.0, 0.5, 2 * start, start / 2, 0.0) if knob.is_threshold else ():
            gradients = self.evaluate(Candidate("", "", knob.make(number(value))))
            if gradients is not None and case.fits(gradients[case.name]):
                return value
        return None

    # -- the definitions -----------------------------------------------------------------------------------------------

    def _by_definition(self) -> None:
        cases = [c for c in self.pending.values() if c.name in self.arrays and c.name in {t.name for t in self.d.wrt}]
        if not cases or self.d.kind not in ("backprop", "vjp"):
            return
        self.definitions = self.definitions or Definitions(self.d, self.arrays, self.sizes)
        for case in sorted(cases, key=lambda c: -c.ours.size):
            for source in (self.definitions.paths, self.definitions.altered):
                if case.name in self.pending:
                    self._defined(case, source)
            if case.name in self.pending:
                self._defined_number(case)

    def _defined(self, case: Case, source: Callable[[], Iterator[Definition]]) -> None:
        defs, limit = self._defs(), min(self.budget, self.spent + STAGE)
        for x in source():
            if self.spent >= limit:
                return
            self.spent += 1
            times = defs.times(case, x)
            if times is None:
                continue
            how = f" {COEFFICIENTS[times]}" if x.path else ""
            shown = equation_text(x.equation)
            text = (x.text.replace("{equation}", shown) if "{equation}" in x.text else f"in {shown}, {x.text}") + how
            if self._confirmed(case, Mistake(x.kind, text), x.changed, times):
                return

    def _confirmed(self, case: Case, mistake: Mistake, changed: Changes, times: int = 0) -> bool:
        """Settle every wrong gradient that altered definitions give, unless they spoil a right one."""
        defs = self._defs()
        told = {n: c for n, c in self.pending.items() if n in self.arrays}
        explained = [n for n, c in told.items() if c is case or defs.explains(c, changed, times)]
        right = [c for n, c in self.right.items() if n in self.arrays]
        if all(defs.explains(c, changed, times, c.ours) for c in right):
            self._settle(dict.fromkeys(explained, mistake))
            return True
        self.fallback.update({n: mistake for n in explained if n not in self.fallback})
        return False

    def _defined_number(self, case: Case) -> None:
        defs = self._defs()
        for knob in defs.knobs():
            if self.spent >= self.budget:
                return
            self.spent += 1
            value = defs.solved(case, knob, case.ours.size < PAIRABLE)
            if value is not None:
                shown = equation_text(defs.numbered(knob.equation))
                text = f"in {shown}, {knob.text(f'{value:.6g}')} (forward and backward)"
                if self._confirmed(case, Mistake(knob.kind, text), knob.make(number(value))):
                    return

    def _defs(self) -> Definitions:
        if self.definitions is None:
            self.definitions = Definitions(self.d, self.arrays, self.sizes)
        return self.definitions

    # -- two at once ---------------------------------------------------------------------------------------------------

    def _by_pairs(self) -> None:
        """Two alterations whose effects add up to the difference; the pair of one kind first."""
        for name, case in list(self.pending.items()):
            if case.ours.size < PAIRABLE:
                continue
            pair = pair_of(self.effects, name, case)
            if pair is not None:
                kinds = {pair[0].kind, pair[1].kind}
                self._settle(
                    {
                        name: Mistake(
                            kinds.pop() if len(kinds) == 1 else "two mistakes", f"{pair[0].text}; and {pair[1].text}"
                        )
                    }
                )

    def _partly(self) -> None:
        """A gradient that is still unexplained, where the mistake found in another explains most of its entries."""
        told = {m.text for m in self.found.values()}
        for name, case in list(self.pending.items()):
            wrong = case.wrong(case.ours)
            for x in self.effects:
                left = case.wrong(x.gradients[name])
                if x.candidate.text in told and 0 < left.sum() <= wrong.sum() / 2:
                    text = f"{x.candidate.text}; that explains all but {left.sum()} of {left.size} entries of {name}"
                    self._settle({name: Mistake(x.candidate.kind, text)})
                    break
