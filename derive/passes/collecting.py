"""The rules of :mod:`derive.passes.simplify` that collect: facts, known sums, products multiplied out, sums left."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import sympy
from sympy import Add, Expr, Integer, Mul

from derive.language import affine
from derive.language.facts import SumsTo
from derive.language.nodes import Iverson, relu, sigmoid
from derive.language.tensor import Read
from derive.program.canonical import expr_size, term_key
from derive.program.match import match_sum
from derive.program.program import Equation, Term
from derive.program.terms import collect, drop_free_sums, merge, tidy

from .changes import changed
from .rule import Rule
from .work import Work

EXPAND = Rule(
    "expand and collect", "Expanding and collecting", "Products are multiplied out where terms then cancel or combine."
)
FACT = Rule("declared fact", "Declared facts", "What was promised about an input is used here, and nowhere else.")
KNOWN_SUM = Rule("known sum", "Known sums", "A sum that an earlier equation holds is read from it.")
HOIST = Rule("hoist", "Out of the sum")

MOST = 400  # products that are written out in the hope that they meet


# --- facts ---------------------------------------------------------------------------------------------------------


def use_facts(eq: Equation, work: Work) -> Equation:
    """``|v| = v`` for v > 0, ``sum_k y[b,k] = 1``, ``A[j,i] = A[i,j]``, where declared."""
    terms: list[Term] = []
    texts: list[str] = []
    for t in eq.terms:
        t = _signs(t, texts)
        terms.append(declared_sum(t, texts))
    terms = transposed_alike(terms, eq, texts)
    if not texts:
        return eq
    return changed(eq, terms, work, FACT, "; ".join(dict.fromkeys(texts)), facts=dict.fromkeys(texts))


def _signs(t: Term, texts: list[str]) -> Term:
    def positive(e: Expr) -> bool:
        return isinstance(e, Read) and any(f.kind == "positive" for f in e.tensor.facts)

    def hit(e: Expr) -> bool:
        return (
            isinstance(e, sympy.Abs | sympy.sign | relu)
            and positive(e.args[0])
            or (
                isinstance(e, Iverson)
                and isinstance(e.condition, sympy.Gt)
                and positive(e.condition.lhs)
                and e.condition.rhs == 0
            )
        )

    def change(e: Expr) -> Expr:
        read = e.condition.lhs if isinstance(e, Iverson) else e.args[0]
        fact = next(f for f in read.tensor.facts if f.kind == "positive")
        texts.append(fact.text(read.tensor))
        return Integer(1) if isinstance(e, sympy.sign | Iverson) else read

    fac = tuple(f.replace(hit, change) if f.has(sympy.Abs, sympy.sign, relu, Iverson) else f for f in t.fac)
    return replace(t, fac=fac)


def declared_sum(t: Term, texts: list[str]) -> Term:
    """``sum_k y[b, k] -> 1`` where declared: the bound index is read once, bare, on the declared axis."""
    for b in t.bnd:
        holders = [f for f in t.fac if b in f.free_symbols]
        if len(holders) != 1 or not isinstance(holders[0], Read) or any(b in r.free_symbols for r in t.rows):
            continue
        y = holders[0]
        for fact in y.tensor.facts:
            if (
                isinstance(fact, SumsTo)
                and [n for n, e in enumerate(y.idx) if b in e.free_symbols] == [fact.axis(y.tensor)]
                and y.idx[fact.axis(y.tensor)] == b
                and all(affine.in_range(e, a) for e, a in zip(y.idx, y.tensor.axes, strict=True))
            ):
                texts.append(fact.text(y.tensor))
                fac = tuple(f for f in t.fac if f is not y)
                return declared_sum(Term(t.coef * fact.value, fac, tuple(x for x in t.bnd if x != b), t.rows), texts)
    return t


def transposed_alike(terms: list[Term], eq: Equation, texts: list[str]) -> list[Term]:
    """Read a symmetric matrix transposed where that makes two terms alike."""
    env = {i: f"={n}" for n, i in enumerate(eq.idx)}
    out: list[Term] = []
    keys: dict[str, int] = {}
    for t in terms:
        k = term_key(t, env)
        if k not in keys:
            for r in sorted((r for r in t.reads() if any(f.is_symmetric for f in r.tensor.facts)), key=str):
                swapped = t.xreplace({r: Read(r.tensor, r.idx[1], r.idx[0])})
                if term_key(swapped, env) in keys:
                    texts.append(next(f for f in r.tensor.facts if f.is_symmetric).text(r.tensor))
                    t, k = swapped, term_key(swapped, env)
                    break
        keys.setdefault(k, len(out))
        out.append(t)
    return out


# --- known sums, expansion, hoisting ---------------------------------------------------------------------------------


def known_sums(eq: Equation, work: Work) -> Equation:
    """``sum_i x[b,i] = I mean[b]`` where the forward pass, or an earlier adjoint, defined ``mean`` so."""
    used: list[Equation] = []
    terms = [_known(t, eq, work, used) for t in eq.terms]
    if not used:
        return eq
    return changed(
        eq,
        terms,
        work,
        KNOWN_SUM,
        f"{', '.join(sorted({u.name for u in used}))} holds this sum",
        context=[u for u in used if work.is_backward(u)],
    )


def _known(t: Term, eq: Equation, work: Work, used: list[Equation]) -> Term:
    """The term with its sum read from an equation that already holds it, if there is one."""
    if not t.bnd:
        return t
    outer, inner = _split(t)
    if inner is None:
        return t
    for other in work.sums_like(inner):
        if other.name == eq.name:
            continue
        at = match_sum(other, inner)
        if at is not None and all(affine.in_range(e, a) for e, a in zip(at, other.tensor.axes, strict=True)):
            used.append(other)
            ratio = inner.coef / other.terms[0].coef
            return Term(outer.coef * ratio, (*outer.fac, Read(other.tensor, *at)), (), outer.rows)
    return t


def _split(t: Term) -> tuple[Term, Term | None]:
    """A term as (what is constant under its sum) * (the sum itself)."""
    bound = set(t.bnd)
    inside = tuple(f for f in t.fac if f.free_symbols & bound)
    outside = tuple(f for f in t.fac if not f.free_symbols & bound)
    rows_in = tuple(r for r in t.rows if r.free_symbols & bound)
    rows_out = tuple(r for r in t.rows if not r.free_symbols & bound)
    if not inside:
        return t, None
    return Term(t.coef, outside, (), rows_out), Term(Integer(1), inside, t.bnd, rows_in)


def expand(eq: Equation, work: Work) -> Equation:
    """Multiply out, read known sums, use facts and collect; kept only if the equation gets shorter."""
    if not any(f.is_Add or isinstance(f, sigmoid) or f.has(sigmoid) for t in eq.terms for f in t.fac):
        return eq
    used: list[Equation] = []
    texts: list[str] = []
    terms: list[Term] = []
    many = 0
    for t in eq.terms:
        product = Mul(
            *(
                f.replace(
                    lambda e: isinstance(e, sigmoid) and e.args[0].could_extract_minus_sign(),
                    lambda e: 1 - sigmoid(-e.args[0]),
                )
                for f in t.fac
            )
        )
        many += _products(product)
        if many > MOST:  # so many could be written before any meet: a nest of n tanh has 2^n
            return eq
        product = sympy.expand_mul(product, deep=False)
        if len(Add.make_args(product)) > 24:
            return eq
        for a in Add.make_args(product):
            x = tidy(Term(t.coef, (a,), t.bnd, t.rows))
            if x is not None:
                x = merge(drop_free_sums(x), work.saved.nonzero)
                x, _ = work.saved.rewrite(x)
                terms.append(_known(declared_sum(x, texts), eq, work, used))
    collected = collect([t for t in (tidy(m) for m in terms) if t is not None], eq.idx)
    met = used or texts or len(collected) < many  # a sum that is known, or terms that meet
    if not met or _cost(collected) >= _cost(eq.terms) or len(collected) > sum(_addends(t) for t in eq.terms):
        return eq
    why = "multiplied out, terms cancel or combine"
    if used:
        why += f"; {', '.join(sorted({u.name for u in used}))} holds one of the sums"
    if texts:
        why += f"; {'; '.join(dict.fromkeys(texts))}"
    return changed(
        eq, collected, work, EXPAND, why, context=[u for u in used if work.is_backward(u)], facts=dict.fromkeys(texts)
    )


def _products(e: Expr) -> int:
    """How many products multiplying out would write, before any of them meet."""
    if isinstance(e, Add):
        return sum(_products(a) for a in e.args)
    if isinstance(e, Mul):
        return math.prod(_products(a) for a in e.args)
    return 1


def _addends(t: Term) -> int:
    """How many addends a term shows: those of its longest sum, at least one."""
    return max((len(f.args) for f in t.fac if f.is_Add), default=1)


def _cost(terms: Iterable[Term]) -> int:
    return sum(2 + sum(expr_size(f) for f in t.fac) + 3 * len(t.bnd) + 2 * len(t.rows) for t in terms)


def hoist(eq: Equation, work: Work) -> Equation:
    """``sum_i rs[b] a[b,i] = rs[b] * sum_i a[b,i]``, the sum named, so that it can be read and reused."""
    terms: list[Term] = []
    made: list[Equation] = []
    for t in eq.terms:
        outer, inner = _split(t) if t.bnd else (t, None)
        if inner is None or not outer.fac:
            terms.append(t)
            continue
        core = _named_sum(inner, eq, work)
        made.append(core)
        terms.append(Term(outer.coef, (*outer.fac, core.lhs), (), outer.rows))
    if not made:
        return eq
    return changed(eq, terms, work, HOIST, "what does not depend on the summed index leaves the sum", context=made)


def _named_sum(inner: Term, eq: Equation, work: Work) -> Equation:
    """The equation of a hoisted sum, by the indices of ``eq`` that it depends on."""
    idx = tuple(i for i in eq.idx if i in inner.free_symbols)
    made = Equation(work.tensor(work.unused(f"{eq.name}_sum"), idx, eq.tensor.block), idx, (inner,))
    work.backward.append(made)
    work.define(HOIST, made, f"the sum inside {eq.name} gets a name")
    work.register(made)
    return made
