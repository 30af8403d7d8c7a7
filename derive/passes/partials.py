"""Scalar derivatives of one pointwise expression with respect to one of its reads, the read taken as a symbol.

The leaves are SymPy's own ``fdiff`` of each function.  Conventions at kinks: ``sign' = 0``, ``floor' = 0``, a
condition is a constant, ``relu'(0) = 0`` and ties of ``maximum`` go to its first argument (see :mod:`derive.language.nodes`).
"""

from __future__ import annotations

import sympy
from sympy import Add, Expr, Function, Integer, Mul, Piecewise, Pow

from derive.language.errors import UnsupportedError
from derive.language.nodes import Iverson
from derive.language.tensor import Read


def partial(e: Expr, read: Read) -> Expr:
    """The derivative of ``e`` with respect to every occurrence of ``read`` in it."""
    if e == read:
        return Integer(1)
    if isinstance(e, Read) or not e.has(read):
        return Integer(0)
    if isinstance(e, Add):
        return Add(*(partial(a, read) for a in e.args))
    if isinstance(e, Mul):
        return _product(e, read)
    if isinstance(e, Pow):
        return _power(e, read)
    if isinstance(e, Piecewise):
        return _piecewise(e, read)
    if isinstance(e, Iverson | sympy.sign | sympy.floor):
        return Integer(0)
    if isinstance(e, Function):
        total = []
        for n, a in enumerate(e.args, start=1):
            inner = partial(a, read)
            if inner != 0:
                total.append(_hyperbolic(_abs_or_fdiff(e, n) * inner))
        return Add(*total)
    raise UnsupportedError(
        f"the derivative of {type(e).__name__} in {e} is not known; write it with the functions of derive.exact.functions"
    )


def _abs_or_fdiff(e: Function, n: int) -> Expr:
    return sympy.sign(e.args[0]) if isinstance(e, sympy.Abs) else e.fdiff(n)


def _product(e: Mul, read: Read, plain: bool = False) -> Expr:
    """The product rule; the quotient rule where it is shorter, as for ``u/(1 + |u|)``: its terms have cancelled."""
    total = []
    for n, a in enumerate(e.args):
        d = partial(a, read)
        if d != 0:
            total.append(Mul(d, *e.args[:n], *e.args[n + 1 :]))
    return Add(*total) if plain else _shorter_quotient(e, read, Add(*total)) or Add(*total)


def joined(fac: tuple[Expr, ...]) -> tuple[Expr, ...]:
    """Factors of a term, a fraction whose quotient rule is the shorter one made a single factor."""
    for under in fac:
        if not _is_under(under):
            continue
        over = [f for f in fac if f is not under and f.atoms(Read) & under.atoms(Read)]
        whole = Mul(*over, under)
        if over and all(_shorter_quotient(whole, r, _product(whole, r, plain=True)) for r in under.atoms(Read)):
            return (*(f for f in fac if f is not under and f not in over), whole)
    return fac


def _is_under(f: Expr) -> bool:
    return isinstance(f, Pow) and f.base.is_Add and f.exp.is_Integer and f.exp.is_negative is True


def _shorter_quotient(e: Expr, read: Read, plain: Expr) -> Expr | None:
    """``(a' b - n a b') / b^(n+1)`` for ``e = a / b^n``, where it is shorter than the product rule's result."""
    under = [a for a in Mul.make_args(e) if _is_under(a) and a.base.has(read)]
    if len(under) != 1:
        return None
    top, bottom, n = Mul(*(a for a in Mul.make_args(e) if a is not under[0])), under[0].base, -under[0].exp
    if not top.has(read):
        return None
    over = sympy.expand_mul(partial(top, read) * bottom - n * top * partial(bottom, read))
    quotient = Add(*(_without_sign(a) for a in Add.make_args(over))) * bottom ** (-n - 1)
    return quotient if sympy.count_ops(quotient) < sympy.count_ops(plain) else None


def _without_sign(product: Expr) -> Expr:
    """``u sign(u) = |u|``."""
    factors = list(Mul.make_args(product))
    for s in [f for f in factors if isinstance(f, sympy.sign)]:
        if s.args[0] in factors:
            factors.remove(s)
            factors[factors.index(s.args[0])] = sympy.Abs(s.args[0])
    return Mul(*factors)


def _hyperbolic(product: Expr) -> Expr:
    """``sinh u / cosh u = tanh u``, which does not overflow."""
    factors = list(Mul.make_args(product))
    for s in [f for f in factors if isinstance(f, sympy.sinh)]:
        if 1 / sympy.cosh(s.args[0]) in factors:
            factors.remove(1 / sympy.cosh(s.args[0]))
            factors[factors.index(s)] = sympy.tanh(s.args[0])
    return Mul(*factors)


def _power(e: Pow, read: Read) -> Expr:
    base, exponent = e.args
    db, de = partial(base, read), partial(exponent, read)
    out = Integer(0)
    if db != 0:
        out += exponent * base ** (exponent - 1) * db
    if de != 0:
        out += e * _log_of_base(base) * de
    return out


def _log_of_base(base: Expr) -> Expr:
    """``log x`` of ``d(x^p)/dp = x^p log x``; 0 at ``x = 0``: the product tends to 0 for ``p > 0``, and ``0 * -oo`` is NaN."""
    if base.is_zero is not None:
        return Integer(0) if base.is_zero else sympy.log(base)
    if base.has(Piecewise):  # in a condition SymPy would solve it for its reads
        folded = sympy.piecewise_fold(base, evaluate=False)
        return Piecewise(*((_log_of_base(v), c) for v, c in folded.args), evaluate=False)
    return Piecewise((sympy.log(base), sympy.Ne(base, 0)), (Integer(0), True), evaluate=False)


def _piecewise(e: Piecewise, read: Read) -> Expr:
    pieces = [(partial(v, read), c) for v, c in e.args]
    if all(v == 0 for v, _ in pieces):
        return Integer(0)
    return Piecewise(*pieces, evaluate=False)


def kinks(e: Expr) -> set[str]:
    """The conventions that differentiating ``e`` used, as sentences for the document."""
    found = set()
    table = {
        "relu": "relu'(0) = 0",
        "Abs": "|x|'(0) = 0",
        "sign": "sign'(x) = 0 everywhere",
        "floor": "floor'(x) = 0 everywhere",
        "maximum": "maximum(a, b): a tie sends the gradient to the first argument, a",
        "minimum": "minimum(a, b): a tie sends the gradient to the first argument, a",
    }
    for f in e.atoms(Function):
        text = table.get(type(f).__name__)
        if text and f.has(Read):
            found.add(text)
    if any(p.exp.has(Read) and p.base.is_zero is not False for p in e.atoms(Pow)):
        found.add("x^p: its derivative by p at x = 0 is 0, the limit of x^p log x for p > 0")
    if any(p.has(Read) and any(c.atoms(Read) for _, c in p.args) for p in e.atoms(Piecewise)):
        found.add("Piecewise: the derivative is that of the branch taken; its condition is a constant")
    return found
