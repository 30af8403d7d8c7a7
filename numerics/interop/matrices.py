"""The functions of ``jnp.linalg`` that are leaves of the language: inverse, solve, determinants; and triangular factors.

JAX computes the leaves by LU factors with pivots; what they are does not depend on how, so they are taken by name.  A
Cholesky factor is unique, and is defined by the elimination that computes it: a recurrence over its columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy
from sympy import Expr, Integer

import derive as dv
from derive.language.index import Index, same_size
from derive.language.tensor import Tensor

from .flat import Op
from .interpret import Interpreter
from .table import primitive, refuse
from .value import Value, chosen, merged, opened


def _matrix(v: Value) -> tuple[tuple[tuple[Index, ...], ...], Expr, tuple[Index, Index]]:
    """Its batch axes, its element, and the two indices of the matrix."""
    axes = v.like()[:-2]
    p, q = opened(v.shape[-2]), opened(v.shape[-1])
    return axes, v.at([*map(merged, axes), p, q]), (p, q)


def _inverse_at(v: Value, at: Sequence[Expr], i: Expr, j: Expr) -> Expr:
    if v.shape[-1] == 1:
        return 1 / v.at([*at, Integer(0), Integer(0)])
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
    axes, found = _determinant(new, op, values[0])
    return Value(axes, found, "float")


def _determinant(new: Interpreter, op: Op, v: Value) -> tuple[tuple[tuple[Index, ...], ...], Expr]:
    """The batch axes and the determinant; that of one row is its element."""
    v = new.held(v, op)
    if v.shape[-1] == 1:
        axes = v.like()[:-2]
        return axes, v.at([*map(merged, axes), Integer(0), Integer(0)])
    axes, body, (p, q) = _matrix(v)
    return axes, dv.Determinant(body, p, q)


@primitive("linalg.slogdet")
def _slogdet(new: Interpreter, op: Op, values: Sequence[Value]) -> list[Value]:
    axes, found = _determinant(new, op, values[0])
    return [Value(axes, sympy.sign(found), "float"), Value(axes, sympy.log(sympy.Abs(found)), "float")]


@primitive("custom_linear_solve")
def _linear_solve(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    """``jax.scipy.linalg.solve`` and its like: the matrix stands in the product that is to be undone."""
    product = op.params["jaxprs"].matvec.jaxpr
    dot = product.eqns[0] if len(product.eqns) == 1 else None
    dims = ((1,), (0,)), ((), ())
    as_it_stands = (
        dot is not None
        and dot.primitive.name == "dot_general"
        and len(op.outs) == 1
        and dot.invars == product.invars
        and tuple(tuple(map(tuple, d)) for d in dot.params["dimension_numbers"]) == dims
        and len(values[0].axes) == 2
    )
    if not as_it_stands:
        raise refuse(op, "the product that it undoes is not that of one matrix; accepted: jax.scipy.linalg.solve(A, b)")
    v, b = new.held(values[0], op), values[-1]
    out = tuple((opened(s),) for s in op.outs[0].shape)
    j, at = opened(v.shape[-1]), [a[0] for a in out]
    return Value(out, dv.Sum(_inverse_at(v, [], at[0], j) * b.at([j, *at[1:]]), j), "float")


@primitive("cholesky")
def _cholesky(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    """``L[i,k] = A[k,i,k] / sqrt(A[k,k,k])``, ``A[t]`` what is left of the matrix after t columns.

    ``A[t,i,k] = A[t-1,i,k] - A[t-1,i,t-1] A[t-1,k,t-1] / A[t-1,t-1,t-1]`` from the matrix on (Golub and Van Loan, Matrix
    Computations, section 4.2.5).  JAX reads one triangle and gives half of the gradient to each: as of the mean of the two.
    """
    if new.loop is not None:
        raise refuse(op, "a factor in every step of a loop is a loop within a loop; accepted: a factor outside of it")
    v = new.held(values[0], op)
    if v.shape[-1] == 1:
        return Value(v.axes, sympy.sqrt(v.body), "float")
    axes, _, (i, k) = _matrix(v)
    t = opened(v.shape[-1])
    batch = [merged(a) for a in axes]
    taken: set[str] = set()
    letters: list[Index] = []
    for own in (t, *(x for a in axes for x in a if x.size != 1), i, k):
        letters.append(new.letter(own, taken))
        taken.add(letters[-1].name)
    n, *between, p, q = letters
    flat = [x for a in axes for x in a if x.size != 1]
    named = dict(zip(flat, between, strict=True))
    outer = [b.xreplace(named) for b in batch]
    whole = v.at([*outer, p, q])
    start = whole if _is_symmetric(v) else (whole + v.at([*outer, q, p])) / 2

    def left(A: Tensor) -> Expr:
        def before(r: Expr, c: Expr) -> Expr:
            return A[(n - 1, *between, r, c)]

        row, column, pivot = before(p, n - 1), before(q, n - 1), before(n - 1, n - 1)
        return sympy.Piecewise((start, sympy.Eq(n, 0)), (before(p, q) - row * column / pivot, True), evaluate=False)

    name = new.free(new.fallback(op) if "A" in new.names or "A" in new.reserved else "A")
    made = dv.define(name, tuple(letters), left)
    new.names[name] = made
    return Value((*axes, (i,), (k,)), made[(k, *flat, i, k)] / sympy.sqrt(made[(k, *flat, k, k)]), "float")


def _is_symmetric(v: Value) -> bool:
    """Whether a matrix is seen to be its transpose."""
    d = v.tensor.definition if v.tensor is not None else None
    if d is None or len(d.idx) < 2:
        return False
    p, q = d.idx[-2:]
    turned = d.body.xreplace({p: q, q: p})
    return bool(turned == d.body or sympy.expand(turned - d.body) == 0)


@primitive("triangular_solve")
def _triangular_solve(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    """``A^-1 b`` or ``b A^-1``, of the triangle of A that is read."""
    p = op.params
    a, b = new.held(_triangle(new.shared(values[0], op.ins[0], op), p["lower"], p["unit_diagonal"]), op), values[1]
    out = tuple((opened(s),) for s in op.outs[0].shape)
    *batch, r, c = (x[0] for x in out)
    j = opened(a.shape[-1])
    to, given = (r, [j, c]) if p["left_side"] else (c, [r, j])
    turned = p["transpose_a"] != (not p["left_side"])
    inverse = _inverse_at(a, batch, j, to) if turned else _inverse_at(a, batch, to, j)
    right = b.at([*batch, *given])
    return Value(
        out, dv.Sum(inverse * right, j) if j.size != 1 else (inverse * right).xreplace({j: Integer(0)}), "float"
    )


def _triangle(v: Value, lower: bool, unit: bool) -> Value:
    """A matrix with zeros above its diagonal, or below; as it stands where it has them."""
    d = v.tensor.definition if v.tensor is not None else None
    if d is not None and not unit and isinstance(d.body, sympy.Piecewise):
        (_, inside), *rest = d.body.args
        r, c = d.idx[-2:]
        if inside == (r >= c if lower else c >= r) and [x[0] for x in rest] == [0]:
            return v
    axes, body, (r, c) = _matrix(v)
    cases = [(Integer(1), sympy.Eq(r, c))] if unit else []
    cases += [(body, r >= c if lower else c >= r), (Integer(0), sympy.true)]
    return Value((*axes, (r,), (c,)), chosen(cases), "float")
