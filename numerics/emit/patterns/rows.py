"""Sums along the last axis, and over all axes, as matrix-vector products.

    mean[b] = (1/I) sum_i x[b,i]                    x @ ones / I
    s[b]    = sum_i d_xh[b,i] xh[b,i]               (dh * xh) @ gamma     where d_xh[b,i] = gamma[i] dh[b,i]
    L       = sum_{b,u,c} w[b,u,c] y[b,u,c]         total(w * y)          columns first, then what is left

XLA on a CPU writes the summand of a row sum out, or computes it serially; its matrix-vector products do neither.  The
equation stays as derived.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sympy import Expr, Function, Piecewise

from derive.language.index import Index
from derive.language.nodes import Iverson
from derive.language.tensor import Read
from derive.program.program import Equation, Program, Term
from numerics.emit.source.choose import choose
from numerics.emit.source.code import Binary, Name, call
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import Val

from .sums import definition, is_plain_sum, labels_of


def vectors_in_sums(scope: Scope, program: Program) -> Program:
    """Sums over a row read the vector that is in a product, where there is one, rather than the product."""
    by_name = {e.name: e for e in program.equations}
    out: list[Equation] = []
    for e in program.equations:
        if is_plain_sum(e) and len(e.terms[0].bnd) == 1 and e.idx:
            t = e.terms[0]
            found = next((new for f in t.fac if (new := _with_vector(t, f, by_name)) is not None), None)
            scope.number = e.number
            if found is not None and choose(scope, "row-sums", t.bnd) == "products":
                e = replace(e, terms=(found,))
        out.append(e)
    return replace(program, equations=tuple(out))


def _with_vector(t: Term, f: Expr, by_name: dict[str, Equation]) -> Term | None:
    if not isinstance(f, Read) or f.idx[-1:] != t.bnd:  # before the product is written out, which costs
        return None
    product = definition(f, by_name)
    if product is None:
        return None
    vectors = [g for g in product.fac if labels_of(g) == set(t.bnd)]
    if len(vectors) != 1 or not all(isinstance(g, Read) for g in product.fac):
        return None
    return Term(t.coef * product.coef, tuple(h for g in t.fac for h in (product.fac if g is f else (g,))), t.bnd)


def row_sum(scope: Scope, v: Val, bnd: Sequence[Index], factors: Iterable[Expr]) -> Val | None:
    """``v @ ones``, where ``v`` is summed over its last axis and is made of products only."""
    if len(bnd) != 1 or len(v.axes) < 2 or v.axes[-1] != bnd[0] or v.kind != "float":
        return None
    if any(f.atoms(Function, Piecewise, Iverson) for f in factors) or choose(scope, "row-sums", bnd) == "plain":
        return None
    size = scope.size(bnd[0].size).node
    hint = f"ones_{size.name}" if isinstance(size, Name) else "ones"
    ones = scope.share(("ones", size), (hint,), Val(call("jnp.ones", size, scope.dtype)), constant=True)
    return Val(Binary(v.node, "@", ones.node), v.axes[:-1])


def total(scope: Scope, v: Val, bnd: Sequence[Index], factors: Iterable[Expr]) -> Val | None:
    """``total(v)``, where ``v`` has three axes or more, all of them summed over, and is made of products only.

    XLA computes such a sum in one serial loop, with all that leads to its summand inside.
    """
    if len(v.axes) < 3 or set(v.axes) != set(bnd) or v.kind != "float":
        return None
    if any(f.atoms(Function, Piecewise, Iverson) for f in factors) or choose(scope, "total") == "plain":
        return None
    return Val(call(scope.helper("total"), v.node))
