"""``d.check()``: the derivation as a whole, every kept step by its own claim, and that the steps lead from end to end.

As a whole: for every tensor W differentiated for, ``<grad W, v>`` of the final program equals the tangent of the author's
loss along a random direction v, the tangent being computed by dual numbers on the definitions as they were written
(:mod:`derive.exact.written`), with rules that the derivation does not share.  Step by step: see :mod:`derive.exact.steps`.
From end to end, and results and facts: see :mod:`derive.exact.record`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from derive.language.errors import DerivationError
from derive.language.naming import adjoint
from derive.language.tensor import Tensor
from derive.language.written import sizes_in
from derive.program.derived import Derived
from derive.program.program import Equation, Program
from derive.program.schedule import Scan, schedule

from . import apart
from .abstract import Element
from .case import Case, Cases, Directions
from .checked import ArrayClaim
from .compile import Array
from .decide import ORDERED_DRAWS, Claim, Difference, compare, decide, outcomes, same_exponentials, show
from .field import NoRoot
from .loops import linear_tensors
from .ordered import max_first, parts
from .record import DERIVATIVES, record_findings
from .sample import TOO_MANY, Sizes, assignments
from .second import second_order_findings
from .steps import Steps, modular_floats, step_name
from .varieties import gathered
from .verdict import REFUTED, UNDECIDED, Evidence, Finding

Key: TypeAlias = int | str  # of a finding: the id of a step, or a group and a name

LABELS = {"grads": "gradient", "outputs": "output"}  # how a row names a group, if not by its own name
FIXED = 32  # axes of so many numbers are not what makes a case large
ALONE = 8  # up to so many gradients are each moved alone; beyond, all move at once


def check_derivation(d: Derived, seed: int = 0) -> Evidence:
    """Check a derivation exactly.

    Parameters
    ----------
    d : Derivation
    seed : int
        Of sizes, inputs, directions and atoms.

    Returns
    -------
    Evidence
        One row per gradient, per other result and per step, and the rows results, steps and facts; also stored, as
        verdicts, in ``d.evidence``.

    Raises
    ------
    DerivationError
        If anything is refuted: names the gradient or the step, its equation, an element and both values.
    """
    started = time.perf_counter()
    evidence = Evidence(d.name)
    checker = Checker(d, seed)
    refuted = []
    for key, finding in checker.all_findings():
        refuted += [(key, finding)] if finding.verdict == REFUTED else []
        evidence.rows.append(finding)
        d.evidence[key] = finding.verdict
    evidence.seconds = time.perf_counter() - started
    if refuted:
        raise DerivationError(checker.explain(refuted[0], evidence))
    return evidence


class Checker:
    """The cases of one derivation and the claims made on them."""

    def __init__(self, d: Derived, seed: int) -> None:
        self.d, self.seed = d, seed
        self.steps = {s.id: s for s in d.steps}
        self.ordered = max_first(d)
        equations = [
            *d.source.equations,
            *d.program.equations,
            *(e for s in d.steps for e in (*s.before, s.after, *s.context)),
        ]
        self.linear = linear_tensors(equations, also=[t.name for _, t in self._values()])
        inputs = tuple(dict.fromkeys((*d.source.inputs, *d.program.inputs)))
        steps = {e.name: g.axis[e.name] for g in schedule(d.source) if isinstance(g, Scan) for e in g.equations}
        written = sizes_in([t for t in d.source.outputs if t.definition is not None])
        self.sizes = Sizes(equations, inputs, steps, written)
        whole = Sizes([*d.source.equations, *d.program.equations], inputs, also=written)
        self.assignments = assignments(self.sizes, seed)
        self.too_large = not self.assignments or whole.cost(self.assignments[0]) > TOO_MANY
        self.cases = Cases(self._forward(), self.assignments, seed, self.linear)
        if not self.too_large:
            self.cases.drop_impossible()
            self.assignments = self.cases.assignments
        few = [*self.assignments[:1], *self.assignments[1:][-1:]]  # the first unequal sizes and the square ones
        self.step_cases = self.cases.some(few)
        self._programs: dict[Case, dict[str, Array]] = {}
        self._plain: dict[Case, dict[str, Array]] = {}

    def _forward(self) -> Program:
        """The source, and the forward values that steps named on the way (a log-sum-exp, say) though none may be left."""
        d = self.d
        known = {t.name for t in d.source.inputs} | {e.name for e in d.source.equations}
        adjoints, made = {t.name for _, t in d.adjoints}, []
        for s in d.steps:
            e = s.after
            if s.claim == "definition" and e.name not in known | adjoints and all(t.name in known for t in e.tensors()):
                known.add(e.name)
                made.append(e)
        return Program(d.source.inputs, (*self.ordered.equations, *made), d.source.outputs)

    def truth(
        self, case: Case, y: Tensor, directions: Directions | None = None, second: Directions | None = None
    ) -> list[Element]:
        """The elements of y from the definitions as they were written; with directions, dual numbers along them.

        Mod p, where steps take a max first, nothing has an order but what they put first: then y is of the source with its
        maxes first, which they make it, after the source itself has been compared with what was written.
        """
        written = case.written(y, directions, second).data
        if not case.field.exact or self.ordered is self.d.source:
            return written
        read, first = (self._arrays_of(case, p, directions, second) for p in (self.d.source, self.ordered))
        if [parts(v) for v in read[y.name].data] != [parts(v) for v in written]:
            return written
        case.notes.add("given the steps that take a max first")
        return first[y.name].data

    def _arrays_of(
        self, case: Case, program: Program, directions: Directions | None, second: Directions | None
    ) -> dict[str, Array]:
        return case.run(program) if directions is None else case.tangent(program, directions, second)

    def all_findings(self) -> Iterator[tuple[Key, Finding]]:
        """The findings, and a row "undecided, by nothing" for every result that none of them is about."""
        found = set()
        for key, finding in self.findings():
            found.add(key)
            yield key, finding
        for key in [] if self.too_large or found == {"results"} else self._result_keys():
            if key not in found:
                yield (
                    key,
                    Finding(
                        key.replace(":", " ", 1),
                        UNDECIDED,
                        "nothing",
                        detail="the exact check knows no claim about this result",
                    ),
                )

    def _result_keys(self) -> Iterator[str]:
        for group, value in self.d.results:
            for key, t in value.items() if isinstance(value, Mapping) else (("", value),):
                if t.is_input:
                    continue
                if group in DERIVATIVES:
                    of = ",".join(key) if isinstance(key, tuple) else key
                    yield f"{LABELS.get(group, group)}:{of}"
                else:
                    yield f"{LABELS.get(group, group)}:{t.name}"

    def findings(self) -> Iterator[tuple[Key, Finding]]:
        """(key, Finding) for each gradient, each other result, each step, and what is recorded of them, in this order."""
        recorded = dict(record_findings(self.d))
        if recorded["results"].verdict == REFUTED:  # of other tensors than they say, so nothing else is about them
            yield "results", recorded["results"]
            return
        if self.too_large:
            found = apart.step_findings(self)
            yield (
                "whole",
                Finding(
                    "the whole derivation",
                    UNDECIDED,
                    "nothing",
                    detail=f"{self._why_too_large()}; {apart.count(found)}",
                ),
            )
            yield from found
            yield from recorded.items()
            return
        if any(group == "grads" for group, _ in self.d.results):
            yield from self.gradient_findings()
        yield from second_order_findings(self)
        for label, t in self._values():
            yield f"{label}:{t.name}", decide(f"{label} {t.name}", self.cases, self.value_claim(t))
        steps = Steps(self)
        for s in self.d.steps:
            yield s.id, decide(step_name(s), self.step_cases, steps.claim(s), poles=True)
        yield from recorded.items()

    def _why_too_large(self) -> str:
        if not self.assignments:
            return "no small sizes make every derived size a positive whole number"
        if self.sizes.names and not any(a.is_Integer and a > FIXED for t in self.sizes.tensors for a in t.axes):
            chosen = " ".join(f"{n}={v}" for n, v in self.assignments[0].items())
            return f"too large for an exact evaluation, since even the smallest telling sizes found are {chosen}"
        return "its fixed sizes are too large for an exact evaluation; make them symbolic (names instead of numbers)"

    def target_adjoint(self, case: Case) -> list[Element]:
        """The adjoint of the target itself: 1 for a loss, the cotangent of a vjp."""
        return [case.field.one] if self.d.seed is None else case.array(self.d.seed).data

    # -- whole ------------------------------------------------------------------------------------------------------

    def _values(self) -> Iterator[tuple[str, Tensor]]:
        """Results that are values of the author's own definitions: the loss, the outputs."""
        d = self.d
        for group, value in d.results:
            if group in DERIVATIVES:
                continue
            for t in value.values() if isinstance(value, Mapping) else (value,):
                if d.source.equation(t) is not None and d.program.equation(t) is not None:
                    yield LABELS.get(group, group), t

    def gradient_findings(self) -> Iterator[tuple[Key, Finding]]:
        names = list(self.d.gradients)
        if len(names) > ALONE:
            together = decide(f"all {len(names)} gradients", self.cases, self.gradient_claim(names))
            if together.verdict != REFUTED:
                for n in names:
                    yield (
                        f"gradient:{n}",
                        Finding(
                            f"gradient {n}",
                            together.verdict,
                            together.by,
                            together.seconds / len(names),
                            together.sizes,
                            self.seed,
                            together.detail or f"with all {len(names)} moved at once",
                        ),
                    )
                return
        for n in names:
            yield f"gradient:{n}", decide(f"gradient {n}", self.cases, self.gradient_claim([n]))

    def program_arrays(self, case: Case) -> dict[str, Array]:
        """All tensors of the final program in a case."""
        if case not in self._programs:
            self._programs[case] = case.run(self.d.program)
        return self._programs[case]

    def plain_arrays(self, case: Case) -> dict[str, Array] | None:
        """The final program before its log-domain steps, which claim exp-equality and are checked by themselves.

        Mod p a log is an atom, so ``m + log sum exp(u - m)`` and ``log sum exp u`` are different numbers whose
        exponentials agree; None when there is no such step.
        """
        shifted = {s.after.name: s for s in self.d.steps if s.claim == "exp-equal"}
        if not shifted:
            return None
        if case not in self._plain:
            equations = {e.name: e for e in self.d.program.equations}
            equations |= {n: s.before[0] for n, s in shifted.items()}
            known = {e.name: e for e in (*(s.after for s in self.d.steps), *self.d.source.equations)}
            todo = list(equations.values())
            while todo:
                for t in todo.pop().tensors():
                    if t.name not in equations and t.name in known:
                        equations[t.name] = known[t.name]
                        todo.append(known[t.name])
            self._plain[case] = case.run(Program(self.d.program.inputs, tuple(equations.values())))
        return self._plain[case]

    def either(self, case: Case, claim: ArrayClaim) -> Difference | None:
        """The outcome of a claim about the final program's arrays, with its log-domain steps or, mod p, without."""
        found: Difference | None = None
        rootless: NoRoot | None = None
        try:
            found = claim(self.program_arrays(case))
        except NoRoot as error:  # where its logarithms are other atoms, its roots are others too
            rootless = error
        if rootless is None and (found is None or not case.field.exact):
            return found
        plain = self.plain_arrays(case)
        if plain is None or claim(plain) is not None:
            if rootless is not None:
                raise rootless
            return found
        case.notes.add("given the log-domain steps")
        return None

    def gradient_claim(self, names: Sequence[str]) -> Claim:
        """<grad, v> summed over ``names`` equals the tangent of the source along v."""
        d = self.d
        wrt = {t.name: t for t in d.wrt}

        def claim(case: Case) -> Difference | None:
            tangent = self.source_tangent(case, {n: case.moved(wrt[n]) for n in names})
            gradients = {n: d.gradients[n] for n in names}
            return self.either(case, lambda arrays: self.along(case, arrays, gradients, wrt, tangent))

        return claim

    def along(
        self,
        case: Case,
        arrays: Mapping[str, Array],
        gradients: Mapping[str, Tensor],
        wrt: Mapping[str, Tensor],
        tangent: Element,
    ) -> Difference | None:
        total = case.field.zero
        for n, g in gradients.items():
            total = case.field.add(total, case.inner(arrays[g.name].data, case.direction(wrt[n])))
        if case.field.same(total, tangent):
            return None
        return Difference(
            f"along a random direction of {', '.join(gradients)}",
            f"derived {show(case.field, total)}",
            f"true {show(case.field, tangent)}",
        )

    def source_tangent(self, case: Case, directions: Directions) -> Element:
        """The tangent of the author's loss; of ``<dy, y>`` for a vjp."""
        d = self.d
        out = self.truth(case, d.loss, directions)
        return case.inner(self.target_adjoint(case), [case.field.zero if v[1] is None else v[1] for v in out])

    def locate(self, name: str) -> Difference | None:
        """The first element of a wrong gradient, found by moving one element of the tensor at a time."""
        x = next(t for t in self.d.wrt if t.name == name)

        def claim(case: Case) -> Difference | None:
            F, gradient = case.field, self.program_arrays(case)[self.d.gradients[name].name]
            for k, at in enumerate(gradient.positions()):
                unit = [F.one if j == k else F.zero for j in range(len(case.array(x).data))]
                true = self.source_tangent(case, {name: gathered(x, unit, F, case.array(x).shape)})
                if not F.same(gradient.data[k], true):
                    where = adjoint(name) + (f"[{', '.join(map(str, at))}]" if at else "")
                    return Difference(where, f"derived {show(F, gradient.data[k])}", f"true {show(F, true)}")
            return None

        for kind in ("real", "modular"):
            for _, found in outcomes(self.cases, kind, 0, claim, ORDERED_DRAWS if kind == "real" else 1):
                if found:
                    return found
        return None

    def value_claim(self, t: Tensor) -> Claim:
        """A result of the final program has the value of its definition in the source."""

        def claim(case: Case) -> Difference | None:
            shape = case.array(t).shape
            true = Array(shape, self.truth(case, t))

            def agrees(arrays: Mapping[str, Array]) -> Difference | None:
                found = compare(case.field, t.name, arrays[t.name], true)
                if found and modular_floats(case, t) and same_exponentials(case.field, arrays[t.name], true):
                    return None
                return found

            return self.either(case, agrees)

        return claim

    def all_arrays(self, case: Case) -> dict[str, Array]:
        """Every array of a case: the source's, the final program's, and adjoints that were written out of it."""
        return {**case.arrays, **self.extended(case, self.d.adjoint_equations.values())}

    def extended(self, case: Case, equations: Iterable[Equation]) -> dict[str, Array]:
        known = dict(self.program_arrays(case))
        for e in equations:
            if (
                e.name not in known
                and e.name not in case.arrays
                and all(t.name in known or t.name in case.arrays for t in e.tensors())
            ):
                known[e.name] = case.machine(e.tensors(), known).result(e)
        return known

    def explain(self, refuted: tuple[Key, Finding], evidence: Evidence) -> str:
        """The message of the error for one refuted row."""
        key, row = refuted
        lines = [f"{self.d.name}: {row.what} is refuted by {row.by}"]
        if not str(key).startswith("gradient:"):
            lines.append(f"  {row.detail}")
        if isinstance(key, int):
            s = self.steps[key]
            lines += [*(f"  before  {b}" for b in s.before), f"  after   {s.after}"]
        if str(key).startswith("gradient:"):
            name = str(key).removeprefix("gradient:")
            equation = self.d.program.equation(self.d.gradients[name]) or self.d.adjoint_equations[name]
            lines += [f"  {self.locate(name) or row.detail}", f"  equation  {equation}"]
        others = [r.what for r in evidence.rows if r.verdict == REFUTED and r is not row]
        if others:
            lines.append(f"  also refuted: {', '.join(others[:8])}{' ...' if len(others) > 8 else ''}")
        return "\n".join(lines)
