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
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sympy import Integer, Mul

from derive.derivation.derivation import Derivation
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Row, Term
from numerics.reference.definitions import size_value, term_value

from .axes import wrong_axes
from .constants import Knob, added, free_constants, knobs, near, outside_the_root
from .elements import (
    Element,
    alike,
    condition_text,
    conditions,
    elements,
    equation_text,
    relations,
    term_text,
    unconditioned,
    with_term,
)
from .mistakes import Case, Mistake
from .paths import COEFFICIENTS, Definition, Definitions, number
from .readings import displaced_reads, exchanged, other_sizes, other_tensors, shifted_reads
from .replay import Changes, Replay, points

BUDGET = 1500  # evaluations of altered programs for one report
WORK = 600_000_000  # grid points that they may visit together: large inputs are searched less far
STAGE = 450  # of them for one kind of mistake, so that no kind starves the next
CLOSE = 0.2  # of a number: steps so short end near a short number, if one was meant
PAIRABLE = 4  # entries that a gradient needs for two alterations to be told from chance


@dataclass(frozen=True)
class Candidate:
    """A mistake planted in the program: what it is called, and what stands in the place of which equations."""

    kind: str
    text: str
    changed: Changes
    known: dict[str, np.ndarray] = field(default_factory=dict)
    plain: bool = False  # to be evaluated without stabilizing maxima


@dataclass(frozen=True)
class Effect:
    """What a candidate makes of the gradients."""

    candidate: Candidate
    gradients: dict[str, np.ndarray]


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

    def explain(self, wrong: Iterable[Case], right: Iterable[Case], early=()) -> dict[str, Mistake]:
        """A mistake for each wrong gradient that an alteration explains.  ``early`` finders look at arrays, halfway."""
        self.pending = {c.name: c for c in wrong}
        self.right = {c.name: c for c in right}
        self._by_terms()
        for stage in (self._elements, self._readings):
            self._stage(stage())
        for name, case in list(self.pending.items()):
            found = next((m for finder in early if (m := finder(case)) is not None), None)
            if found is not None:
                self._settle({name: found})
        self._by_definition()
        for stage in (self._tensors, self._uses):
            self._stage(stage())
        self._by_pairs()
        self._stage(self._elsewhere())
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

    # -- candidates ----------------------------------------------------------------------------------------------------

    def _elements(self) -> Iterator[Candidate]:
        suspects = self.suspects()
        for text, changed in self._dropped():
            yield Candidate("missing condition", text, changed)
        yield from self._conditions(suspects)
        for e in suspects:
            yield from (_alone(e, x) for x in elements(e))
        for e in suspects:
            yield from self._assigned(e)

    def _readings(self) -> Iterator[Candidate]:
        suspects = self.suspects()
        for e in suspects:
            yield from (_alone(e, x) for x in (*exchanged(e), *other_sizes(e, self.sizes)))
        yield from self._axes(suspects)
        yield from self._numbers(suspects)
        for e in suspects:
            yield from (_alone(e, x) for x in displaced_reads(e))

    def _tensors(self) -> Iterator[Candidate]:
        suspects = self.suspects()
        for e in suspects:
            yield from (_alone(e, x) for x in other_tensors(e, self.d.program))
        for e in suspects:
            yield from (_alone(e, x) for x in shifted_reads(e))

    def _elsewhere(self) -> Iterator[Candidate]:
        """Equations that right gradients depend on, too: where these were computed apart."""
        suspects = self.suspects(within=False)
        yield from self._conditions(suspects)
        for e in suspects:
            yield from (_alone(e, x) for x in (*elements(e), *other_sizes(e, self.sizes)))
        yield from self._numbers(suspects)

    def _conditions(self, suspects: list[Equation]) -> Iterator[Candidate]:
        """A condition replaced wherever it stands; then in one equation alone."""
        for e in suspects:
            for text, change in conditions(e):
                everywhere = {q.name: (c,) for q in self.d.program.equations if (c := change(q)) != q}
                yield Candidate("condition", f"in {equation_text(e)}, {text}", everywhere)
                if len(everywhere) > 1:
                    yield Candidate("condition", f"in {equation_text(e)} alone, {text}", {e.name: everywhere[e.name]})

    def _dropped(self) -> Iterator[tuple[str, Changes]]:
        """The conditions of one kind dropped in all equations: a mask forgotten altogether."""
        rows = [r for e in self.d.program.equations for t in e.terms for r in (*t.rows, *e.guards)]
        kinds: list[Row] = []
        for row in rows:
            if row.op in ("<", "<=") and not any(alike(row, k) for k in kinds):
                kinds.append(row)
        for kind in kinds:
            changed: dict[str, tuple[Equation, ...]] = {}
            for e in self.d.program.equations:
                terms = tuple(replace(t, rows=tuple(r for r in t.rows if not alike(r, kind))) for t in e.terms)
                guards = tuple(g for g in e.guards if not alike(g, kind))
                if terms != e.terms or guards != e.guards:
                    changed[e.name] = (replace(e, terms=terms, guards=guards),)
            where = ", ".join(f"({self._number(n)})" for n in changed)
            some = " and ".join(sorted({str(r) for r in rows if alike(r, kind)}))
            yield f"the condition {some} is missing in {where}", changed
        for c, e in {c: q for q in self.d.program.equations for c in relations(q)}.items():
            changed = {q.name: (x,) for q in self.d.program.equations if (x := unconditioned(q, c)) != q}
            if changed:
                where = ", ".join(f"({self._number(n)})" for n in changed)
                yield f"the condition {condition_text(e, c)} is missing in {where}", changed

    def _axes(self, suspects: list[Equation]) -> Iterator[Candidate]:
        needed = {e.name for n in (*self.pending, *self.right) for e in self.upstream(n)}
        for e in suspects:
            for moved in wrong_axes(e, self.d.program, needed):
                yield Candidate("wrong axis", f"{equation_text(e)} {moved.text}", moved.changed, plain=True)

    def _numbers(self, suspects: list[Equation]) -> Iterator[Candidate]:
        """Numbers are solved for; what is yielded fits already, or nearly."""
        names = {e.name for e in suspects}
        everywhere = [
            e for e in self.d.program.equations if any(e.name == u.name for n in self.pending for u in self.upstream(n))
        ]
        some = [k for k in knobs(everywhere) if any(n in names for n in k.make(number(k.start)))]
        some += [k for e in suspects for k in (*free_constants(e), *added(e))]
        for knob in some:
            value = self._solved(knob)
            for v in near(value, self._short()) if value is not None else ():
                text = f"in {equation_text(knob.equation)}, {knob.text(f'{v:.6g}')}"
                yield Candidate(knob.kind, text, knob.make(number(v)))
        for e in suspects:
            for said, changed in outside_the_root(e, self.d.program.equation):
                text = f"in {equation_text(e)}, {said}; yours fits it added outside of the root"
                yield Candidate("constant", text, changed)

    def _short(self) -> bool:
        """Whether there are so few entries that any number could be fitted to them."""
        return max(c.ours.size for c in self.pending.values()) < PAIRABLE

    def _solved(self, knob: Knob) -> float | None:
        """The value of a number at which a wrong gradient is theirs, by secants along what the number changes."""
        case = max(self.pending.values(), key=lambda c: c.ours.size)
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
                return None
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

    def _uses(self) -> Iterator[Candidate]:
        """An equation altered as one of its consumers reads it, the others reading the right one."""
        clear = {e.name for n in self.right for e in self.upstream(n)}
        wrong = {e.name for n in self.pending for e in self.upstream(n)}
        users = [f for f in reversed(self.d.program.equations) if f.name in wrong - clear]
        for text, changed in self._stale():
            values = self.replay.run(changed)
            if values is None:
                continue
            for f in users:
                for t in f.tensors():
                    if (
                        t.name in values
                        and t.name not in changed.get(f.name, ())
                        and _differs(values, self.replay.base, t.name)
                    ):
                        said = f"{t.name} as {equation_text(f)} uses it comes from a forward where {text}"
                        yield Candidate("stale value", said, *_seen(f, t, values[t.name]))
        for e in self.d.program.equations:
            reading = [f for f in users if f is not e and e.tensor in f.tensors()]
            for x in elements(e) if reading and e.tensor not in e.tensors() else ():
                for f in reading:
                    text = f"in {equation_text(e)} as {equation_text(f)} uses it, {x.text}"
                    yield Candidate(x.kind, text, {f.name: _as_read(f, e, x.equation)})

    def _stale(self) -> Iterator[tuple[str, Changes]]:
        yield from self._dropped()

    def _assigned(self, e: Equation) -> Iterator[Candidate]:
        """Where several positions pick one element, the last contribution alone."""
        picked = _gather_row(e)
        if picked is None:
            return
        row, array, over = picked
        term = e.terms[0]
        rest = tuple(b for b in term.bnd if b not in over)
        free = [*over, *e.idx]
        each = term_value(replace(term, bnd=rest), free, self.replay.base, self.sizes)
        there = term_value(Term(Integer(1), rows=(row,)), free, self.replay.base, self.sizes) > 0
        shape = tuple(size_value(a, self.sizes) for a in e.tensor.axes)
        value = np.zeros(shape)
        for at in np.ndindex(*each.shape[: len(over)]):
            value = np.where(np.broadcast_to(there[at], shape), each[at], value)
        text = f"the contributions of one element that {array} picks several times are assigned (the last one wins), not added"
        yield Candidate("repeated index", f"in {equation_text(e)}, {text}", {e.name: ()}, {e.name: value})

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
            pair = self._pair(name, case)
            if pair is not None:
                kinds = {pair[0].kind, pair[1].kind}
                self._settle(
                    {
                        name: Mistake(
                            kinds.pop() if len(kinds) == 1 else "two mistakes", f"{pair[0].text}; and {pair[1].text}"
                        )
                    }
                )

    def _pair(self, name: str, case: Case) -> tuple[Candidate, Candidate] | None:
        weight = np.random.default_rng(0).normal(size=case.ours.shape)
        moves = [(x.candidate, x.gradients[name] - case.ours) for x in self.effects]
        moves = [(c, m) for c, m in moves if np.all(np.isfinite(m)) and np.any(m)]
        if len(moves) < 2:
            return None
        shares = np.array([float(np.sum(weight * m)) for _, m in moves])
        wanted = float(np.sum(weight * (case.theirs - case.ours)))
        order = np.argsort(shares)
        size = float(np.sum(np.abs(weight))) * max(case.scale, float(np.max(np.abs(case.theirs))))
        slack = 4 * case.tolerance * size
        hits = []
        for n, share in enumerate(shares):
            low, high = np.searchsorted(shares[order], [wanted - share - slack, wanted - share + slack])
            hits += [(n, int(m)) for m in order[low:high] if m > n]
        hits = [(n, m) for n, m in hits if case.fits(case.ours + moves[n][1] + moves[m][1])]
        if not hits:
            return None
        n, m = min(hits, key=lambda h: (moves[h[0]][0].kind != moves[h[1]][0].kind, h))
        return moves[n][0], moves[m][0]

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


def _alone(e: Equation, x: Element) -> Candidate:
    return Candidate(x.kind, f"in {equation_text(e)}, {x.text}", {e.name: (x.equation,)})


def _differs(values: dict, base: dict, name: str) -> bool:
    return name in base and not np.array_equal(values[name], base[name])


def _stand_in(t: Tensor, f: Equation) -> Tensor:
    return Tensor(f"{t.name} as {f.name} reads it", t.axes, t.letters, digest=f"altered:{t.name}:{f.name}")


def _seen(f: Equation, t: Tensor, value: np.ndarray) -> tuple[Changes, dict[str, np.ndarray]]:
    """One consumer reading another value of a tensor."""
    wrong = _stand_in(t, f)
    reads = {r: Read(wrong, *r.idx) for r in f.reads() if r.tensor == t}
    return {f.name: (f.xreplace(reads),)}, {wrong.name: value}


def _as_read(f: Equation, e: Equation, altered: Equation) -> tuple[Equation, ...]:
    """What one consumer becomes when it alone reads an altered equation."""
    wrong = _stand_in(e.tensor, f)
    reads = {r: Read(wrong, *r.idx) for r in f.reads() if r.tensor == e.tensor}
    return replace(altered, tensor=wrong), f.xreplace(reads)


def _gather_row(e: Equation):
    """For ``sum over .. with index[b] = v``: the row, the name of the integer tensor, and the indices it is read at."""
    if e.reduce is not None or len(e.terms) != 1:
        return None
    for row in e.terms[0].rows:
        sides = (row.lhs, row.rhs)
        read = next((s for s in sides if isinstance(s, Read)), None)
        if row.op != "==" or read is None or not any(s in e.idx for s in sides):
            continue
        if set(read.idx) <= set(e.terms[0].bnd):
            return row, read.tensor.name, tuple(i for i in e.terms[0].bnd if i in read.idx)
    return None


def solve(columns: list[np.ndarray], target: np.ndarray) -> list[int] | None:
    """Coefficients in {0, 1, 2, -1} with ``target = sum (c - 1) column``; None where the best are others."""
    matrix = np.stack(columns, axis=1)
    if not np.all(np.isfinite(matrix)):
        return None
    used = np.abs(matrix).max(axis=0) > 0
    best, *_ = np.linalg.lstsq(matrix, target, rcond=1e-9)
    wanted = [int(np.rint(c)) + 1 if u else 1 for c, u in zip(best, used, strict=True)]
    return wanted if all(c in (0, 1, 2, -1) for c in wanted) else None
