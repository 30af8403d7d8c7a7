"""Coefficients of an equation that are others in yours, everywhere or on the way to one later equation.

A backward pass that was simplified by hand, ``p - t`` of a softmax and targets that sum to 1, reads the targets in one
place where the derived one reads them in two.  An equation is therefore altered along one chain of those that read it,
and the coefficients of its terms are solved for: the gradient is linear in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from sympy import Expr, Integer, Rational

from derive.language.index import Size
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Program

from .candidates import Candidate, stand_in
from .elements import equation_text, term_text, with_term
from .mistakes import Case, Mistake
from .paths import COEFFICIENTS
from .replay import Changes

TERMS = 4  # coefficients that are solved for at once
LENGTH = 3  # equations from the one altered to the one that reads it so
CHAINS = 12  # ways that are followed from one equation
ENTRIES = 4  # of a gradient, for each coefficient
EXACT = 1e-6  # of a coefficient, to be told as a number

Gradients = dict[str, np.ndarray]


def weighed(
    case: Case,
    right: dict[str, Case],
    upstream: Sequence[Equation],
    program: Program,
    sizes: dict,
    evaluate: Callable[[Candidate], Gradients | None],
) -> Iterator[Mistake | None]:
    """After each equation and chain that was tried, the mistake in its coefficients, or None if it is not there."""
    for e in upstream:
        if e.reduce is not None or not 1 < len(e.terms) <= TERMS or e.tensor in e.tensors():
            continue
        if case.ours.size < ENTRIES * len(e.terms):
            continue
        for chain in _chains(e, program):
            yield _found(e, chain, case, right, sizes, evaluate)


def _found(
    e: Equation,
    chain: tuple[Equation, ...],
    case: Case,
    right: dict[str, Case],
    sizes: dict,
    evaluate: Callable[[Candidate], Gradients | None],
) -> Mistake | None:
    parts: list[Gradients] = []
    for n, t in enumerate(e.terms):
        without = evaluate(Candidate("", "", _along(chain, with_term(e, n, replace(t, coef=Integer(0))))))
        if without is None or not np.all(np.isfinite(without[case.name])):
            return None
        parts.append(without)
    columns = np.stack([(case.ours - p[case.name]).ravel() for p in parts], axis=1)
    if not np.any(columns):
        return None
    best, *_ = np.linalg.lstsq(columns, (case.theirs - case.ours).ravel(), rcond=1e-9)
    used = np.abs(columns).max(axis=0) > 0
    times = [1.0 + float(c) if u else 1.0 for c, u in zip(best, used, strict=True)]
    times = [round(c) if abs(c - round(c)) < EXACT else c for c in times]

    def moved(name: str, ours: np.ndarray) -> np.ndarray:
        return ours + sum(((c - 1) * (ours - p[name]) for c, p in zip(times, parts, strict=True)), np.zeros(()))

    if all(c == 1 for c in times) or not case.fits(moved(case.name, case.ours)):
        return None
    if not all(c.agrees(moved(n, c.ours)) for n, c in right.items()):
        return None
    where = equation_text(e) + (f" as {equation_text(chain[-1])} uses it" if len(chain) > 1 else "")
    said = [_said(e, n, c, sizes) for n, c in enumerate(times) if c != 1]
    return Mistake(_kind(times), f"in {where}, {' and '.join(said)}")


def _kind(times: Sequence[float]) -> str:
    if 0 in times:
        return "missing term"
    return "sign of a term" if any(c == -1 for c in times) else "factor"


def _said(e: Equation, n: int, times: float, sizes: dict) -> str:
    t = e.terms[n]
    if times in COEFFICIENTS:
        return f"the term {term_text(e, n)} {COEFFICIENTS[int(times)]}"
    form = _form(t.coef, times * _value(t.coef, sizes), sizes)
    return f"the coefficient of {term_text(e, n)} is {t.coef}; yours fits {form}"


def _form(coef: Expr, value: float, sizes: dict) -> Expr | str:
    """A coefficient as people write it: the same number over other sizes, a short number over the same, else digits."""
    rest, over = coef.as_independent(*sizes)
    near = [over, *(over.xreplace({s: s - 1}) for s in over.free_symbols if isinstance(s, Size))]
    near += [f for s in sorted(sizes, key=str) for f in (over * s, over / s, over / (s - 1))]
    found = [(f, value / _value(f, sizes)) for f in (*near, Integer(1)) if _value(f, sizes)]
    for form, number in found:
        if abs(number - float(rest)) <= EXACT * abs(number):
            return rest * form
    for form, number, digits in [(*found[0], 3), *((*f, 2) for f in found)]:
        short = f"{number:.{digits}g}"
        if abs(float(short) - number) <= EXACT * abs(number):
            return Rational(short) * form
    return f"{value:.6g}"


def _value(e: Expr, sizes: dict[Size, int]) -> float:
    found = e.xreplace({s: Integer(n) for s, n in sizes.items()})
    return float(found) if found.is_finite else 0.0


def _chains(e: Equation, program: Program) -> Iterator[tuple[Equation, ...]]:
    """The equation alone, and the ways from it to one of several that read what it, or what was made of it, gives."""
    yield (e,)
    readers = {
        q.name: [f for f in program.equations if q.tensor in f.tensors() and f is not q] for q in program.equations
    }
    todo: list[tuple[Equation, ...]] = [(e,)]
    count = 0
    while todo and count < CHAINS:
        chain = todo.pop(0)
        after = readers[chain[-1].name]
        for f in after:
            if f.tensor in f.tensors():
                continue
            if len(after) > 1:
                count += 1
                yield (*chain, f)
            if len(chain) < LENGTH:
                todo.append((*chain, f))


def _along(chain: tuple[Equation, ...], altered: Equation) -> Changes:
    """The last of a chain as it reads the altered equation through those between; all others read the right one."""
    if len(chain) == 1:
        return {altered.name: (altered,)}
    *between, last = chain
    wrong = stand_in(altered.tensor, last)
    made = [replace(altered, tensor=wrong)]
    for before, f in zip(between, between[1:], strict=False):
        other = stand_in(f.tensor, last)
        made.append(replace(_reading(f, before.tensor, wrong), tensor=other))
        wrong = other
    return {last.name: (*made, _reading(last, between[-1].tensor, wrong))}


def _reading(f: Equation, t: Tensor, instead: Tensor) -> Equation:
    return f.xreplace({r: Read(instead, *r.idx) for r in f.reads() if r.tensor == t})
