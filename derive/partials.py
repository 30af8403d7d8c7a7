"""Scalar derivatives of one pointwise expression with respect to one of its reads, the read taken as a symbol.

The leaves are SymPy's own ``fdiff`` of each function.  Conventions at kinks: ``sign' = 0``, ``floor' = 0``, a
condition is a constant, ``relu'(0) = 0`` and ties of ``maximum`` go to its first argument (see :mod:`derive.nodes`).
"""

from __future__ import annotations

import sympy
from sympy import Add, Expr, Function, Integer, Mul, Piecewise, Pow

from .errors import UnsupportedError
from .nodes import Iverson
from .tensor import Read


def partial(e: Expr, read: Read) -> Expr:
    """The derivative of ``e`` with respect to every occurrence of ``read`` in it."""
    if e == read:
        return Integer(1)
    if isinstance(e, Read) or not e.has(read):
        return Integer(0)
    if isinstance(e, Add):
        return Add(*(partial(a, read) for a in e.args))
    if isinstance(e, Mul):
        total = []
        for n, a in enumerate(e.args):
            d = partial(a, read)
            if d != 0:
                total.append(Mul(d, *e.args[:n], *e.args[n + 1:]))
        return Add(*total)
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
                total.append(_abs_or_fdiff(e, n) * inner)
        return Add(*total)
    raise UnsupportedError(f"the derivative of {type(e).__name__} in {e} is not known; write it with the functions of "
                           f"derive.primitives")


def _abs_or_fdiff(e, n):
    return sympy.sign(e.args[0]) if isinstance(e, sympy.Abs) else e.fdiff(n)


def _power(e: Pow, read: Read) -> Expr:
    base, exponent = e.args
    db, de = partial(base, read), partial(exponent, read)
    out = Integer(0)
    if db != 0:
        out += exponent * base ** (exponent - 1) * db
    if de != 0:
        out += e * sympy.log(base) * de
    return out


def _piecewise(e: Piecewise, read: Read) -> Expr:
    pieces = [(partial(v, read), c) for v, c in e.args]
    if all(v == 0 for v, _ in pieces):
        return Integer(0)
    return Piecewise(*pieces, evaluate=False)


def kinks(e: Expr) -> set[str]:
    """The conventions that differentiating ``e`` used, as sentences for the document."""
    found = set()
    table = {"relu": "relu'(0) = 0", "Abs": "|x|'(0) = 0", "sign": "sign'(x) = 0 everywhere",
             "floor": "floor'(x) = 0 everywhere",
             "maximum": "maximum(a, b): a tie sends the gradient to the first argument, a",
             "minimum": "minimum(a, b): a tie sends the gradient to the first argument, a"}
    for f in e.atoms(Function):
        text = table.get(type(f).__name__)
        if text and f.has(Read):
            found.add(text)
    if any(p.has(Read) and any(c.atoms(Read) for _, c in p.args) for p in e.atoms(Piecewise)):
        found.add("Piecewise: the derivative is that of the branch taken; its condition is a constant")
    return found
