"""The log-domain pass: softmax and its logarithm through log-sum-exp, before anything is differentiated.

``s = sum exp z`` that is divided by or whose logarithm is taken becomes ``exp(lse)`` with ``lse = log s``; then
``exp(z) / s = exp(z - lse)``, ``log(exp u) = u``, ``log sigmoid(u) = -softplus(-u)`` and
``log(1 - sigmoid(u)) = -softplus(u)``.  ``log cosh u`` is rewritten last, when its derivative ``tanh u`` is taken.
These are identities of the reals, each kept as a step.
"""

from __future__ import annotations

from dataclasses import replace

from sympy import Abs, Add, Expr, Integer, Mul, Pow, cosh, exp, log

from derive.language import affine
from derive.language.nodes import sigmoid, softplus
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Term
from derive.program.terms import merge, tidy

from .exponentials import name_sigmoids, write_out


def log_domain(work) -> str:
    """Rewrite the forward equations of ``work`` (see :mod:`derive.passes.pipeline`) in the log domain."""
    write_out(work)
    name_sigmoids(work)
    done = []
    for eq in list(work.forward):
        if _is_sum_of_exp(eq):
            done += _through_lse(work, eq)
    for eq in list(work.forward):
        after = _map_factors(eq, lambda f: _log_of_exp(f, work))
        if after != eq:
            work.rewrite_forward(
                eq,
                after,
                "logarithm of an exponential",
                "the logarithm undoes the exponential: log exp u = u and log sigmoid u = -softplus(-u), "
                "so nothing overflows and nothing is lost",
                claim="exp-equal",
            )
            done.append(eq.name)
    return ", ".join(done) or "nothing to do"


def log_cosh(work) -> list[str]:
    """``log cosh u = |u| + log(1 + e^(-2|u|)) - log 2`` in the finished equations: cosh overflows, this does not."""

    def is_log_cosh(e):
        return isinstance(e, log) and isinstance(e.args[0], cosh)

    def change(e):
        u = Abs(e.args[0].args[0])
        return u + softplus(-2 * u) - log(2)

    done = []
    for eq in list(work.forward):
        after = replace(
            eq, terms=tuple(replace(t, fac=tuple(f.replace(is_log_cosh, change) for f in t.fac)) for t in eq.terms)
        )
        if after != eq:
            work.rewrite_forward(
                eq,
                after,
                "stabilize",
                "cosh u = e^|u| (1 + e^(-2|u|)) / 2, and the logarithm of a product is a sum: nothing overflows",
                claim="exp-equal",
            )
            done.append(eq.name)
    return done


def _is_sum_of_exp(eq: Equation) -> bool:
    if eq.reduce or len(eq.terms) != 1:
        return False
    t = eq.terms[0]
    return t.coef == 1 and len(t.fac) == 1 and isinstance(t.fac[0], exp) and bool(t.bnd)


def _through_lse(work, s: Equation) -> list[str]:
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
        (
            e.tensor
            for e in takes_log
            if len(e.idx) == s.tensor.rank and e.terms == (Term(Integer(1), (log(Read(s.tensor, *e.idx)),)),)
        ),
        None,
    )
    if lse is None:
        name = work.unused(_lse_name(s.name))
        lse = work.tensor_like(s.tensor, name)
        eq = Equation(lse, s.idx, (Term(Integer(1), (log(Read(s.tensor, *s.idx)),)),))
        work.insert_after(s, eq)
        work.step(
            "log-sum-exp",
            name,
            (),
            eq,
            f"{s.name} is a sum of exponentials, which overflows; its logarithm {name} does not",
            claim="definition",
        )
    for eq in users:
        if eq.tensor == lse:
            continue
        after = _map_factors(eq, lambda f: _in_lse(f, s.tensor, lse))
        after = replace(after, terms=tuple(merge(tidy(t)) for t in after.terms))
        if after != eq:
            work.rewrite_forward(
                eq,
                after,
                "log-sum-exp",
                f"{s.name} = exp {lse.name}: a quotient by the sum is the "
                f"exponential of a difference, which cannot overflow",
                claim="exp-equal",
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
    def is_power(e):
        return isinstance(e, Pow) and isinstance(e.base, Read) and e.base.tensor == s and e.exp.is_negative

    def is_log(e):
        return isinstance(e, log) and isinstance(e.args[0], Read) and e.args[0].tensor == s

    f = f.replace(is_log, lambda e: Read(lse, *e.args[0].idx))
    return _one_exponential(f.replace(is_power, lambda e: exp(e.exp * Read(lse, *e.base.idx))))


def _one_exponential(f: Expr) -> Expr:
    """Products of exponentials inside ``f`` as exponentials of sums: of ``e^u e^(-v)`` one factor may overflow alone."""

    def several(e):
        return e.is_Mul and sum(isinstance(a, exp) for a in e.args) > 1

    def joined(e):
        powers = [a.args[0] for a in e.args if isinstance(a, exp)]
        return Mul(exp(Add(*powers)), *(a for a in e.args if not isinstance(a, exp)))

    return f.replace(several, joined)


def _map_factors(eq: Equation, change) -> Equation:
    return replace(eq, terms=tuple(t for old in eq.terms for t in _split_changed(old, change)))


def _split_changed(t: Term, change) -> list[Term]:
    fac = tuple(change(f) for f in t.fac)
    if fac == t.fac:
        return [t]
    if len(fac) == 1 and fac[0].is_Add and not t.bnd and not t.rows:
        return [tidy(Term(t.coef, (a,))) for a in fac[0].args]
    return [tidy(Term(t.coef, fac, t.bnd, t.rows))]


def _log_of_exp(f: Expr, work) -> Expr:
    """``log(p)`` and ``log(1 - p)`` for p an exponential or a sigmoid, named or written out."""

    def change(e):
        number, u = _one_exponential(e.args[0]).as_independent(Read, as_Add=False)
        kind, inner = _exponential(u, work)
        if number != 1:
            return log(number) + change(log(u)) if kind and number.is_positive else e
        if kind == "exp":
            return inner
        if kind == "sigmoid":
            return -softplus(-inner)
        if u.is_Add and len(u.args) == 2 and Integer(1) in u.args:
            kind, inner = _exponential(Integer(1) - u, work)
            if kind == "sigmoid":
                return -softplus(inner)
        return e

    return f.replace(lambda e: isinstance(e, log), change) if f.has(log) else f


def _exponential(u: Expr, work):
    """("exp" | "sigmoid", argument) when ``u`` is one, directly or through a definition read in range; else (None, None)."""
    if isinstance(u, exp):
        return "exp", u.args[0]
    if isinstance(u, sigmoid):
        return "sigmoid", u.args[0]
    if isinstance(u, Read) and affine.safe_read(u):
        eq = work.equation(u.tensor.name)
        if eq is not None and eq.reduce is None and len(eq.terms) == 1:
            t = eq.terms[0]
            if t.coef == 1 and not t.bnd and not t.rows and len(t.fac) == 1 and isinstance(t.fac[0], exp | sigmoid):
                inner = t.fac[0].args[0].xreplace(dict(zip(eq.idx, u.idx, strict=True)))
                return ("exp" if isinstance(t.fac[0], exp) else "sigmoid"), inner
    return None, None
