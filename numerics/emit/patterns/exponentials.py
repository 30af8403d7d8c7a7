"""A softmax's exponentials once: what its sum adds up is what its numerators are.

    X[r] = z[r] - max z      S = sum_r exp(X[r])      L = log(S)      a[q] = exp(X[q] - L)

    E[r] = exp(X[r])         S = sum_r E[r]                           a[q] = E[q] / S

Only below the maximum: S is then at least 1 and each E at most 1, so the quotient is as safe as the difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sympy import Add, Expr, Integer, Pow, exp, log

from derive.language.index import Index
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Program, Term

from .sums import Reused, recurrent

REASON = "the exponentials that the sum adds up are those that it divides"


def exponentials_once(program: Program, returned: set[str]) -> Reused:
    """The program with a name for the exponentials of each softmax; ``returned`` equations stay."""
    by_name, inside = {e.name: e for e in program.equations}, recurrent(program)
    made, choices = dict(by_name), []
    for e in program.equations:
        if e.name in inside or e.reduce:
            continue
        for a in dict.fromkeys(f for t in e.terms for f in t.fac if isinstance(f, exp)):
            found = _quotient(a, by_name)
            if found is None or {n.name for n in found} & inside:
                continue
            above, total, logarithm = found
            name = f"{above.name}_exp"
            if name in by_name:
                continue
            if name not in made:
                made[name] = _named(name, above)
                made[total.name] = _summed(total, above, made[name])
            parts = {r.tensor.name: r for r in a.atoms(Read)}
            quotient = Read(made[name].tensor, *parts[above.name].idx) * Pow(
                Read(total.tensor, *parts[logarithm.name].idx), -1
            )
            made[e.name] = _replaced(made[e.name], a, quotient)
            choices.append(("exponentials-once", e.number, REASON))
    if not choices:
        return Reused(program, ())
    read = {t.name for e in made.values() for t in e.tensors()} | returned
    kept = [e for n, e in made.items() if n in read or n not in _logarithms(by_name)]
    return Reused(replace(program, equations=tuple(kept)), tuple(choices))


def _quotient(a: Expr, by_name: Mapping[str, Equation]) -> tuple[Equation, Equation, Equation] | None:
    """``(X, S, L)`` of ``exp(X - L)``, where it is the numerator of a softmax below its maximum."""
    inner = a.args[0]
    if not isinstance(inner, Add) or len(inner.args) != 2:
        return None
    above = next((r for r in inner.args if isinstance(r, Read)), None)
    below = next((-r for r in inner.args if isinstance(-r, Read)), None)
    if above is None or below is None or not all(isinstance(i, Index) for i in (*above.idx, *below.idx)):
        return None
    x, logarithm = by_name.get(above.tensor.name), by_name.get(below.tensor.name)
    if x is None or logarithm is None:
        return None
    only = _only(logarithm)
    if not isinstance(only, log) or not isinstance(only.args[0], Read) or only.args[0].idx != logarithm.idx:
        return None
    total = by_name.get(only.args[0].tensor.name)
    if total is None or total.reduce or len(total.terms) != 1:
        return None
    t = total.terms[0]
    if t.rows or t.coef != 1 or len(t.fac) != 1 or not isinstance(t.fac[0], exp):
        return None
    summed = t.fac[0].args[0]
    if not isinstance(summed, Read) or summed.tensor != above.tensor or len(set(summed.idx)) != len(summed.idx):
        return None
    along = [n for n, i in enumerate(summed.idx) if i in t.bnd]
    rest = tuple(i for n, i in enumerate(above.idx) if n not in along)
    # one row of X is summed to one number of S, which divides that row
    same = tuple(i for i in summed.idx if i not in t.bnd) == total.idx and rest == below.idx
    whole = same and len(along) == len(t.bnd) and _below_maximum(x, along, by_name)
    return (x, total, logarithm) if whole else None


def _below_maximum(x: Equation, along: list[int], by_name: Mapping[str, Equation]) -> bool:
    """Whether an equation is a tensor less its maximum along just these axes, all of whose positions may have it."""
    inner = _only(x)
    if not isinstance(inner, Add) or len(inner.args) != 2:
        return False
    whole = next((r for r in inner.args if isinstance(r, Read)), None)
    top = next((-r for r in inner.args if isinstance(-r, Read)), None)
    if whole is None or top is None:
        return False
    maximum = by_name.get(top.tensor.name)
    if maximum is None or maximum.reduce != "max" or maximum.guards or len(maximum.terms) != 1:
        return False
    t = maximum.terms[0]
    (r,) = t.fac if len(t.fac) == 1 else (None,)
    if t.rows or t.coef != 1 or not isinstance(r, Read) or r.tensor != whole.tensor or whole.idx != x.idx:
        return False
    rest = tuple(i for n, i in enumerate(x.idx) if n not in along)
    own = tuple(i for n, i in enumerate(r.idx) if n not in along)
    return top.idx == rest and own == maximum.idx and {r.idx[n] for n in along} == set(maximum.over)


def _only(e: Equation) -> Expr | None:
    """The one factor that an equation is."""
    if e.reduce or len(e.terms) != 1:
        return None
    t = e.terms[0]
    return t.fac[0] if t.coef == 1 and len(t.fac) == 1 and not t.bnd and not t.rows else None


def _named(name: str, x: Equation) -> Equation:
    t = x.tensor
    made = Tensor(name, t.axes, t.letters, role="computed", digest=f"exp:{t.digest}", block=t.block)
    return replace(x, tensor=made, terms=(Term(Integer(1), (exp(Read(t, *x.idx)),)),), number=0)


def _summed(total: Equation, x: Equation, made: Equation) -> Equation:
    (t,) = total.terms
    return replace(total, terms=(replace(t, fac=(Read(made.tensor, *t.fac[0].args[0].idx),)),))


def _replaced(e: Equation, old: Expr, new: Expr) -> Equation:
    """With an exponential that is a factor replaced; one inside a function stays."""
    terms = []
    for t in e.terms:
        fac = tuple(g for f in t.fac for g in (new.args if f == old else (f,)))
        terms.append(replace(t, fac=fac))
    return replace(e, terms=tuple(terms))


def _logarithms(by_name: Mapping[str, Equation]) -> set[str]:
    """The equations that are the logarithm of another one."""
    return {n for n, e in by_name.items() if isinstance(_only(e), log)}
