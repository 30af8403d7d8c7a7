"""One element of each row of a difference: the element of what it is of, and the difference taken of that.

    y[b,k] = z[b,k] - m[b]          l[b] = L[b] - y[b,label[b]]     as     L[b] - (z[b,label[b]] - m[b])

What a gather reads XLA writes out, all of it; the exponentials that read ``y`` besides would else be computed as they are
summed, without it.  The number is the same one.  The equations stay as derived.
"""

from __future__ import annotations

from dataclasses import replace

from sympy import Add, Expr

from derive.language.index import Index
from derive.language.tensor import Read
from derive.program.program import Equation, Program, Term

from .sums import Reused, recurrent

REASON = "one element of each row is read of what the difference is of: a gather would have all of it written out"


def gathers_through(program: Program, returned: set[str]) -> Reused:
    """The program whose gathers of differences read what these are of; a difference that nothing else reads is left out."""
    inside = recurrent(program)
    differences = {e.name: d for e in program.equations if e.name not in inside and (d := _difference(e)) is not None}
    by_name = {e.name: e for e in program.equations}
    made, choices = [], []
    for e in program.equations:
        done = e
        if e.name not in inside and not e.reduce:
            done = replace(e, terms=tuple(_through(t, by_name, differences) for t in e.terms))
        if done.terms != e.terms:
            choices.append(("gather-inside", e.number, REASON))
        made.append(done if done.terms != e.terms else e)
    if not choices:
        return Reused(program, ())
    return Reused(replace(program, equations=tuple(_read(made, differences, returned))), tuple(choices))


def _read(equations: list[Equation], differences: dict[str, Add], returned: set[str]) -> list[Equation]:
    """The equations without the differences that nothing reads."""
    read = {t.name for e in equations for t in e.tensors()} | returned
    kept = [e for e in equations if e.name in read or e.name not in differences]
    return kept if len(kept) == len(equations) else _read(kept, differences, returned)


def _difference(e: Equation) -> Add | None:
    """The sum and difference of tensors that an equation is, one of them over all of its axes and the others over fewer."""
    if e.reduce or e.guards or any(t.bnd or t.rows or abs(t.coef) != 1 or len(t.fac) != 1 for t in e.terms):
        return None
    f = Add(*(t.coef * t.fac[0] for t in e.terms))
    reads = [a.as_coeff_Mul() for a in f.args] if isinstance(f, Add) else []
    if not reads or not all(abs(c) == 1 and isinstance(r, Read) and r.tensor.dtype == "float" for c, r in reads):
        return None
    if not all(isinstance(i, Index) for _, r in reads for i in r.idx):
        return None
    wide = [r for _, r in reads if set(r.idx) == set(e.idx)]
    return f if len(wide) == 1 and all(set(r.idx) < set(e.idx) for _, r in reads if r is not wide[0]) else None


def _through(t: Term, by_name: dict[str, Equation], differences: dict[str, Add]) -> Term:
    """A term with the gathers among its factors read through, however many differences there are in one another."""
    fac = tuple(_opened(f, by_name, differences) for f in t.fac)
    return replace(t, fac=fac) if fac != t.fac else t


def _opened(f: Expr, by_name: dict[str, Equation], differences: dict[str, Add]) -> Expr:
    if not isinstance(f, Read) or f.tensor.name not in differences or all(isinstance(i, Index) for i in f.idx):
        return f
    change = {i: j for i, j in zip(by_name[f.tensor.name].idx, f.idx, strict=True) if i != j}
    opened = differences[f.tensor.name].xreplace(change)
    return Add(*(_signed(a, by_name, differences) for a in opened.args))


def _signed(a: Expr, by_name: dict[str, Equation], differences: dict[str, Add]) -> Expr:
    c, r = a.as_coeff_Mul()
    return c * _opened(r, by_name, differences)
