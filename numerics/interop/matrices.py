"""The functions of ``jnp.linalg`` that are leaves of the language: inverse, solve, determinants.

JAX computes them by LU factors with pivots; what they are does not depend on how, so they are taken by name.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy
from sympy import Expr

import derive as dv
from derive.language.index import Index, same_size

from .flat import Op
from .interpret import Interpreter
from .table import primitive, refuse
from .value import Value, merged, opened


def _matrix(v: Value) -> tuple[tuple[tuple[Index, ...], ...], Expr, tuple[Index, Index]]:
    """Its batch axes, its element, and the two indices of the matrix."""
    axes = v.like()[:-2]
    p, q = opened(v.shape[-2]), opened(v.shape[-1])
    return axes, v.at([*map(merged, axes), p, q]), (p, q)


def _inverse_at(v: Value, at: Sequence[Expr], i: Expr, j: Expr) -> Expr:
    p, q = (opened(s) for s in v.shape[-2:])
    return dv.Inverse(v.at([*at, p, q]), (p, q), i, j)


@primitive("linalg.inv")
def _inv(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    v = new.held(values[0], op)
    idx = tuple((opened(s),) for s in v.shape)
    at = [a[0] for a in idx]
    return Value(idx, _inverse_at(v, at[:-2], at[-2], at[-1]), "float")


@primitive("linalg.solve")
def _solve(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    v, b = new.held(values[0], op), values[1]
    out = tuple((opened(s),) for s in op.outs[0].shape)
    at = [a[0] for a in out]
    row = len(out) - (1 if op.params["vectors"] else 2)
    j, own = opened(v.shape[-1]), at[row + 1 :]
    batch = at[row - (len(b.axes) - 1 - len(own)) : row] if len(b.axes) > 1 + len(own) else []
    if not same_size(b.shape[len(batch)], v.shape[-1]) or not same_size(op.outs[0].shape[row], v.shape[-1]):
        raise refuse(op, "its right-hand sides do not stand along the last axes; accepted: solve(A, b) as it stands")
    right = b.at([*batch, j, *own])
    return Value(
        out,
        dv.Sum(_inverse_at(v, at[row - len(v.axes) + 2 : row] if len(v.axes) > 2 else [], at[row], j) * right, j),
        "float",
    )


@primitive("linalg.det")
def _det(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    axes, body, (p, q) = _matrix(new.held(values[0], op))
    return Value(axes, dv.Determinant(body, p, q), "float")


@primitive("linalg.slogdet")
def _slogdet(new: Interpreter, op: Op, values: Sequence[Value]) -> list[Value]:
    axes, body, (p, q) = _matrix(new.held(values[0], op))
    found = dv.Determinant(body, p, q)
    return [Value(axes, sympy.sign(found), "float"), Value(axes, sympy.log(sympy.Abs(found)), "float")]
