"""A matrix times a vector for each of many: ``sum_k q[b,u,k] kept[b,u,t,k]`` as one batched product.

Written out as a product of arrays and a sum, it is joined by XLA with what makes the matrix, which is right while that is
computed; where the matrix is an array that lies there, such as what generation keeps, it is read faster by the product.
"""

from __future__ import annotations

from derive.language.tensor import Read
from numerics.emit.source.choose import choose
from numerics.emit.source.scope import Scope
from numerics.emit.terms.arithmetic import Order
from numerics.emit.terms.contraction import Operand, einsum
from numerics.emit.terms.plan import Plan, Together
from numerics.emit.terms.positions import labels


def matrix_vector(scope: Scope, plans: list[Plan], order: Order, together: Together) -> list[Plan]:
    """The plans, those that are batched products of a matrix and a vector replaced by a plan that holds the value."""
    return [_product(scope, p, order) or p for p in plans]


def _product(scope: Scope, p: Plan, order: Order) -> Plan | None:
    if len(p.bnd) != 1 or p.scatter or p.folds or p.value is not None or len(p.fac) != 2:
        return None
    if not all(isinstance(f, Read) and all(i in labels(f) for i in p.bnd) for f in p.fac):
        return None
    vector, matrix = sorted(p.fac, key=lambda f: len(labels(f)))
    if len(labels(vector)) < 2 or not labels(vector) < labels(matrix) or len(labels(matrix)) != len(labels(vector)) + 1:
        return None
    if not all(labels(c) <= labels(vector) for c in p.conditions) or choose(scope, "matrix-vector") != "product":
        return None
    values = [Operand([f], c).value(scope, f.idx) for f, c in ((vector, p.conditions), (matrix, []))]
    made = einsum(values, [i for i in order if i in labels(matrix) and i not in p.bnd])
    return Plan(p.coef, [], [], [], value=made)
