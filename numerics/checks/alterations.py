"""What a wrong gradient looks like in the equations: a term missing or doubled, a factor or a path forgotten.

Our own program is altered, one mistake at a time, and evaluated again; the alteration that gives theirs is the
explanation.  Within one adjoint equation the gradient is linear in the coefficients of its terms, so the coefficients
(0: missing, 2: doubled, -1: wrong sign) are solved for, not tried.  Paths of the forward definitions are altered by
stopping one read at a time and asking autodiff, which is allowed here: it is the opponent.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import sympy
from sympy import Integer, Mul, Pow

from derive.language.nodes import stop_gradient
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Program, Row, Term
from numerics.reference.definitions import evaluate, size_value, term_value

from .mistakes import Case, Mistake

BUDGET = 400  # evaluations of altered programs, so that a report on a large network comes in seconds
PATHS = 60
COEFFICIENTS = {0: "is missing", 2: "is counted twice", -1: "has the wrong sign"}


@dataclass(frozen=True)
class Altered:
    """A mistake planted in one equation, and the gradients it gives."""

    equation: Equation
    kind: str
    text: str
    gradients: dict


class Alterations:
    """All altered gradients of one derivation at one sample; computed as they are asked for, then kept."""

    def __init__(self, d, arrays, sizes):
        self.d, self.arrays, self.sizes = d, arrays, sizes
        with np.errstate(all="ignore"):
            self.base = evaluate(d.program, arrays, sizes, np)
        self.names = {n: t.name for n, t in d.gradients.items()}
        self._known: list[Altered] = []
        self._source = self._all()
        self._terms: dict[str, list] = {}
        self._paths: list | None = None

    def gradients(self, values) -> dict:
        return {n: np.asarray(values[name]) for n, name in self.names.items()}

    def explain(self, case: Case) -> Mistake | None:
        """The first mistake in the equations that gives theirs: terms, then factors, then paths of the definitions."""
        for finder in (self._by_terms, self._by_alteration, self._by_path):
            found = finder(case)
            if found is not None:
                return found
        return None

    # -- the derived equations -----------------------------------------------------------------------------------------

    def upstream(self, name: str) -> list[Equation]:
        """The equations a gradient depends on, nearest first."""
        found, todo = [], [self.names[name]]
        while todo:
            e = self.d.program.equation(todo.pop(0))
            if e is not None and e not in found:
                found.append(e)
                todo += sorted((t.name for t in e.tensors()), key=lambda n: -self._number(n))
        return found

    def _number(self, name) -> int:
        e = self.d.program.equation(name)
        return e.number if e is not None else 0

    def run(self, altered: Equation) -> dict | None:
        """The gradients with one equation replaced; only what depends on it is computed again."""
        return self._replaced({altered.name: altered}, self.base)

    def seen_by(self, consumer: Equation, altered: Equation) -> dict | None:
        """The gradients when only one consumer sees the altered equation; everything else reads the right one."""
        wrong = Tensor(
            f"{altered.name} as {consumer.name} reads it",
            altered.tensor.axes,
            altered.tensor.letters,
            digest=f"altered:{altered.name}:{consumer.name}",
        )
        reads = {r: Read(wrong, *r.idx) for r in consumer.reads() if r.tensor == altered.tensor}
        try:
            with np.errstate(all="ignore"):
                alone = evaluate(Program((), (altered,)), self.base, self.sizes, np)[altered.name]
            return self._replaced({consumer.name: consumer.xreplace(reads)}, {**self.base, wrong.name: alone})
        except ValueError:
            return None

    def overridden(self, name: str, value) -> dict | None:
        """The gradients when one tensor has another value."""
        return self._replaced({name: None}, {**self.base, name: value})

    def _replaced(self, changed: dict, base: dict) -> dict | None:
        touched, grew = set(changed), True
        while grew:
            more = {e.name for e in self.d.program.equations if any(t.name in touched for t in e.tensors())}
            grew = not more <= touched
            touched |= more
        equations = [changed.get(e.name, e) for e in self.d.program.equations if e.name in touched]
        program = Program((), tuple(e for e in equations if e is not None))
        known = {n: v for n, v in base.items() if n not in touched or changed.get(n, n) is None}
        try:
            with np.errstate(all="ignore"):
                return self.gradients({**base, **evaluate(program, known, self.sizes, np)})
        except ValueError:
            return None  # an alteration that no longer makes sense, such as a factor whose range was its own

    def _without(self, e: Equation) -> list:
        """For each term of an equation, what it contributes to every gradient."""
        if e.name not in self._terms:
            parts = []
            for n in range(len(e.terms)):
                zeroed = replace(e, terms=_with_term(e.terms, n, replace(e.terms[n], coef=Integer(0))))
                parts.append(self.run(zeroed))
            self._terms[e.name] = parts
        return self._terms[e.name]

    def _by_terms(self, case: Case) -> Mistake | None:
        for e in self.upstream(case.name):
            if e.reduce is not None or len(e.terms) < 2:
                continue
            parts = self._without(e)
            if any(p is None for p in parts):
                continue
            columns = [(case.ours - p[case.name]).ravel() for p in parts]
            wanted = _solve(columns, (case.theirs - case.ours).ravel())
            if wanted is None or all(c == 1 for c in wanted):
                continue
            if case.fits(
                case.ours + sum((c - 1) * p.reshape(case.ours.shape) for c, p in zip(wanted, columns, strict=True))
            ):
                said = [f"the term {term_text(e, n)} {COEFFICIENTS[c]}" for n, c in enumerate(wanted) if c != 1]
                kind = {0: "missing term", 2: "doubled term", -1: "sign of a term"}[next(c for c in wanted if c != 1)]
                return Mistake(kind, f"in {equation_text(e)} {' and '.join(said)}")
        return None

    def _by_alteration(self, case: Case) -> Mistake | None:
        near = {e.name: n for n, e in enumerate(self.upstream(case.name))}
        for altered in self._alterations():
            if altered.equation.name in near and case.fits(altered.gradients[case.name]):
                return Mistake(altered.kind, f"in {equation_text(altered.equation)} {altered.text}")
        return None

    def coefficient_of(self, case: Case) -> str | None:
        """Where a constant factor comes from: a coefficient of a whole equation whose absence gives theirs."""
        for e in self.upstream(case.name):
            for part in Mul.make_args(e.terms[0].coef):
                if part in (1, -1) or any(part not in Mul.make_args(t.coef) for t in e.terms):
                    continue
                gradients = self.run(replace(e, terms=tuple(replace(t, coef=t.coef / part) for t in e.terms)))
                if gradients is not None and case.fits(gradients[case.name]):
                    return f"missing {part} of {equation_text(e)}"
        return None

    def _alterations(self) -> Iterator[Altered]:
        """Kept alterations first, then new ones, last equations (the adjoints) first."""
        yield from tuple(self._known)
        for altered in self._source:
            self._known.append(altered)
            yield altered

    def _all(self) -> Iterator[Altered]:
        """One equation altered for everybody; then contributions assigned; then seen altered by one consumer."""
        for n, (e, kind, text, gradients) in enumerate(
            itertools.chain(self._everywhere(), self._assigned(), self._in_one_use())
        ):
            if n >= BUDGET:
                return
            if gradients is not None:
                yield Altered(e, kind, text, gradients)

    def _everywhere(self):
        for e in reversed(self.d.program.equations):
            for kind, text, changed in alterations(e):
                yield e, kind, text, self.run(changed)

    def _in_one_use(self):
        for e in self.d.program.equations:
            users = [f for f in self.d.program.equations if f is not e and e.tensor in f.tensors()]
            for kind, text, changed in alterations(e) if len(users) > 1 and e.tensor not in e.tensors() else ():
                for f in reversed(users):
                    yield e, kind, f"as {equation_text(f)} uses it, {text}", self.seen_by(f, changed)

    def _assigned(self):
        """Where several positions pick one element, the last contribution alone."""
        for e in reversed(self.d.program.equations):
            picked = _gather_row(e)
            if picked is not None:
                row, array, over = picked
                term = e.terms[0]
                rest = tuple(b for b in term.bnd if b not in over)
                free = [*over, *e.idx]
                each = term_value(replace(term, bnd=rest), free, self.base, self.sizes)
                there = term_value(Term(Integer(1), rows=(row,)), free, self.base, self.sizes) > 0
                shape = tuple(size_value(a, self.sizes) for a in e.tensor.axes)
                value = np.zeros(shape)
                for at in np.ndindex(*each.shape[: len(over)]):
                    value = np.where(np.broadcast_to(there[at], shape), each[at], value)
                yield (
                    e,
                    "repeated index",
                    f"the contributions of one element that {array} picks several times are "
                    f"assigned (the last one wins), not added",
                    self.overridden(e.name, value),
                )

    # -- the forward definitions ---------------------------------------------------------------------------------------

    def _by_path(self, case: Case) -> Mistake | None:
        """A read of the definitions whose gradient is stopped, counted twice or negated; a derivative taken as 1."""
        if self._paths is None:
            self._paths = list(self._all_paths())
        for kind, what, equation, gradients in self._paths:
            if case.name not in gradients:
                continue
            through = case.ours - gradients[case.name]
            if kind == "derivative":
                if case.fits(gradients[case.name]):
                    return Mistake(
                        "missing derivative", f"the derivative of {what} in {equation_text(equation)} was taken as 1"
                    )
                continue
            wanted = _solve([through.ravel()], (case.theirs - case.ours).ravel())
            if wanted and wanted[0] != 1 and case.fits(case.ours + (wanted[0] - 1) * through):
                how = COEFFICIENTS[wanted[0]]
                return Mistake("path", f"the path through {what} in {equation_text(equation)} {how}")
        return None

    def _all_paths(self):
        count = 0
        for e in reversed(self.d.source.equations):
            for kind, what, changed in stopped(e):
                count += 1
                if count > PATHS:
                    return
                equations = tuple(changed if x.name == e.name else x for x in self.d.source.equations)
                try:
                    yield kind, what, self._numbered(e), self._autodiff(replace(self.d.source, equations=equations))
                except (ValueError, TypeError):
                    continue

    def _numbered(self, e: Equation) -> Equation:
        known = self.d.program.equation(e.name)
        return e if known is None else replace(e, number=known.number)

    def _autodiff(self, source: Program) -> dict:
        arrays = {n: jnp.asarray(a) for n, a in self.arrays.items()}
        wrt = {t.name: arrays[t.name] for t in self.d.wrt if t.name in arrays}

        def scalar(parts):
            y = evaluate(source, {**self.arrays, **parts}, self.sizes, jnp)[self.d.loss.name]
            return y if self.d.seed is None else jnp.sum(y * arrays[self.d.seed.name])

        return {n: np.asarray(g) for n, g in jax.grad(scalar)(wrt).items()}


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


def _with_term(terms, n, term):
    return tuple(term if m == n else t for m, t in enumerate(terms))


def _solve(columns, target) -> list[int] | None:
    """Coefficients in {0, 1, 2, -1} with ``target = sum (c - 1) column``; None where the best are others."""
    matrix = np.stack(columns, axis=1)
    if not np.all(np.isfinite(matrix)):
        return None
    used = np.abs(matrix).max(axis=0) > 0
    best, *_ = np.linalg.lstsq(matrix, target, rcond=1e-9)
    wanted = [int(np.rint(c)) + 1 if u else 1 for c, u in zip(best, used, strict=True)]
    return wanted if all(c in (0, 1, 2, -1) for c in wanted) else None


def alterations(e: Equation) -> Iterator[tuple[str, str, Equation]]:
    """Every single mistake in one equation: ``(kind, text, altered equation)``."""
    if len(e.terms) > 1:
        yield from _shared_alterations(e)
    for n, term in enumerate(e.terms):
        for kind, text, changed in _term_alterations(e, n, term):
            yield kind, text, replace(e, terms=_with_term(e.terms, n, changed))


def _shared_alterations(e):
    """What several terms have in common, missing in all of them: a coefficient or a factor."""
    parts = {p for t in e.terms for p in Mul.make_args(t.coef) if p not in (1, -1)}
    for part in sorted(parts, key=str):
        holders = [t for t in e.terms if part in Mul.make_args(t.coef)]
        if len(holders) > 1:
            where = "" if len(holders) == len(e.terms) else " in the terms that have it"
            yield (
                "factor",
                f"{part} is missing{where}",
                replace(e, terms=tuple(replace(t, coef=t.coef / part) if t in holders else t for t in e.terms)),
            )
    for f in e.terms[0].fac:
        if all(f in t.fac for t in e.terms):
            yield (
                "missing factor",
                f"the factor {expr_text(e, f)} is missing",
                replace(e, terms=tuple(replace(t, fac=tuple(g for g in t.fac if g != f)) for t in e.terms)),
            )


def _term_alterations(e, n, term: Term):
    shown = term_text(e, n) if len(e.terms) > 1 else "the right-hand side"
    if len(e.terms) > 1:
        yield "missing term", f"the term {shown} is missing", replace(term, coef=Integer(0))
        yield "doubled term", f"the term {shown} is counted twice", replace(term, coef=2 * term.coef)
        yield "sign of a term", f"the term {shown} has the wrong sign", replace(term, coef=-term.coef)
    for part in Mul.make_args(term.coef):
        if part not in (1, -1):
            yield "factor", f"{part} is missing in {shown}", replace(term, coef=term.coef / part)
    for m, f in enumerate(term.fac):
        rest = term.fac[:m] + term.fac[m + 1 :]
        if len(term.fac) > 1 or term.rows or f.is_Add or f.is_Pow:
            yield "missing factor", f"the factor {expr_text(e, f)} of {shown} is missing", replace(term, fac=rest)
        for kind, text, changed in _factor_alterations(e, f):
            place = f" in {shown}" if len(e.terms) > 1 else ""
            yield kind, f"{text}{place}", replace(term, fac=(*term.fac[:m], changed, *term.fac[m + 1 :]))
    for b in term.bnd:
        for at, word in ((Integer(0), "first"), (b.size - 1, "last")):
            yield (
                "range",
                f"the {word} position of the sum over {b.name} is left out in {shown}",
                replace(term, rows=(*term.rows, Row("!=", b, at))),
            )
    yield from _reversals(e, term, shown)
    for m, row in enumerate(term.rows):
        yield (
            "missing condition",
            f"the condition {row} of {shown} is missing",
            replace(term, rows=term.rows[:m] + term.rows[m + 1 :]),
        )


def _reversals(e, term, shown):
    """A window read backwards in one factor, as a kernel that was flipped, or was not."""
    for m, f in enumerate(term.fac):
        window = [b for b in term.bnd if b in f.free_symbols and any(b in r.free_symbols for r in term.rows)]
        window += [
            b
            for b in term.bnd
            if b in f.free_symbols
            and b not in window
            and any(i != b and b in i.free_symbols for g in term.fac for r in g.atoms(Read) for i in r.idx)
        ]
        for count in range(1, min(len(window), 2) + 1):
            for some in itertools.combinations(window, count):
                back = f.xreplace({b: b.size - 1 - b for b in some})
                names = " and ".join(b.name for b in some)
                yield (
                    "reversed",
                    f"{expr_text(e, f)} is read backwards along {names} in {shown}",
                    replace(term, fac=(*term.fac[:m], back, *term.fac[m + 1 :])),
                )


def _factor_alterations(e, f):
    """Parts of one factor: an addend, a nested factor, a power."""
    for part in sorted((p for p in sympy.preorder_traversal(f) if p.is_Add), key=str)[:3]:
        for addend in part.args:
            yield "missing term", f"the term {expr_text(e, addend)} is missing", f.xreplace({part: part - addend})
            negated = f.xreplace({part: part - 2 * addend})
            yield "sign of a term", f"the term {expr_text(e, addend)} has the wrong sign", negated
    if f.is_Mul:
        for part in f.args:
            yield "missing factor", f"the factor {expr_text(e, part)} is missing", f.xreplace({f: f / part})
    for part in sorted((p for p in sympy.preorder_traversal(f) if isinstance(p, Pow)), key=str)[:3]:
        if not part.exp.is_number:
            continue
        for power in (part.exp - 1, part.exp + 1):
            yield (
                "power",
                f"the power of {expr_text(e, part.base)} is {power}, not {part.exp}",
                f.xreplace({part: part.base**power}),
            )


def stopped(e: Equation) -> Iterator[tuple[str, str, Equation]]:
    """An equation with one float read stopped, or with one function's derivative taken as 1."""
    reads = sorted((r for r in e.reads() if r.tensor.dtype == "float"), key=str)
    for r in reads:
        yield "stop", expr_text(e, r), e.xreplace({r: stop_gradient(r)})
    for term in e.terms:
        calls = {
            c
            for f in term.fac
            for c in sympy.preorder_traversal(f)
            if c.is_Function and len(c.args) == 1 and c.atoms(Read) and not isinstance(c, stop_gradient)
        }
        for c in sorted(calls, key=str):
            inner = c.args[0]
            yield "derivative", expr_text(e, c), e.xreplace({c: inner + stop_gradient(c - inner)})


def equation_text(e: Equation) -> str:
    return f"({e.number}) {e}" if e.number else str(e)


def term_text(e: Equation, n: int) -> str:
    """One term as the equation's own text writes it."""
    alone = str(replace(e, terms=(e.terms[n],), number=0))
    return alone.split(" = ", 1)[1]


def expr_text(e: Equation, expr) -> str:
    """An expression in the letters of its equation."""
    held = replace(e, terms=(Term(Integer(1), (expr,)),), reduce=None, over=(), guards=(), number=0)
    return str(held).split(" = ", 1)[1]
