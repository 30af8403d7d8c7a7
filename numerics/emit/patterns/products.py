"""Running products as library calls, where a scan would take them step by step.

P[i] = (P[i-1] + [i = 0]) x[i] g          g * lax.cumprod(x, 0)
dP[i] = dP[i+1] x[i+1] + g [i = I-1]      g * lax.cumprod(jnp.pad(x[1:], (0, 1), constant_values=1), 0, reverse=True)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sympy import Add, Eq, Expr, Integer, Mul, Piecewise, Rational

from derive.language.affine import safe_read
from derive.language.index import Index
from derive.language.nodes import Iverson
from derive.language.tensor import Read
from derive.program.program import Equation, Row, Term
from derive.program.schedule import Scan
from numerics.emit.source.choose import choose
from numerics.emit.source.code import Code, Constant, Slice, Subscript, Tuple, call, number_of
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import Val
from numerics.emit.terms.arithmetic import as_float, ratio
from numerics.emit.terms.plan import Plain


@dataclass(frozen=True)
class Product:
    """``P[i] = P[i-1] f[i]`` from the first step on, or ``P[i] = P[i+1] f[i+1]`` from the last."""

    along: Index
    factors: tuple[Expr, ...]  # of f, at the step itself
    starts: tuple[Term, ...]  # whose sum is the product of no factors
    reverse: bool


def as_equations(scope: Scope, groups: Iterable[Equation | Scan]) -> list[Equation | Scan]:
    """The groups of a program, a recurrence that is a running product as an equation to be written at once."""
    out: list[Equation | Scan] = []
    for g in groups:
        found = isinstance(g, Scan) and len(g.equations) == 1 and product(g.equations[0]) is not None
        scope.number = g.equations[0].number if isinstance(g, Scan) else g.number
        whole = found and choose(scope, "running-product") == "cumprod"
        out.append(g.equations[0] if whole and isinstance(g, Scan) else g)
    return out


def applies(scope: Scope, e: Equation) -> bool:
    """Whether an equation is a running product that is not written as a scan."""
    return e.tensor in e.tensors() and product(e) is not None


def equation(scope: Scope, e: Equation, plain: Plain) -> Val:
    found = product(e)
    assert found is not None
    v = as_float(scope, plain(scope, (Term(Integer(1), found.factors),), e.idx))
    axis = v.axes.index(found.along)
    more: dict[str, Code] = {}
    if found.reverse:
        places = (*(Slice() for _ in range(axis)), Slice(number_of(1)))
        ends = tuple(Tuple((number_of(0), number_of(int(n == axis)))) for n in range(len(v.axes)))
        shifted = call("jnp.pad", Subscript(v.node, places), Tuple(ends), constant_values=number_of(1))
        v, more = Val(shifted, v.axes, v.kind), {"reverse": Constant(True)}
    v = Val(call(f"{scope.module('lax')}.cumprod", v.node, number_of(axis), **more), v.axes, v.kind)
    order = tuple(i for i in e.idx if i != found.along)
    if len(found.starts) == 1 and found.starts[0] == Term(Integer(1)):
        return v
    return ratio(scope, Rational(1), [plain(scope, found.starts, order), v], [], e.idx)


def product(e: Equation) -> Product | None:
    """The running product that a recurrence is, if it is one."""
    terms = _terms(e)
    own = [t for t in terms if any(r.tensor == e.tensor for r in t.reads())]
    if e.reduce is not None or len(own) != 1 or not own[0].is_plain:
        return None
    before = [f for f in own[0].fac if f.has(e.tensor)]
    if len(before) != 1 or not isinstance(before[0], Read):
        return None
    moved = [(i, x - i) for i, x in zip(e.idx, before[0].idx, strict=True) if x != i]
    if len(moved) != 1 or moved[0][1] not in (1, -1):
        return None
    along, shift = moved[0]
    factors = tuple(f.xreplace({along: along - 1}) if shift == 1 else f for f in own[0].fac if f != before[0])
    reads = {r for f in factors for r in f.atoms(Read)}
    if not any(along in f.free_symbols for f in factors) or not all(safe_read(r) for r in reads):
        return None
    edge = along.size - 1 if shift == 1 else Integer(0)
    starts = [_start(t, along, edge, factors if shift == -1 else ()) for t in terms if t is not own[0]]
    found = tuple(t for t in starts if t is not None)
    return Product(along, factors, found, shift == 1) if found and len(found) == len(starts) else None


def _terms(e: Equation) -> tuple[Term, ...]:
    """The terms, a start that is written as a choice or beside the step before as a term of its own.

    A step before the first reads 0, so what is chosen after the first step may stand at the first, too.
    """
    only = e.value()
    if isinstance(only, Piecewise) and len(only.args) == 2 and isinstance(only.args[0][1], Eq):
        (first, condition), (later, _) = only.args
        row = Row("==", condition.lhs, condition.rhs)
        return Term(Integer(1), Mul.make_args(first), (), (row,)), Term(Integer(1), Mul.make_args(later))
    out: list[Term] = []
    for t in e.terms:
        f = next((f for f in t.fac if isinstance(f, Add) and f.has(e.tensor)), None)
        if f is None or not t.is_plain:
            out.append(t)
            continue
        rest = tuple(g for g in t.fac if g is not f)
        for a in f.args:
            if isinstance(a, Iverson) and isinstance(a.condition, Eq):
                out.append(Term(t.coef, rest, (), (Row("==", *a.condition.args),)))
            else:
                out.append(Term(t.coef, (*Mul.make_args(a), *rest)))
    return tuple(out)


def _start(t: Term, along: Index, edge: Expr, first: tuple[Expr, ...]) -> Term | None:
    """What a term that stands at the edge alone adds to the product of no factors; going forward it holds the first ones."""
    rows = [r for r in t.rows if not (r.op == "==" and {r.lhs, r.rhs} == {along, edge})]
    fac = list(t.fac)
    for f in first:
        if f not in fac:
            return None
        fac.remove(f)
    if t.bnd or len(rows) == len(t.rows) or any(along in x.free_symbols for x in (*fac, *rows)):
        return None
    return Term(t.coef, tuple(fac), (), tuple(rows))
