"""``d.compare(W, expr)``: is a gradient that somebody wrote the derived one, and if not, what is wrong.

The comparison is exact (mod p, 50-digit reals for the rest).  A refuted expression is explained by trying, exactly, the
mistakes people make: a sign, a constant factor, a transpose, a missing, doubled or mis-signed term, a shifted index.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Protocol, TypeAlias

import sympy
from sympy import Expr, Integer, Mul, Rational

from derive.language.define import define
from derive.language.errors import DeriveError
from derive.language.facts import structure_of
from derive.language.index import Index
from derive.language.naming import primed
from derive.language.printing import line
from derive.language.tensor import Tensor
from derive.language.text.parse import parse_expression
from derive.program.derived import Derived
from derive.program.ingest import ingest
from derive.program.program import Equation, Program

from .abstract import Element
from .case import Case
from .check import Checker
from .compile import Array, additive_terms, size_value
from .decide import Difference, compare, decide
from .field import CaseField, RealField, Undefined
from .loops import linear_tensors
from .varieties import gathered
from .verdict import PROVED, REFUTED

Pairs: TypeAlias = Sequence[tuple[Case, Array, Array]]  # our gradient and the given one, in several cases

MOST_TERMS = 8  # subsets of up to this many terms are tried


class Printer(Protocol):
    """IPython's, as far as it is used."""

    def text(self, text: str, /) -> None: ...


@dataclass(frozen=True)
class Comparison:
    """The answer of ``d.compare``; truthy when both are the same function.

    ``verdict`` is "proved", "refuted" or "undecided" (50-digit values agree, where the exact field cannot tell);
    ``difference`` names the first element that differs and both values, ``mistake`` what explains it, when known.
    """

    tensor: str
    verdict: str
    by: str
    difference: str = ""
    mistake: str = ""
    detail: str = ""

    def __bool__(self) -> bool:
        return self.verdict == PROVED or (self.verdict != REFUTED and self.by == "50-digit evaluation")

    def __str__(self) -> str:
        head = (
            f"gradient of {self.tensor}: {'the same function' if self else 'not the same function'}"
            f" ({self.verdict}, {self.by})"
        )
        more = [f"  {self.difference}"] if self.difference else []
        more += [f"  {self.mistake}"] if self.mistake else []
        return "\n".join([head, *more, *([f"  {self.detail}"] if self.detail and self.verdict != REFUTED else [])])

    def _repr_pretty_(self, printer: Printer, cycle: bool) -> None:
        printer.text(str(self))


def compare_gradient(d: Derived, name: str, ours: Equation, expr: Expr | Tensor | str, seed: int = 0) -> Comparison:
    """Compare an expression with the derived gradient of the tensor named ``name``, which is the equation ``ours``.

    Parameters
    ----------
    d : Derived
    name : str
    ours : Equation
    expr : SymPy expression over the tensor's own index letters, or its text
        It may read any tensor of the derivation and hold ``Sum`` and ``Max``.
    seed : int

    Returns
    -------
    Comparison

    Raises
    ------
    DeriveError
        For an expression that is not one, with free indices the gradient does not have, and so on.
    """
    checker = Checker(d, seed)
    if checker.too_large:
        raise DeriveError(f"compare: {checker._why_too_large()}")
    theirs = _as_program(d, ours, expr)
    checker.cases.take_apart(linear_tensors(theirs.equations))
    trial = Trial(checker, ours, theirs)
    finding = decide(f"gradient {name}", checker.cases, trial.claim)
    if finding.verdict != REFUTED:
        return Comparison(name, finding.verdict, finding.by, detail=finding.detail)
    return Comparison(name, finding.verdict, finding.by, finding.detail, trial.mistake())


def _as_program(d: Derived, ours: Equation, expr: Expr | Tensor | str) -> Program:
    """The program that computes ``expr`` over the gradient's own letters."""
    known = {t.name: t for p in (d.program, d.source) for t in (*p.inputs, *(e.tensor for e in p.equations))}
    if isinstance(expr, str):
        expr = parse_expression(expr, known)
    if isinstance(expr, Tensor):
        expr = expr[tuple(ours.idx)]
    name = primed("given", known)
    letters = tuple(Index(i.name, i.size) for i in ours.idx)
    return ingest([define(name, letters, expr)])


class Trial:
    """Both gradients as arrays, in any case; and the search for what explains a difference."""

    def __init__(self, checker: Checker, ours: Equation, theirs: Program) -> None:
        self.checker, self.ours, self.theirs = checker, ours, theirs
        self.program = checker.d.program

    def arrays(self, case: Case) -> tuple[Array, Array]:
        known = self.checker.all_arrays(case)
        if self.ours.name in known:
            left = known[self.ours.name]
        else:
            left = case.machine(self.ours.tensors(), known).result(self.ours)
        return left, case.run(self.theirs)[self.theirs.outputs[0].name]

    def claim(self, case: Case) -> Difference | None:
        ours, theirs = self.arrays(case)
        found = compare(case.field, self.ours.name, ours, theirs)
        return found and replace(found, left=f"ours {found.left}", right=f"given {found.right}")

    def mistake(self) -> str:
        """What is wrong, in words; empty when no known mistake explains it."""
        cases = list(self._cases())
        pairs = [(case, *self.arrays(case)) for case in cases]
        if not pairs:
            return ""
        for look in (self._sign, self._entries, self._factor, self._terms, self._shift, self._transpose):
            found = look(pairs)
            if found:
                return found
        return ""

    def _cases(self) -> Iterator[Case]:
        for n in range(len(self.checker.assignments)):
            for kind in ("real", "modular"):
                case = self._working(kind, n)
                if case is not None:
                    yield case
                    break

    def _working(self, kind: str, n: int) -> Case | None:
        try:
            for case in self.checker.cases.each(kind, n):
                try:
                    self.arrays(case)
                    return case
                except Undefined:
                    continue
        except Undefined:
            pass
        return None

    # -- the mistakes -----------------------------------------------------------------------------------------------

    def _sign(self, pairs: Pairs) -> str:
        if all(_same(case.field, [case.field.neg(v) for v in a.data], b.data) for case, a, b in pairs):
            return "wrong sign: it is minus the gradient"
        return ""

    def _entries(self, pairs: Pairs) -> str:
        """Given is a gradient by all entries of a structured matrix, or the part of it that has the structure."""
        t = next((t for t in self.checker.d.wrt if self.checker.d.gradients.get(t.name) == self.ours.tensor), None)
        if t is None or not t.is_input or structure_of(t) is None:
            return ""
        if all(_same(case.field, a.data, gathered(t, b.data, case.field, b.shape)) for case, a, b in pairs):
            return (
                f"it is the gradient G by all entries of {t.name} as independent ones, or a share of it; {t.name} is declared "
                f"{str(structure_of(t)).replace('_', ' ')}, and an element of the gradient by its free entries adds G at all "
                "places where the entry stands"
            )
        return ""

    def _factor(self, pairs: Pairs) -> str:
        """given = factor * ours, the factor a product of sizes and small numbers where one fits in every case."""
        found = [r for pair in pairs if (r := self._ratio(*pair)) is not None]
        if len(found) < len(pairs):
            return ""
        for factor in self._factors():
            if all(
                case.field.same(r, case.field.rational(Fraction(size_value(factor, case.sizes))))
                for (case, *_), r in zip(pairs, found, strict=True)
            ):
                return f"constant factor: it is {factor} times the gradient{_missing(factor)}"
        F = pairs[0][0].field
        if not isinstance(F, RealField):
            return ""
        return f"constant factor: it is {F.mp.nstr(found[0], 12)} times the gradient here"

    @staticmethod
    def _ratio(case: Case, a: Array, b: Array) -> Element | None:
        F = case.field
        spots = [n for n, v in enumerate(a.data) if not F.is_zero(v)]
        if not spots:
            return None
        ratio = F.div(b.data[spots[0]], a.data[spots[0]])
        if F.is_zero(ratio) or not _same(F, [F.mul(ratio, v) for v in a.data], b.data):
            return None
        return ratio

    def _factors(self) -> Iterator[Expr]:
        """Candidate factors, simple ones first: small numbers times a product of up to two sizes or their inverses."""
        sizes = [a for a in self.checker.sizes.expressions if not a.is_number]
        sizes.sort(key=lambda a: (len(str(a)), str(a)))
        powers = [p for a in sizes for p in (a, 1 / a)]
        numbers = [Rational(n) for n in (1, -1, 2, -2)] + [Rational(1, 2), Rational(-1, 2), Rational(3), Rational(1, 3)]
        monomials = [Integer(1), *powers, *(p * q for p, q in itertools.combinations_with_replacement(powers, 2))]
        for monomial, number in itertools.product(monomials, numbers):
            if number * monomial != 1:
                yield number * monomial

    def _terms(self, pairs: Pairs) -> str:
        """given = ours with a subset of terms missing, one doubled, or one of the wrong sign."""
        for scope in self._term_scopes():
            parts = [self._contributions(case, scope) for case, *_ in pairs]
            count = len(scope.terms)
            for size in range(1, count):
                for chosen in itertools.combinations(range(count), size):
                    if self._differs_by(pairs, parts, chosen, -1):
                        return _missing_text(scope, chosen)
            for n in range(count):
                if self._differs_by(pairs, parts, (n,), 1):
                    return f"a doubled term: {_term_text(scope, n)} is counted twice"
                if self._differs_by(pairs, parts, (n,), -2):
                    return f"wrong sign of one term: {_term_text(scope, n)}"
        return ""

    def _term_scopes(self) -> Iterator[Equation]:
        """Our equation and the backward ones it reads: those that have several terms."""
        seen, todo, forward = set(), [self.ours], self.checker.d.source
        while todo:
            e = todo.pop(0)
            if e.name in seen:
                continue
            seen.add(e.name)
            if e.reduce is None:
                apart = replace(
                    e,
                    terms=tuple(
                        replace(t, fac=tuple(factors)) for t in e.terms for factors in additive_terms(Mul(*t.fac))
                    ),
                )
                if 1 < len(apart.terms) <= MOST_TERMS:
                    yield apart
            for t in e.tensors():
                inner = self.program.equation(t)
                if inner is not None and forward.equation(t) is None:
                    todo.append(inner)

    def _contributions(self, case: Case, scope: Equation) -> list[list[Element]]:
        """Our gradient with only one term of ``scope`` kept, for each term; they add up, gradients being linear."""
        known, out = self.checker.all_arrays(case), []
        for term in scope.terms:
            arrays = dict(known)
            alone = replace(scope, terms=(term,))
            arrays[scope.name] = case.machine(alone.tensors(), known).result(alone)
            out.append(self._downstream(case, scope.name, arrays))
        return out

    def _downstream(self, case: Case, name: str, arrays: dict[str, Array]) -> list[Element]:
        """The array of our gradient when ``name`` is given; adjoints between the two are computed again."""
        if name == self.ours.name:
            return arrays[name].data
        path = self._between(name)
        for e in (*self.program.equations, self.ours):
            if e.name in path and e.name != name:
                machine = case.machine(e.tensors(), arrays)
                arrays[e.name] = machine.result(self._linear_part(e, path))
        return arrays[self.ours.name].data

    def _between(self, name: str) -> set[str]:
        """Names of the adjoints that depend on ``name``, it included."""
        found = {name}
        for e in (*self.program.equations, self.ours):
            if any(t.name in found for t in e.tensors()):
                found.add(e.name)
        return found

    @staticmethod
    def _linear_part(e: Equation, path: Set[str]) -> Equation:
        kept = tuple(t for t in e.terms if any(r.tensor.name in path for r in t.reads()))
        return replace(e, terms=kept)

    @staticmethod
    def _differs_by(pairs: Pairs, parts: Sequence[list[list[Element]]], chosen: Sequence[int], factor: int) -> bool:
        for (case, ours, theirs), contributions in zip(pairs, parts, strict=True):
            F = case.field
            data = list(ours.data)
            for n in chosen:
                data = [F.add(a, F.mul(F.rational(factor), b)) for a, b in zip(data, contributions[n], strict=True)]
            if not _same(F, data, theirs.data):
                return False
        return True

    def _shift(self, pairs: Pairs) -> str:
        for axis, by in itertools.product(range(len(self.ours.idx)), (1, -1)):
            if all(_shifted(case.field, a, b, axis, by) for case, a, b in pairs):
                letter = self.ours.idx[axis]
                return f"index shift: it is the gradient at {letter} {'+' if by > 0 else '-'} 1 instead of {letter}"
        return ""

    def _transpose(self, pairs: Pairs) -> str:
        if len(self.ours.idx) != 2:
            return ""
        square = [(case, a, b) for case, a, b in pairs if a.shape[0] == a.shape[1]]
        if square and all(_same(case.field, [a[j, i] for i, j in a.positions()], b.data) for case, a, b in square):
            i, j = self.ours.idx
            return f"transpose: it is the gradient with {i} and {j} exchanged"
        return ""


def _same(F: CaseField, left: Sequence[Element], right: Sequence[Element]) -> bool:
    magnitude = 1 if F.exact else max((abs(v) for v in (*left, *right)), default=1)
    return all(F.same(a, b, max(magnitude, 1e-6)) for a, b in zip(left, right, strict=True))


def _shifted(F: CaseField, a: Array, b: Array, axis: int, by: int) -> bool:
    """Whether b is a moved by one along an axis, wherever both exist; and something is there to compare."""
    if a.shape[axis] < 2:
        return False
    left, right = [], []
    for at in a.positions():
        moved = (*at[:axis], at[axis] + by, *at[axis + 1 :])
        if 0 <= moved[axis] < a.shape[axis]:
            left.append(a[moved])
            right.append(b[at])
    return any(not F.is_zero(v) for v in left) and _same(F, left, right)


def _missing(factor: Expr) -> str:
    if factor.is_number:
        return ""
    top, bottom = sympy.fraction(factor)
    return f" (an extra {factor})" if top.is_number and not bottom.is_number else f" (missing {1 / factor})"


def _term_text(scope: Equation, n: int) -> str:
    return f"{line(scope.terms[n].expr())} in the equation of {scope.name}"


def _missing_text(scope: Equation, chosen: Sequence[int]) -> str:
    which = " and ".join(_term_text(scope, n) for n in chosen)
    return f"{'a missing term' if len(chosen) == 1 else 'missing terms'}: {which}"
