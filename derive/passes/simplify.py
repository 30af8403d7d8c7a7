"""The rewriting rules for one adjoint equation, in order; each is an identity and each use becomes a step.

substitute    an adjoint that is a constant, an alias or a pointwise value of fewer indices is written in place
exponents     exp(u) and the exp(-lse) that an adjoint holds meet in one exponential: apart, either may overflow
expand        products of sums are multiplied out when the result is shorter
saved value   F(u) is written as the saved h = F(u); (x - mean) as xhat / rs where rs is never zero
facts         a declared sum, symmetry or sign is used, and recorded
known sum     a sum that an earlier equation already holds is read from it: sum_i x = I * mean
guards        where an adjoint is zero by a condition, a quotient or logarithm beside it is not looked at
hoist         what does not depend on the summed index leaves the sum, which gets a name of its own
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import sympy
from sympy import Add, Basic, Expr, Integer, Mul

from derive.language import affine
from derive.language.facts import SumsTo
from derive.language.nodes import Iverson, relu, sigmoid
from derive.language.tensor import Read
from derive.program.canonical import expr_size, term_key
from derive.program.match import match_sum
from derive.program.program import Equation, Row, Term
from derive.program.rows import guard_of, may_be_singular
from derive.program.terms import collect, decide, drop_free_sums, merge, tidy

from .contract import contract
from .inverses import INVERSE, cancelled
from .rule import Rule
from .saved_values import SAVED_VALUE
from .work import Work

SUBSTITUTION = Rule("substitution", "Substitution", "An adjoint that is only a few letters long is written in place.")
EXPAND = Rule(
    "expand and collect", "Expanding and collecting", "Products are multiplied out where terms then cancel or combine."
)
COLLECT = Rule("collect", "Collecting", "Equal factors and like terms combine.")
FACT = Rule("declared fact", "Declared facts", "What was promised about an input is used here, and nowhere else.")
KNOWN_SUM = Rule("known sum", "Known sums", "A sum that an earlier equation holds is read from it.")
JOIN = Rule(
    "one exponential",
    "One exponential",
    "The exponential of a summand and that of minus the log-sum-exp are multiplied before either is evaluated: the "
    "difference of the exponents is at most 0, so nothing overflows.",
)
GUARD = Rule(
    "guard",
    "Guards",
    "Where a condition makes an adjoint zero, what it is multiplied by may be infinite, and zero times infinity is not zero: "
    "the condition is kept beside it.",
)
HOIST = Rule("hoist", "Out of the sum")


def simplify(eq: Equation, work: Work) -> Equation:
    """Apply the rules in order until none changes the equation (it shrinks or stops each time)."""
    for _ in range(6):
        before = eq
        for rule in (
            substitute,
            join_exponents,
            cancel_inverses,
            expand,
            saved_values,
            use_facts,
            known_sums,
            keep_guards,
            hoist,
        ):
            eq = rule(eq, work)
        if eq == before:
            break
    return eq


def _changed(
    eq: Equation,
    terms: Iterable[Term],
    work: Work,
    rule: Rule,
    why: str,
    context: Iterable[Equation] = (),
    facts: Iterable[str] = (),
) -> Equation:
    """The equation with new terms, merged and collected; kept as a step if anything changed."""
    merged = [merge(x, work.saved.nonzero) for x in (contract(t) for t in terms) if x is not None]
    after = replace(eq, terms=collect([t for t in (tidy(m) for m in merged) if t is not None], eq.idx))
    if after.terms == eq.terms:
        return eq
    work.step(rule, (eq,), after, why, context=context, facts=facts)
    return after


# --- substitute ----------------------------------------------------------------------------------------------------


def substitute(eq: Equation, work: Work) -> Equation:
    """``dx = f(dy), dy = g  =>  dx = f(g)`` where g is short enough."""
    terms: list[Term] = []
    used: list[Equation] = []
    for t in eq.terms:
        terms += _substituted(t, eq, work, used)
    if not used:
        return eq
    names = sorted({u.name for u in used})
    return _changed(eq, terms, work, SUBSTITUTION, f"{', '.join(names)} written in place", context=_ordered(used))


def _ordered(equations: Iterable[Equation]) -> list[Equation]:
    seen: dict[str, Equation] = {}
    for e in equations:
        seen.setdefault(e.name, e)
    return list(seen.values())


def _substituted(t: Term, eq: Equation, work: Work, used: list[Equation]) -> list[Term]:
    for n, f in enumerate(t.fac):
        if not isinstance(f, Read):
            continue
        source = work.adjoint_equation(f.tensor)
        if source is None or source.name == eq.name or not _inlines(source, f, t, eq, work):
            continue
        if not all(affine.in_range(e, axis) for e, axis in zip(f.idx, f.tensor.axes, strict=True)):
            continue
        used.append(source)
        out = []
        for s in source.at(f.idx, work.fresh):
            out.append(Term(t.coef * s.coef, t.fac[:n] + s.fac + t.fac[n + 1 :], t.bnd + s.bnd, t.rows + s.rows))
        return [x for o in out for x in _substituted(o, eq, work, used)]
    return [t]


def _inlines(source: Equation, read: Read, t: Term, eq: Equation, work: Work) -> bool:
    """Constants and aliases always; other pointwise adjoints if they have fewer indices and are not summed over.

    Where a bracket picks from one that others read too, it keeps its name: it would be written out twice at full size.
    """
    if source.name in work.cyclic and any(r.tensor == source.tensor for r in source.reads()):
        return False
    if not source.is_pointwise:
        return False
    if work.is_delta(source):
        return True
    if all(not t.fac and not t.rows for t in source.terms):
        return True  # a constant
    alias = source.single()
    if alias is not None and not alias.rows and isinstance(alias.only(), Read):
        return True  # an alias, up to a coefficient
    if t.rows and source.name in work.shared:
        return False
    return source.tensor.rank < eq.tensor.rank and not read.free_symbols & set(t.bnd)


# --- inverses ------------------------------------------------------------------------------------------------------


def cancel_inverses(eq: Equation, work: Work) -> Equation:
    """``sum_j (A^-1)[x,j] A[j,y] = [x = y]``."""
    inverses = {e.tensor: e for e in work.forward if e.reduce == "inverse"}
    used: list[Equation] = []
    terms = [cancelled(t, inverses, used) for t in eq.terms] if inverses else eq.terms
    if not used:
        return eq
    return _changed(eq, terms, work, INVERSE, "a matrix times its inverse is the identity", context=_ordered(used))


# --- exponents -----------------------------------------------------------------------------------------------------


def join_exponents(eq: Equation, work: Work) -> Equation:
    """``ds exp(u)`` with ``ds = dlse exp(-lse)`` is ``dlse exp(u - lse)``, wherever ``ds`` is read and by however many."""
    terms: list[Term] = []
    used: list[Equation] = []
    for t in eq.terms:
        terms += _joined(t, eq, work, used)
    if not used:
        return eq
    names = ", ".join(dict.fromkeys(u.name for u in used))
    why = f"{names} holds the exponential of minus a log-sum-exp: it meets the exponential of a summand"
    return _changed(eq, terms, work, JOIN, why, context=_ordered(used))


def _joined(t: Term, eq: Equation, work: Work, used: list[Equation]) -> list[Term]:
    if not any(isinstance(f, sympy.exp) for f in t.fac):
        return [t]
    for n, f in enumerate(t.fac):
        source = work.adjoint_equation(f.tensor) if isinstance(f, Read) else None
        if source is None or source.name == eq.name or not _holds_exponential(source):
            continue
        used.append(source)
        inside = [
            row
            for e, axis in zip(f.idx, f.tensor.axes, strict=True)
            for row in (Row("<=", Integer(0), e), Row("<", e, axis))
            if not affine.in_range(e, axis)
        ]
        return [
            Term(t.coef * s.coef, t.fac[:n] + s.fac + t.fac[n + 1 :], t.bnd + s.bnd, (*t.rows, *s.rows, *inside))
            for s in source.at(f.idx, work.fresh)
        ]
    return [t]


def _holds_exponential(source: Equation) -> bool:
    """Whether each term of an adjoint holds ``exp(-lse)``."""
    return bool(source.terms) and all(
        any(isinstance(f, sympy.exp) and f.args[0].could_extract_minus_sign() for f in s.fac) for s in source.terms
    )


# --- saved values --------------------------------------------------------------------------------------------------


def saved_values(eq: Equation, work: Work) -> Equation:
    """``F(u) = h`` where the forward pass defined ``h = F(u)``."""
    terms: list[Term] = []
    used: list[str] = []
    for t in eq.terms:
        t = merge(t, work.saved.nonzero)
        t, names = work.saved.rewrite(t)
        terms.append(t)
        used += names
    why = (
        f"{', '.join(dict.fromkeys(used))} already hold{'s' if len(set(used)) == 1 else ''} this value"
        if used
        else "equal factors and exponentials combine"
    )
    return _changed(eq, terms, work, SAVED_VALUE if used else COLLECT, why)


# --- facts ---------------------------------------------------------------------------------------------------------


def use_facts(eq: Equation, work: Work) -> Equation:
    """``|v| = v`` for v > 0, ``sum_k y[b,k] = 1``, ``A[j,i] = A[i,j]``, where declared."""
    terms: list[Term] = []
    texts: list[str] = []
    for t in eq.terms:
        t = _signs(t, texts)
        terms.append(_declared_sum(t, texts))
    terms = _symmetry(terms, eq, texts)
    if not texts:
        return eq
    return _changed(eq, terms, work, FACT, "; ".join(dict.fromkeys(texts)), facts=dict.fromkeys(texts))


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


def _declared_sum(t: Term, texts: list[str]) -> Term:
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
                return _declared_sum(Term(t.coef * fact.value, fac, tuple(x for x in t.bnd if x != b), t.rows), texts)
    return t


def _symmetry(terms: list[Term], eq: Equation, texts: list[str]) -> list[Term]:
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
    return _changed(
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


# --- guards --------------------------------------------------------------------------------------------------------


def keep_guards(eq: Equation, work: Work) -> Equation:
    """``dx = dy / x`` with ``dy = g [c]`` is ``dx = [c] dy / x``: 0 where c is false, whatever x is there."""
    used: list[Equation] = []
    terms = [_guarded(t, eq, work, used) for t in eq.terms]
    if not used:
        return eq
    names = ", ".join(dict.fromkeys(u.name for u in used))
    why = f"{names} is zero where the condition fails, and what stands beside it may be infinite there"
    return _changed(eq, terms, work, GUARD, why, context=_ordered(used))


def _guarded(t: Term, eq: Equation, work: Work, used: list[Equation]) -> Term:
    for f in t.fac:
        source = work.adjoint_equation(f.tensor) if isinstance(f, Read) else None
        if source is None or source.name == eq.name or not any(_singular(g, work) for g in t.fac if g is not f):
            continue
        at = dict(zip(source.idx, f.idx, strict=True))
        rows, conditions = _support(source)
        new_rows = [r for r in (r.xreplace(at) for r in rows) if r not in t.rows and decide(r) is None]
        new = [c for c in (Iverson(c.xreplace(at)) for c in conditions) if c not in t.fac and isinstance(c, Iverson)]
        if new_rows or new:
            used.append(source)
            t = replace(t, fac=(*t.fac, *new), rows=(*t.rows, *new_rows))
    return t


def _singular(f: Expr, work: Work) -> bool:
    """Whether a factor may be infinite: by what it is, or as a read of a forward value that is such a thing."""
    values = [v for r in f.atoms(Read) if (v := work.equation(r.tensor.name)) is not None]
    return may_be_singular(f) or any(may_be_singular(g) for v in values for t in v.terms if not t.rows for g in t.fac)


def _support(eq: Equation) -> tuple[list[Row], list[Basic]]:
    """The rows and conditions on an equation's own indices that stand in each of its terms: elsewhere it is zero."""
    if eq.reduce or not eq.terms:
        return [], []
    bound = {b for t in eq.terms for b in t.bnd}
    first, *others = eq.terms
    rows = [r for r in first.rows if not r.free_symbols & bound and all(r in t.rows for t in others)]
    guards = [[c for f in t.fac if (c := guard_of(f)) is not None and not c.free_symbols & bound] for t in eq.terms]
    return rows, [c for c in guards[0] if all(c in more for more in guards[1:])]


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
        product = sympy.expand_mul(product, deep=False)
        if len(Add.make_args(product)) > 24:
            return eq
        for a in Add.make_args(product):
            x = tidy(Term(t.coef, (a,), t.bnd, t.rows))
            if x is not None:
                x = merge(drop_free_sums(x), work.saved.nonzero)
                x, _ = work.saved.rewrite(x)
                terms.append(_known(_declared_sum(x, texts), eq, work, used))
    collected = collect([t for t in (tidy(m) for m in terms) if t is not None], eq.idx)
    met = used or texts or len(collected) < many  # a sum that is known, or terms that meet
    if not met or _cost(collected) >= _cost(eq.terms) or len(collected) > sum(_addends(t) for t in eq.terms):
        return eq
    why = "multiplied out, terms cancel or combine"
    if used:
        why += f"; {', '.join(sorted({u.name for u in used}))} holds one of the sums"
    if texts:
        why += f"; {'; '.join(dict.fromkeys(texts))}"
    return _changed(
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
    return _changed(eq, terms, work, HOIST, "what does not depend on the summed index leaves the sum", context=made)


def _named_sum(inner: Term, eq: Equation, work: Work) -> Equation:
    """The equation of a hoisted sum, by the indices of ``eq`` that it depends on."""
    idx = tuple(i for i in eq.idx if i in inner.free_symbols)
    made = Equation(work.tensor(work.unused(f"{eq.name}_sum"), idx, eq.tensor.block), idx, (inner,))
    work.backward.append(made)
    work.define(HOIST, made, f"the sum inside {eq.name} gets a name")
    work.register(made)
    return made
