"""Equations that are affine in large arrays, with coefficients that vary along a few axes only: batch normalization.

    xh[b,c]    = rs[c] (x[b,c] - mean[c])            x * rs - mean * rs
    h[b,c]     = gamma[c] xh[b,c] + beta[c]          x * (gamma * rs) + (beta - gamma * mean * rs)
    d_gamma[c] = sum_b dh[b,c] xh[b,c]               rs * (dh * x).sum(axis=0) - d_beta * mean * rs

A form is opened where every equation that reads it can do with what the form reads, so that it need not be computed:
one multiply-add for each large array, the small coefficients first.  A sum over leading axes becomes sums of products that
wait for no statistic, so that each is one pass over memory.  The equations stay as derived.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from sympy import Add, Expr, Integer, Mul

from derive.language.index import Index
from derive.language.tensor import Read, Tensor
from derive.program.graph import ancestors
from derive.program.program import Equation, Program, Term
from numerics.emit.source.code import Binary, Number
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import Val, align, union
from numerics.emit.terms import pointwise
from numerics.emit.terms.arithmetic import Order, joint_kind, place_in_product, signed_sum

from .sums import Sums, is_plain_sum, labels_of, matching_sum


@dataclass(frozen=True)
class Affine:
    """A program whose affine equations read large arrays directly; ``forms`` by name, for :func:`equation`."""

    program: Program
    forms: dict[str, Form] = field(default_factory=dict)
    choices: tuple[tuple[str, int, str], ...] = ()


@dataclass(frozen=True)
class Form:
    """``sum_k coefs[k] * k``; the key 1 holds what multiplies no large array."""

    idx: tuple[Index, ...]
    coefs: dict[Expr, Expr]

    @property
    def small(self) -> set[Index]:
        return {i for c in self.coefs.values() for i in labels_of(c)}

    def at(self, idx: Iterable[Expr]) -> dict[Expr, Expr]:
        change = dict(zip(self.idx, idx, strict=True))
        return {k.xreplace(change) if isinstance(k, Read) else k: c.xreplace(change) for k, c in self.coefs.items()}


def affine_forms(scope: Scope, program: Program, roots: Iterable[Tensor]) -> Affine:
    """Write affine equations in the large arrays beneath them, where what lies between need then not be computed.

    ``roots`` are the results.
    """
    roots = list(roots)
    if scope.patterns.get("affine") == "plain":
        return Affine(program)
    linear = {e.name: Form(e.idx, coefs) for e in program.equations if (coefs := _coefficients(e)) is not None}
    inner = {n for n, form in linear.items() if _is_short(form)} - {t.name for t in roots}
    while inner:
        found = _written(program, linear, inner)
        read = {t.name for e in found.program.equations for t in e.tensors()} & inner
        if not read:
            kept = ancestors(found.program.equations, roots)
            equations = tuple(e for e in found.program.equations if e.name in kept)
            return replace(found, program=replace(program, equations=equations))
        inner -= read
    return Affine(program)


def _written(program: Program, linear: dict[str, Form], inner: set[str]) -> Affine:
    """The program with the forms ``inner`` opened wherever that leaves an affine equation, or sums of products."""
    known: dict[str, Form] = {}
    forms: dict[str, Form] = {}
    equations: list[Equation] = []
    choices: list[tuple[str, int, str]] = []
    sums = Sums(e for e in program.equations if is_plain_sum(e))
    for e in program.equations:
        terms = None
        if e.name in linear:
            form = _opened(linear[e.name], known)
            if e.name in inner:
                known[e.name] = form or linear[e.name]
                continue  # written wherever it is read
            if form is not None:
                forms[e.name], terms = form, _terms(form)
                choices.append(("affine", e.number, "one multiply-add for each large array, its coefficient first"))
        elif is_plain_sum(e) and (terms := _parted(e, known, sums)) is not None:
            choices.append(("sum-parted", e.number, "coefficients leave the sum, which is one pass over memory"))
        equations.append(e if terms is None else replace(e, terms=terms))
    return Affine(replace(program, equations=tuple(equations)), forms, tuple(choices))


def _coefficients(e: Equation) -> dict[Expr, Expr] | None:
    """What a pointwise equation multiplies its large arrays by."""
    plain = not e.reduce and len(e.idx) > 1 and not any(t.bnd or t.rows for t in e.terms)
    if not plain or any(r.tensor.name == e.name for r in e.reads()):
        return None
    coefs = _linear(Add(*(t.coef * Mul(*t.fac) for t in e.terms)), set(e.idx))
    return None if coefs is None or set(coefs) == {1} else coefs


def _opened(form: Form, known: Mapping[str, Form]) -> Form | None:
    """The form written in what the known forms in it read, if it has any and stays short."""
    written: dict[Expr, Expr] = {}
    opened = False
    for k, c in form.coefs.items():
        inner = known[k.tensor.name].at(k.idx) if k != 1 and k.tensor.name in known else None
        opened = opened or inner is not None
        for n, d in (inner or {k: Integer(1)}).items():
            written[n] = written.get(n, 0) + c * d
    made = Form(form.idx, written)
    return made if opened and _is_short(made) else None


def _is_short(form: Form) -> bool:
    """Whether the coefficients vary, and over fewer indices than the arrays that they multiply."""
    return bool(form.small) and form.small < set(form.idx)


def _linear(e: Expr, every: set[Index]) -> dict[Expr, Expr] | None:
    """``{large read: coefficient, 1: rest}`` of an expression of degree one in reads over all indices, else None."""
    if isinstance(e, Read) and set(e.idx) == every and len(e.idx) == len(every) and e.tensor.dtype == "float":
        return {e: Integer(1)}
    if labels_of(e) < every:
        return {Integer(1): e}
    if isinstance(e, Add):
        total: dict[Expr, Expr] = {}
        for a in e.args:
            part = _linear(a, every)
            if part is None:
                return None
            for k, c in part.items():
                total[k] = total.get(k, 0) + c
        return total
    if isinstance(e, Mul):
        large = [a for a in e.args if not labels_of(a) < every]
        rest = Mul(*(a for a in e.args if a not in large))
        found = _linear(large[0], every) if len(large) == 1 else None
        return None if found is None else {k: rest * c for k, c in found.items()}
    return None


def _terms(form: Form) -> tuple[Term, ...]:
    return tuple(Term(Integer(1), (c,) if k == 1 else (c, k)) for k, c in form.coefs.items())


def _parted(e: Equation, known: Mapping[str, Form], sums: Sums) -> tuple[Term, ...] | None:
    """``sum dh (rs x - rs mean)`` as ``rs sum dh x - rs mean d_beta``, where d_beta = sum dh is there already."""
    (t,) = e.terms
    for f in t.fac:
        form = known.get(f.tensor.name) if isinstance(f, Read) else None
        if form is None or not all(isinstance(i, Index) for i in f.idx) or f.idx[-1] in t.bnd:
            continue
        coefs = form.at(f.idx)
        if any(labels_of(c) & set(t.bnd) for c in coefs.values()):
            continue
        rest = tuple(g for g in t.fac if g is not f)
        out = [Term(t.coef, (c, *rest, k), t.bnd) for k, c in coefs.items() if k != 1]
        if 1 in coefs:
            left = Term(t.coef, rest, t.bnd)
            met = next(
                (m for _, s in sums.like(left) if s.name != e.name and rest and (m := matching_sum(left, s))), None
            )
            if met is None:
                continue
            out.append(Term(met.coef, (coefs[1], *met.fac)))
        return tuple(out)
    return None


def applies(scope: Scope, e: Equation) -> bool:
    """Whether an equation has a form that reads large arrays directly."""
    found = scope.record(Affine)
    return found is not None and e.name in found.forms


def equation(scope: Scope, e: Equation, plain: object) -> Val:
    """``x * scale + shift``"""
    found = scope.record(Affine)
    assert found is not None
    return _value(scope, found.forms[e.name], (*e.idx, *e.over))


def _value(scope: Scope, form: Form, order: Order) -> Val:
    """The large arrays, scaled; then the shift, small arrays that have met before they are added to a large one."""
    large = [
        (sign, _scaled(scope, k, v, order))
        for k, (sign, v) in ((k, _coefficient(scope, c, order)) for k, c in form.coefs.items() if k != 1)
    ]
    total = signed_sum(scope, large, order)
    if 1 not in form.coefs:
        return total
    sign, shift = _coefficient(scope, form.coefs[Integer(1)], order)
    axes = union([total, shift], order)
    left, right = align(total, axes).node, align(shift, axes).node
    return Val(Binary(left, "-" if sign < 0 else "+", right), axes, joint_kind(total.kind, shift.kind))


def _coefficient(scope: Scope, c: Expr, order: Order) -> tuple[int, Val]:
    """``(sign, value)`` of a coefficient."""
    minus = c.could_extract_minus_sign()
    return (-1 if minus else 1), pointwise.expr(scope, -c if minus else c, order)


def _scaled(scope: Scope, large: Expr, coefficient: Val, order: Order) -> Val:
    """``x * (gamma * rs)``: the small arrays meet first, so their product is not joined into the large one."""
    if coefficient.node == Number(1):
        return pointwise.expr(scope, large, order)
    pair = sorted((coefficient, pointwise.expr(scope, large, order)), key=place_in_product)
    axes = union(pair, order)
    left, right = (align(v, axes).node for v in pair)
    return Val(Binary(left, "*", right), axes, joint_kind(*(v.kind for v in pair)))
