"""SymPy as users write it, in the engine's own nodes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn, Protocol

import sympy
from sympy import Add, Expr, Integer, Mul, Number, Piecewise, Pow, Rational
from sympy.core.function import AppliedUndef
from sympy.core.relational import Relational
from sympy.logic.boolalg import And, BooleanFalse, BooleanTrue

from derive.language.errors import DeriveError, IndexCaptureError, UnsupportedError
from derive.language.functions import NAMES
from derive.language.grouping import float_in_exponent, rebuilt, replaced
from derive.language.index import Index, Size
from derive.language.keys import key
from derive.language.matrices import Determinant, LogAbsDet, LogDet
from derive.language.nodes import (
    Iverson,
    Prod,
    Reduction,
    Sum,
    loggamma,
    maximum,
    minimum,
    polygamma,
    relu,
    sigmoid,
    softplus,
)
from derive.language.tensor import Read, Tensor
from derive.language.unknown import applied_function, check_function

from .infinite import outward


class Asking(Protocol):
    """Who asks: the definition that is being read, and how to refuse a part of it."""

    owner: Tensor

    def fail(self, kind: type[DeriveError], message: str) -> NoReturn: ...


def normalise(e: Expr, ingest: Asking) -> Expr:
    """SymPy as users write it, in the engine's own nodes: exact numbers, our sums, maxes, sigmoid and softplus."""
    heads = {r.tensor: r.tensor.member for r in e.atoms(Read) if r.tensor.member != r.tensor}
    return _own_nodes(replaced(e, heads) if heads else e, ingest)


def _own_nodes(e: Any, ingest: Asking) -> Any:
    """One node and all in it; conditions and the pairs of a Piecewise are nodes too, and are no ``Expr``."""
    if isinstance(e, Index | Size | Tensor) or (isinstance(e, Number) and not e.is_Float):
        return e
    if isinstance(e, Expr) and e.is_Float:
        return Rational(repr(float(e)))
    if isinstance(e, sympy.Sum | sympy.Product):
        return _sympy_range(e, ingest)
    if isinstance(e, Mul):
        e = float_in_exponent(e)
    if isinstance(e, sympy.log) and isinstance(e.args[0], sympy.gamma):  # which SymPy makes of loggamma(label + 1)
        return loggamma(_own_nodes(e.args[0].args[0], ingest))
    args = tuple(_own_nodes(a, ingest) for a in e.args)
    if isinstance(e, sympy.Max | sympy.Min):
        return _pointwise_extreme(e, args)
    if isinstance(e, sympy.polygamma):
        return polygamma(*args)
    if isinstance(e, sympy.loggamma):
        return loggamma(*args)
    if isinstance(e, AppliedUndef) and len(args) == 1:
        check_function(e.func.__name__)
        return applied_function(e.func.__name__, args[0])
    if isinstance(e, sympy.KroneckerDelta):
        return Iverson(sympy.Eq(args[0], args[1]))
    if isinstance(e, sympy.exp) and isinstance(args[0], Piecewise):
        return Piecewise(*((_exp_of_branch(v), c) for v, c in args[0].args), evaluate=False)
    if isinstance(e, sympy.log) and (found := _log_of_determinant(args[0])) is not None:
        return found
    if isinstance(e, sympy.log) and args[0].is_Add and len(args[0].args) == 2 and Integer(1) in args[0].args:
        other = args[0] - 1
        if isinstance(other, sympy.exp):
            return softplus(other.args[0])
    if (
        isinstance(e, Pow)
        and args[1] == -1
        and args[0].is_Add
        and len(args[0].args) == 2
        and Integer(1) in args[0].args
    ):
        other = args[0] - 1
        if isinstance(other, sympy.exp):
            return sigmoid(-other.args[0])
    allowed = (
        Add,
        Mul,
        Pow,
        Read,
        Reduction,
        Iverson,
        Piecewise,
        Relational,
        BooleanTrue,
        BooleanFalse,
        sympy.Not,
        And,
        sympy.Or,
        sympy.Tuple,
        sympy.functions.elementary.piecewise.ExprCondPair,
    )
    if not e.args and isinstance(e, Expr):
        if e.is_number and (e.is_real or e in (sympy.oo, -sympy.oo)):
            return e
        if e.is_number:
            ingest.fail(UnsupportedError, f"{e} is not a real number; expressions are real throughout")
        if isinstance(e, sympy.Symbol):
            ingest.fail(
                UnsupportedError,
                f"{e} is a plain SymPy symbol; make it a size (dv.size({e.name!r})), an index "
                f"or a scalar tensor (dv.tensor({e.name!r}))",
            )
    elif not isinstance(e, allowed) and type(e).__name__ not in NAMES:
        known = ", ".join(sorted(NAMES))
        ingest.fail(
            UnsupportedError,
            f"{type(e).__name__}({', '.join(map(str, e.args))}) is not supported; accepted are "
            f"sums, products, powers, Piecewise, Sum, Max and the functions {known}",
        )
    return outward(rebuilt(e, args), lambda message: ingest.fail(UnsupportedError, message))


def _log_of_determinant(e: Expr) -> Expr | None:
    """``log det(A)^p = p log det A``; of an even power and of ``|det A|`` ``p log |det A|``.

    A determinant of a hundred rows is out of range of any float, its logarithm is not.
    """
    base, power = (e.base, e.exp) if isinstance(e, Pow) else (e, Integer(1))
    inside = base.args[0] if isinstance(base, sympy.Abs) else base
    if not isinstance(inside, Determinant) or not power.is_Rational:
        return None
    p, q = inside.binders
    if not isinstance(base, sympy.Abs) and (power.p % 2 or power.q % 2 == 0):
        return power * LogDet(inside.body, p, q)
    return power * LogAbsDet(inside.body, p, q)


def _exp_of_branch(v: Expr) -> Expr:
    """``exp`` of a branch, which is 0 at minus infinity; a branch may be branches again."""
    if isinstance(v, Piecewise):
        return Piecewise(*((_exp_of_branch(w), c) for w, c in v.args), evaluate=False)
    return Integer(0) if v == -sympy.oo else sympy.exp(v)


def _pointwise_extreme(e: Expr, args: Iterable[Expr]) -> Expr:
    """SymPy's Max and Min forget the order of their arguments; against 0 that is relu, else ours in SymPy's order."""
    args = sorted(args, key=lambda a: (a.is_number, key(a)))
    if isinstance(e, sympy.Max) and len(args) == 2 and args[1] == 0:
        return relu(args[0])
    node = maximum if isinstance(e, sympy.Max) else minimum
    out = args[0]
    for a in args[1:]:
        out = node(out, a)
    return out


def _sympy_range(e: sympy.Sum | sympy.Product, ingest: Asking) -> Sum | Prod:
    """SymPy's sum or product over part of a range: elsewhere the body is 0, or the factor 1."""
    kind, nothing = (Sum, 0) if isinstance(e, sympy.Sum) else (Prod, 1)
    body = _own_nodes(e.function, ingest)
    bound = []
    for limits in e.limits:
        i, *rest = limits
        if not isinstance(i, Index):
            ingest.fail(
                IndexCaptureError,
                f"sympy.{type(e).__name__} over {i}: it is not an index; make one with dv.index(name)",
            )
        low, high = rest if len(rest) == 2 else (Integer(0), i.size - 1)
        conditions = [
            c for c, at in ((i >= low, low == 0), (i <= high, sympy.expand(high - i.size + 1) == 0)) if not at
        ]
        if conditions:
            body = Piecewise((body, And(*conditions)), (nothing, True))
        bound.append(i)
    return kind(body, *bound)
