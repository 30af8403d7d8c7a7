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

from .rule import Rule
from .work import Work

IN_THE_LOG_DOMAIN = (
    "Sums of exponentials go to the log domain",
    "An exponential overflows where its logarithm does not, so sums of exponentials are kept as logarithms.",
)
LOGISTIC = Rule(
    "logistic function",
    "The logistic function",
    "A quotient of exponentials overflows above and below; written as one function it is evaluated without either.",
)
WRITTEN_OUT = Rule("written out", *IN_THE_LOG_DOMAIN)


def write_out(work: Work) -> None:
    """Write named exponentials out in the sums of them that are divided by or logged, and over those sums."""
    named = _named_exponentials(work)
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


def name_sigmoids(work: Work) -> None:
    """``1/(1 + e)`` and ``log(1 + e)`` of a named exponential, and ``e^u / (1 + e^u)``, as sigmoid and softplus."""
    named = _named_exponentials(work)

    def one_plus(e: Expr) -> Expr | None:
        """``u`` when ``e`` is 1 plus a read of the named ``exp u``."""
        other = e - 1 if e.is_Add and len(e.args) == 2 and Integer(1) in e.args else None
        if not isinstance(other, Read) or other.tensor not in named or not affine.safe_read(other):
            return None
        return _written(named[other.tensor], other).args[0]

    def softplus_of(e: Expr) -> Expr:
        u = one_plus(e.args[0])
        return e if u is None else softplus(u)

    def sigmoid_of(e: Expr) -> Expr:
        u = one_plus(e.base) if e.exp == -1 else None
        return e if u is None else sigmoid(-u)

    def change(f: Expr) -> Expr:
        f = f.replace(lambda e: isinstance(e, log), softplus_of)
        return f.replace(lambda e: isinstance(e, Pow), sigmoid_of)

    for eq in list(work.forward):
        after = replace(eq, terms=tuple(replace(t, fac=_logistic(tuple(change(f) for f in t.fac))) for t in eq.terms))
        if after != eq:
            work.rewrite_forward(
                LOGISTIC, eq, after, "e^u / (1 + e^u) = 1 / (1 + e^-u) is sigmoid(u), which does not overflow"
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


def _named_exponentials(work: Work) -> dict[Tensor, Equation]:
    """The equations ``e = exp u``, by their tensor."""
    return {eq.tensor: eq for eq in work.forward if isinstance(eq.value(), exp)}


def _written(eq: Equation, read: Read) -> Expr:
    """``exp u`` in place of a read of ``e = exp u``."""
    value = eq.value()
    assert value is not None
    return value.xreplace(dict(zip(eq.idx, read.idx, strict=True)))


def _summed(s: Equation, named: dict[Tensor, Equation]) -> Equation | None:
    """The named exponential that ``s = sum e`` is the sum of, every element of it read in range."""
    t = s.single()
    if t is None or t.coef != 1 or not t.bnd:
        return None
    e = t.only()
    return named.get(e.tensor) if isinstance(e, Read) and affine.safe_read(e) else None


def _needs_log(u: Equation, s: Tensor) -> bool:
    """Whether ``u`` divides by ``s`` or takes its logarithm: only then is the sum better kept as one."""

    def reads(x: Expr) -> bool:
        return isinstance(x, Read) and x.tensor == s

    return any(reads(p.base) and p.exp.is_negative for t in u.terms for f in t.fac for p in f.atoms(Pow)) or any(
        reads(f.args[0]) for t in u.terms for g in t.fac for f in g.atoms(log)
    )


def _rewrite(work: Work, eq: Equation, e: Equation, total: str) -> None:
    """Write the named exponential out in one equation, as a factor of its own only.

    Inside another function ``e`` keeps its name: there it is a value like any other, and the log-sum-exp cannot use it.
    Out of range ``e`` is 0 and ``exp u`` is not, so a read that may leave its tensor keeps its name too.
    """

    def written(f: Expr) -> Expr:
        return _written(e, f) if isinstance(f, Read) and f.tensor == e.tensor and affine.safe_read(f) else f

    after = replace(eq, terms=tuple(Term(t.coef, tuple(written(f) for f in t.fac), t.bnd, t.rows) for t in eq.terms))
    if after != eq:
        work.rewrite_forward(
            WRITTEN_OUT,
            eq,
            after,
            f"{e.name} is an exponential, and {total} its sum: written out, they are a log-sum-exp",
        )
