"""The functions of ``jnp.linalg`` that are leaves of the language: inverse, solve, determinants.

JAX computes them by LU factors with pivots; what they are does not depend on how, so they are taken by name.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy
from sympy import Expr

import derive as dv
from derive.language.index import Index

from .flat import Op
from .interpret import Interpreter
from .table import primitive
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
    vector = len(b.axes) == 1
    row = len(out) - (1 if vector else 2)
    j = opened(v.shape[-1])
    right = b.at([*at[:row], j, *at[row + 1 :]])
    return Value(out, dv.Sum(_inverse_at(v, at[:row], at[row], j) * right, j), "float")


@primitive("linalg.det")
def _det(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    axes, body, (p, q) = _matrix(new.held(values[0], op))
    return Value(axes, dv.Determinant(body, p, q), "float")


@primitive("linalg.slogdet")
def _slogdet(new: Interpreter, op: Op, values: Sequence[Value]) -> list[Value]:
    axes, body, (p, q) = _matrix(new.held(values[0], op))
    found = dv.Determinant(body, p, q)
    return [Value(axes, sympy.sign(found), "float"), Value(axes, sympy.log(sympy.Abs(found)), "float")]
