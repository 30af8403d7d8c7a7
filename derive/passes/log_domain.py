"""The log-domain pass: softmax and its logarithm through log-sum-exp, before anything is differentiated.

``s = sum exp z`` that is divided by or whose logarithm is taken becomes ``exp(lse)`` with ``lse = log s``; then
``exp(z) / s = exp(z - lse)``, ``log(exp u) = u``, ``log sigmoid(u) = -softplus(-u)`` and
``log(1 - sigmoid(u)) = -softplus(u)``.  ``log cosh u`` is rewritten last, when its derivative ``tanh u`` is taken.
These are identities of the reals, each kept as a step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sympy import Add, Expr, Integer, Mul, Pow, exp, log

from derive.language import affine
from derive.language.nodes import sigmoid, softplus
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Term
from derive.program.terms import merge, summed, tidy

from .exponentials import IN_THE_LOG_DOMAIN, exponential_of, name_sigmoids, write_out
from .log_products import log_products
from .log_sums import log_sums
from .rule import Rule
from .work import Work

LOG_SUM_EXP = Rule("log-sum-exp", *IN_THE_LOG_DOMAIN, "exp-equal")
LOG_OF_EXP = Rule(
    "logarithm of an exponential",
    "Logarithms of exponentials",
    "Where a logarithm meets the exponential it undoes, neither is evaluated.",
    "exp-equal",
)


def log_domain(work: Work) -> str:
    """Rewrite the forward equations of ``work`` (see :mod:`derive.passes.pipeline`) in the log domain."""
    name_sigmoids(work)
    done = log_products(work)
    done += log_sums(work)
    seen: set[str] = set()
    while True:  # a softmax is a named exponential itself once its sum is one
        write_out(work)
        sums = [eq for eq in work.forward if _is_sum_of_exp(eq) and eq.name not in seen]
        if not sums:
            break
        seen |= {eq.name for eq in sums}
        for name in [eq.name for eq in sums]:
            eq = work.equation(name)  # a sum read by another may have become an exponent of it
            if eq is not None and _is_sum_of_exp(eq):
                done += _through_lse(work, eq)
    for eq in list(work.forward):
        after = _map_factors(eq, lambda f: _log_of_exp(f, work))
        if after != eq:
            work.rewrite_forward(
                LOG_OF_EXP,
                eq,
                after,
                "the logarithm undoes the exponential: log exp u = u and log sigmoid u = -softplus(-u), "
                "so nothing overflows and nothing is lost",
            )
            done.append(eq.name)
    return ", ".join(done) or "nothing to do"


def _is_sum_of_exp(eq: Equation) -> bool:
    t = summed(eq)
    return t is not None and exponential_of(t) is not None


def _through_lse(work: Work, s: Equation) -> list[str]:
    users = [e for e in work.forward if s.tensor in e.tensors()]
    divides = [e for e in users if any(_divides(f, s.tensor) for t in e.terms for f in t.fac)]
    takes_log = [
        e
        for e in users
        if any(
            isinstance(f.args[0], Read) and f.args[0].tensor == s.tensor
            for t in e.terms
            for g in t.fac
            for f in g.atoms(log)
        )
    ]
    if not divides and not takes_log:
        return []
    lse = next(
        (e.tensor for e in takes_log if len(e.idx) == s.tensor.rank and e.value() == log(Read(s.tensor, *e.idx))), None
    )
    if lse is None:
        name = work.unused(_lse_name(s.name))
        lse = work.tensor_like(s.tensor, name)
        eq = Equation(lse, s.idx, (Term(Integer(1), (log(Read(s.tensor, *s.idx)),)),))
        work.insert_after(s, eq)
        work.define(
            LOG_SUM_EXP, eq, f"{s.name} is a sum of exponentials, which overflows; its logarithm {name} does not"
        )
    for eq in users:
        if eq.tensor == lse:
            continue
        after = _map_factors(eq, lambda f: _in_lse(f, s.tensor, lse))
        tidied = [tidy(t) for t in after.terms]
        after = replace(after, terms=tuple(merge(t) for t in tidied if t is not None))
        if after != eq:
            work.rewrite_forward(
                LOG_SUM_EXP,
                eq,
                after,
                f"{s.name} is the exponential of {lse.name}: a quotient by it is that of a difference, which cannot overflow",
            )
    return [lse.name]


def _lse_name(name: str) -> str:
    base = name.removesuffix("_sum")
    return f"{base}_lse"


def _divides(f: Expr, t: Tensor) -> bool:
    return any(isinstance(p.base, Read) and p.base.tensor == t and p.exp.is_negative for p in f.atoms(Pow)) or (
        isinstance(f, Pow) and isinstance(f.base, Read) and f.base.tensor == t and f.exp.is_negative is True
    )


def _in_lse(f: Expr, s: Tensor, lse: Tensor) -> Expr:
    def is_power(e: Expr) -> bool:
        return isinstance(e, Pow) and isinstance(e.base, Read) and e.base.tensor == s and e.exp.is_negative

    def is_log(e: Expr) -> bool:
        return isinstance(e, log) and isinstance(e.args[0], Read) and e.args[0].tensor == s

    f = f.replace(is_log, lambda e: Read(lse, *e.args[0].idx))
    return _one_exponential(f.replace(is_power, lambda e: exp(e.exp * Read(lse, *e.base.idx))))


def _one_exponential(f: Expr) -> Expr:
    """Products of exponentials inside ``f`` as exponentials of sums: of ``e^u e^(-v)`` one factor may overflow alone."""

    def several(e: Expr) -> bool:
        return e.is_Mul and sum(isinstance(a, exp) for a in e.args) > 1

    def joined(e: Expr) -> Expr:
        powers = [a.args[0] for a in e.args if isinstance(a, exp)]
        return Mul(exp(Add(*powers)), *(a for a in e.args if not isinstance(a, exp)))

    return f.replace(several, joined)


def _map_factors(eq: Equation, change: Callable[[Expr], Expr]) -> Equation:
    return replace(eq, terms=tuple(t for old in eq.terms for t in _split_changed(old, change)))


def _split_changed(t: Term, change: Callable[[Expr], Expr]) -> list[Term]:
    """The term with its factors changed; a sum that is now the only factor is terms of its own."""
    fac = tuple(change(f) for f in t.fac)
    if fac == t.fac:
        return [t]
    if len(fac) == 1 and fac[0].is_Add and not t.bnd and not t.rows:
        changed = [Term(t.coef, (a,)) for a in fac[0].args]
    else:
        changed = [Term(t.coef, fac, t.bnd, t.rows)]
    return [x for x in map(tidy, changed) if x is not None]


def _log_of_exp(f: Expr, work: Work) -> Expr:
    """``log(p)`` and ``log(1 - p)`` for p an exponential or a sigmoid, named or written out."""

    def change(e: Expr) -> Expr:
        number, u = _one_exponential(e.args[0]).as_independent(Read, as_Add=False)
        found = _exponential(u, work) or _product_of_exponentials(u, work)
        if number != 1:
            return log(number) + change(log(u)) if found is not None and number.is_positive else e
        if isinstance(found, exp):
            return found.args[0]
        if isinstance(found, sigmoid):
            return -softplus(-found.args[0])
        if u.is_Add and len(u.args) == 2 and Integer(1) in u.args:
            rest = _exponential(Integer(1) - u, work)
            if isinstance(rest, sigmoid):
                return -softplus(rest.args[0])
        return e

    return f.replace(lambda e: isinstance(e, log), change) if f.has(log) else f


def _product_of_exponentials(u: Expr, work: Work) -> Expr | None:
    """``exp(v + w)`` of ``exp(v) exp(w)``, named or written out."""
    parts = [_exponential(f, work) for f in Mul.make_args(u)]
    if len(parts) < 2 or not all(isinstance(p, exp) for p in parts):
        return None
    return exp(Add(*(p.args[0] for p in parts if p is not None)))


def _exponential(u: Expr, work: Work) -> Expr | None:
    """``exp v`` or ``sigmoid v`` when ``u`` is one, directly or through a definition read in range."""
    if isinstance(u, exp | sigmoid):
        return u
    eq = work.equation(u.tensor.name) if isinstance(u, Read) and affine.safe_read(u) else None
    term = None if eq is None else eq.single()
    if eq is None or term is None or not term.is_plain:
        return None
    value = _one_exponential(Mul(*term.fac))
    return value.xreplace(dict(zip(eq.idx, u.idx, strict=True))) if isinstance(value, exp | sigmoid) else None
