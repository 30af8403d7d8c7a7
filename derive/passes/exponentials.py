"""Named exponentials on their way to a softmax: ``e = exp z, s = sum e, p = e / s`` reads as ``exp z / sum exp z``.

People write a softmax in three definitions; the log-domain pass looks for one.  Where the sum of a named exponential is
divided by, or its logarithm is taken, the exponential is written out again, so that the sum can become a log-sum-exp.
"""

from __future__ import annotations

from dataclasses import replace

from sympy import Expr, Integer, Pow, exp, log

from derive.language import affine
from derive.language.nodes import sigmoid, softplus
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Term


def write_out(work) -> None:
    """Write named exponentials out in the sums of them that are divided by or logged, and over those sums."""
    named = {eq.tensor: eq for eq in work.forward if _exponential(eq) is not None}
    for s in list(work.forward):
        e = _summed(s, named)
        if e is None:
            continue
        users = [u for u in work.forward if s.tensor in u.tensors() and _needs_log(u, s.tensor)]
        if not users:
            continue
        _rewrite(work, s, e, s.name)
        for u in users:
            if e.tensor in u.tensors():
                _rewrite(work, u, e, s.name)


def name_sigmoids(work) -> None:
    """``1/(1 + e)`` and ``log(1 + e)`` of a named exponential, and ``e^u / (1 + e^u)``, as sigmoid and softplus."""
    named = {eq.tensor: eq for eq in work.forward if _exponential(eq) is not None}

    def one_plus(e) -> Expr | None:
        """``u`` when ``e`` is 1 plus a read of the named ``exp u``."""
        other = e - 1 if e.is_Add and len(e.args) == 2 and Integer(1) in e.args else None
        if not isinstance(other, Read) or other.tensor not in named or not affine.safe_read(other):
            return None
        source = named[other.tensor]
        return _exponential(source).args[0].xreplace(dict(zip(source.idx, other.idx, strict=True)))

    def change(f: Expr) -> Expr:
        f = f.replace(
            lambda e: isinstance(e, log) and one_plus(e.args[0]) is not None, lambda e: softplus(one_plus(e.args[0]))
        )
        return f.replace(
            lambda e: isinstance(e, Pow) and e.exp == -1 and one_plus(e.base) is not None,
            lambda e: sigmoid(-one_plus(e.base)),
        )

    for eq in list(work.forward):
        after = replace(eq, terms=tuple(replace(t, fac=_logistic(tuple(change(f) for f in t.fac))) for t in eq.terms))
        if after != eq:
            work.rewrite_forward(
                eq,
                after,
                "logistic function",
                "e^u / (1 + e^u) = 1 / (1 + e^-u) is sigmoid(u), which does not overflow",
            )


def _logistic(fac: tuple[Expr, ...]) -> tuple[Expr, ...]:
    """``exp(u) sigmoid(-u) = sigmoid(u)``."""
    out = list(fac)
    for s in [f for f in fac if isinstance(f, sigmoid)]:
        partner = exp(-s.args[0])
        if partner in out and s in out:
            out.remove(partner)
            out[out.index(s)] = sigmoid(-s.args[0])
    return tuple(out)


def _exponential(eq: Equation) -> Expr | None:
    if eq.reduce or len(eq.terms) != 1:
        return None
    t = eq.terms[0]
    plain = t.coef == 1 and len(t.fac) == 1 and not t.bnd and not t.rows
    return t.fac[0] if plain and isinstance(t.fac[0], exp) else None


def _summed(s: Equation, named) -> Equation | None:
    """The named exponential that ``s`` is the sum of, every element of it read in range."""
    if s.reduce or len(s.terms) != 1:
        return None
    t = s.terms[0]
    if t.coef != 1 or len(t.fac) != 1 or not t.bnd or not isinstance(t.fac[0], Read) or not affine.safe_read(t.fac[0]):
        return None
    return named.get(t.fac[0].tensor)


def _needs_log(u: Equation, s: Tensor) -> bool:
    def reads(x):
        return isinstance(x, Read) and x.tensor == s

    return any(reads(p.base) and p.exp.is_negative for t in u.terms for f in t.fac for p in f.atoms(Pow)) or any(
        reads(f.args[0]) for t in u.terms for g in t.fac for f in g.atoms(log)
    )


def _rewrite(work, eq: Equation, e: Equation, total: str) -> None:
    def written(f: Expr) -> Expr:
        if isinstance(f, Read) and f.tensor == e.tensor and affine.safe_read(f):
            return _exponential(e).xreplace(dict(zip(e.idx, f.idx, strict=True)))
        return f

    after = replace(eq, terms=tuple(Term(t.coef, tuple(written(f) for f in t.fac), t.bnd, t.rows) for t in eq.terms))
    if after != eq:
        work.rewrite_forward(
            eq,
            after,
            "log-sum-exp",
            f"{e.name} is an exponential, and {total} its sum: written out, they are a log-sum-exp",
        )
