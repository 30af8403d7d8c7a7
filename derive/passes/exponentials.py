"""Named exponentials on their way to a softmax: ``e = exp z, s = sum e, p = e / s`` reads as ``exp z / sum exp z``.

People write a softmax in three definitions; the log-domain pass looks for one.  Where the sum of a named exponential is
divided by, or its logarithm is taken, the exponential is written out again, so that the sum can become a log-sum-exp.
"""

from __future__ import annotations

from dataclasses import replace

from sympy import Add, And, Basic, Expr, Integer, Mul, Ne, Piecewise, Pow, cosh, exp, expand, log, oo, sinh, tanh, true

from derive.language import affine
from derive.language.nodes import sigmoid, softplus
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Term
from derive.program.rows import guard_of
from derive.program.terms import summed

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
    """Write named and masked exponentials out in the sums of them that are divided by or logged, and over those sums."""
    named = _named_exponentials(work)
    for s in list(work.forward):
        t = summed(s)
        users = [u for u in work.forward if s.tensor in u.tensors() and needs_log(u, s.tensor)]
        if t is None or not users:
            continue
        weights = _weights(_written_out(t, named, frozenset()), work)
        written = _written_out(t, named, weights)
        if written == t or exponential_of(written) is None:
            continue
        exponentials = {f.tensor for f in t.fac if isinstance(f, Read) and f.tensor in named}
        _rewrite(work, s, named, weights, s.name)
        for u in users:
            masked = any(guard_of(f) is not None and f.has(exp) for x in u.terms for f in x.fac)
            several = any(sum(isinstance(f, exp) for f in x.fac) > 1 for x in u.terms)
            if exponentials & set(u.tensors()) or weights & set(u.tensors()) or masked or several:
                _rewrite(work, u, named, weights, s.name)


def _weights(t: Term, work: Work) -> frozenset[Tensor]:
    """The inputs that are not differentiated and multiply an exponential: masks, which may be zero where it overflows."""
    reads = [f.tensor for f in t.fac if isinstance(f, Read) and f.tensor.is_input and f.tensor.dtype == "float"]
    return frozenset(x for x in reads if x not in work.wrt)


def exponential_of(t: Term) -> Expr | None:
    """``exp u`` of a term ``w exp(u)``, if it is the one factor that holds an exponential."""
    found = [f for f in t.fac if f.has(exp)]
    return found[0] if len(found) == 1 and isinstance(found[0], exp) else None


def _written_out(t: Term, named: dict[Tensor, Equation], weights: frozenset[Tensor]) -> Term:
    """The term with named exponentials in place, each masked by an exponent of -oo rather than by a factor of 0.

    ``{exp(u) if c; 0} = exp({u if c; -oo})``, and ``w exp(u) = w exp({u if w != 0; -oo})``: what a mask takes away is then
    taken away from the largest exponent too, which all are measured by.
    """
    fac: list[Expr] = []
    rows = list(t.rows)
    for f in t.fac:
        if isinstance(f, Read) and f.tensor in named and affine.safe_read(f):
            inside = named[f.tensor].terms[0].xreplace(dict(zip(named[f.tensor].idx, f.idx, strict=True)))
            fac += inside.fac
            rows += [r for r in inside.rows if r not in rows]
        else:
            fac.append(f)
    fac = _joined([_masked(f) for f in fac])
    if sum(isinstance(f, exp) for f in fac) == 1:
        under = And.make_args(next(_parted(f.args[0])[1] for f in fac if isinstance(f, exp)))
        conditions = [Ne(f, 0) for f in fac if isinstance(f, Read) and f.tensor in weights and Ne(f, 0) not in under]
        if conditions:
            fac = [exp(_under(f.args[0], And(*conditions))) if isinstance(f, exp) else f for f in fac]
    return replace(t, fac=tuple(fac), rows=tuple(rows))


def _joined(fac: list[Expr]) -> list[Expr]:
    """``e^(u + v)`` for ``e^u e^v``, of which one may overflow alone; where a condition takes one away, it takes both."""
    powers = [f.args[0] for f in fac if isinstance(f, exp)]
    if len(powers) < 2:
        return fac
    exponents, conditions = zip(*map(_parted, powers), strict=True)
    exponent = Add(*exponents) if And(*conditions) == true else _under(Add(*exponents), And(*conditions))
    return [exp(exponent), *(f for f in fac if not isinstance(f, exp))]


def _parted(u: Expr) -> tuple[Expr, Basic]:
    """``v`` and ``c`` of an exponent ``{v if c; -oo}``; of any other, itself and true."""
    if isinstance(u, Piecewise) and len(u.args) == 2 and u.args[1] == (-oo, True):
        return u.args[0]
    return u, true


def _masked(f: Expr) -> Expr:
    condition = guard_of(f)
    if condition is not None and isinstance(f, Piecewise) and isinstance(f.args[0][0], exp):
        return exp(_under(f.args[0][0].args[0], condition))
    return f


def _under(u: Expr, condition: Basic) -> Expr:
    return Piecewise((u, condition), (-oo, True), evaluate=False)


def name_sigmoids(work: Work) -> None:
    """``1/(1 + e)`` and ``log(1 + e)`` of a named exponential, and ``e^u / (1 + e^u)``, as sigmoid and softplus."""
    named = _named_exponentials(work)

    def one_plus(e: Expr) -> Expr | None:
        """``u`` when ``e`` is 1 plus a read of the named ``exp u``."""
        other = e - 1 if e.is_Add and len(e.args) == 2 and Integer(1) in e.args else None
        if (
            not isinstance(other, Read)
            or other.tensor not in named
            or named[other.tensor].value() is None
            or not affine.safe_read(other)
        ):
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
        before, after = after, replace(after, terms=tuple(_hyperbolic(t) for t in after.terms))
        if after != before:
            why = "(e^u - e^-u) / (e^u + e^-u) is tanh(u) and 1 / cosh(u)^2 is 4 sigmoid(2u) sigmoid(-2u): neither overflows"
            work.rewrite_forward(LOGISTIC, before, after, why)


def _hyperbolic(t: Term) -> Term:
    """``(e^u - e^-u) / (e^u + e^-u)`` as ``tanh u``, among the factors of a term and inside them."""

    def joined(factors: tuple[Expr, ...]) -> tuple[Expr, ...]:
        out = list(factors)
        for below in [f for f in factors if isinstance(f, Pow) and f.exp == -1 and isinstance(f.base, cosh)]:
            u = below.base.args[0]
            if sinh(u) in out:
                out.remove(below)
                out[out.index(sinh(u))] = tanh(u)
        for below in factors:
            f, n = below.as_base_exp()
            if not (isinstance(f, sigmoid) and n.is_positive) and not (f.is_Add and n.is_negative):
                continue
            for above in [g for g in out if g.as_base_exp()[0].is_Add and g.as_base_exp()[1] == abs(n)]:
                over = above.as_base_exp()[0]
                found = _tanh_of(over, 1 + exp(-f.args[0]) if isinstance(f, sigmoid) else f)
                if found is not None:
                    out.remove(below)
                    out[out.index(above)] = found ** abs(n)
                    break
        return tuple(out)

    def inside(e: Expr) -> Expr:
        changed = joined(e.args)
        return Mul(*changed) if changed != e.args else e

    def squared(e: Expr) -> bool:
        return (
            isinstance(e, Pow) and isinstance(e.base, cosh) and e.exp.is_Integer and e.exp.is_even and e.exp.is_negative
        )

    def shares(e: Expr) -> Expr:
        u = 2 * e.base.args[0]  # 1 / cosh(u)^2 = 4 sigmoid(2u) sigmoid(-2u)
        return (4 * sigmoid(u) * sigmoid(-u)) ** (-e.exp / 2)

    fac = tuple(f.replace(squared, shares) for f in t.fac)
    return replace(t, fac=joined(tuple(f.replace(lambda e: isinstance(e, Mul), inside) for f in fac)))


def _tanh_of(above: Expr, below: Expr) -> Expr | None:
    """``tanh u`` of ``a e^v - a e^w`` over ``a e^v + a e^w``, with ``u = (v - w)/2``; 1 is ``e^0``."""

    def parts(e: Expr) -> dict[Expr, Expr] | None:
        found = {}
        for term in e.args:
            c, f = term.as_coeff_Mul()
            if not (isinstance(f, exp) or f == 1):
                return None
            found[f.args[0] if isinstance(f, exp) else Integer(0)] = c
        return found if len(found) == 2 else None

    top, bottom = parts(above), parts(below)
    if top is None or bottom is None or set(top) != set(bottom):
        return None
    (v, a), (w, b) = sorted(bottom.items(), key=lambda item: -top[item[0]])
    if a == b and top[v] == a and top[w] == -b and a.is_positive:
        return tanh(expand((v - w) / 2))
    return None


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
    """The equations ``e = exp u``, also of several exponentials, under conditions or times a mask, by their tensor."""
    found: dict[Tensor, Equation] = {}
    for eq in work.forward:
        t = eq.single()
        if t is not None and t.coef == 1 and not t.bnd and eq.tensor not in eq.tensors():
            written = _written_out(t, found, frozenset())
            weights = [f for f in written.fac if not isinstance(f, exp)]
            if exponential_of(written) is not None and all(
                isinstance(f, Read) and f.tensor.is_input and f.tensor not in work.wrt for f in weights
            ):
                found[eq.tensor] = replace(eq, terms=(written,))
    return found


def _written(eq: Equation, read: Read) -> Expr:
    """``exp u`` in place of a read of ``e = exp u``."""
    value = eq.value()
    assert value is not None
    return value.xreplace(dict(zip(eq.idx, read.idx, strict=True)))


def needs_log(u: Equation, s: Tensor) -> bool:
    """Whether ``u`` divides by ``s`` or takes its logarithm: only then is the sum better kept as one."""

    def reads(x: Expr) -> bool:
        return isinstance(x, Read) and x.tensor == s

    return any(reads(p.base) and p.exp.is_negative for t in u.terms for f in t.fac for p in f.atoms(Pow)) or any(
        reads(f.args[0]) for t in u.terms for g in t.fac for f in g.atoms(log)
    )


def _rewrite(work: Work, eq: Equation, named: dict[Tensor, Equation], weights: frozenset[Tensor], total: str) -> None:
    """Write the exponentials out in one equation, as factors of their own only.

    Inside another function a named one keeps its name: there it is a value like any other, and the log-sum-exp cannot use
    it.  Out of range it is 0 and ``exp u`` is not, so a read that may leave its tensor keeps its name too.
    """
    after = replace(eq, terms=tuple(_written_out(t, named, weights) for t in eq.terms))
    if after != eq:
        work.rewrite_forward(
            WRITTEN_OUT,
            eq,
            after,
            f"{total} is a sum of exponentials: written out, without the names of its parts, they are a log-sum-exp",
        )
