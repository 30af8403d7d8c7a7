"""Inverse and determinants as library calls, over the last two axes of a matrix or of a batch of them.

A matrix that is declared positive definite goes through its Cholesky factor L, A = L L':

    inverse   jax.scipy.linalg.cho_solve((L, True), jnp.eye(N))
    logdet    2 * jnp.log(jnp.diagonal(L, axis1=-2, axis2=-1)).sum(-1)     logabsdet, too

Any other goes through its LU factors; the log-determinant is NaN where the determinant is not positive, and
``kern.validate`` says which matrix that is.
"""

from __future__ import annotations

from derive.language.index import Index
from derive.language.matrices import split_at
from derive.program.program import Equation
from numerics.emit.source.code import (
    Attribute,
    Binary,
    Code,
    Compare,
    Constant,
    Name,
    Tuple,
    call,
    dotted,
    method,
    number_of,
)
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import Val, full
from numerics.emit.terms.plan import Plain


def applies(scope: Scope, e: Equation) -> bool:
    """Whether an equation is an inverse or a determinant."""
    return e.reduce in EMISSIONS


def split(e: Equation) -> tuple[tuple[Index, ...], tuple[Index, ...]]:
    """The indices of a batch of matrices, and those of what is made of each."""
    assert e.reduce is not None
    return split_at(e.reduce, e.idx)


def equation(scope: Scope, e: Equation, plain: Plain) -> Val:
    """The array of a matrix equation; its matrix is the sum of its terms."""
    batch, _ = split(e)
    return value(scope, e, plain(scope, e.terms, (*batch, *e.over)))


def value(scope: Scope, e: Equation, matrix: Val) -> Val:
    """The array of a matrix equation, given that of its matrix over the batch and then rows and columns."""
    batch, own = split(e)
    order = (*batch, *e.over)
    matrix = full(matrix, order, scope.shape, scope.dtype if matrix.kind != "float" else None)
    definite = any(f.kind == "positive_definite" for f in e.terms[0].fac[0].tensor.facts)
    return Val(EMISSIONS[str(e.reduce)](scope, e, matrix.node, definite), (*batch, *own))


def _factor(scope: Scope, e: Equation, array: Code) -> Code:
    """The Cholesky factor of a matrix, written once for all equations that need it."""
    key = ("cholesky", array)
    matrix = e.terms[0].fac[0].tensor
    fact = next(f for f in matrix.facts if f.kind == "positive_definite")
    scope.choice("cholesky", f"{fact.text(matrix)}, so its Cholesky factor serves for all", e.number)
    if key not in scope.shared:
        name = scope.names.fresh(f"{scope.arrays[matrix.name]}_chol")
        scope.assign(name, call("jnp.linalg.cholesky", array))
        scope.shared[key] = Val(Name(name))
    return scope.shared[key].node


def _inverse(scope: Scope, e: Equation, array: Code, definite: bool) -> Code:
    if not definite:
        return call("jnp.linalg.inv", array)
    factor = _factor(scope, e, array)
    identity = call("jnp.eye", scope.size(e.over[0].size).node, dtype=scope.dtype)
    return call(f"{scope.module('jax')}.scipy.linalg.cho_solve", Tuple((factor, Constant(True))), identity)


def _det(scope: Scope, e: Equation, array: Code, definite: bool) -> Code:
    return call("jnp.linalg.det", array)


def _logdet(scope: Scope, e: Equation, array: Code, definite: bool) -> Code:
    if definite:
        last = {"axis1": number_of(-2), "axis2": number_of(-1)}
        logs = call("jnp.log", call("jnp.diagonal", _factor(scope, e, array), **last))
        return Binary(number_of(2), "*", method(logs, "sum", number_of(-1)))
    sign, size = Name(scope.names.fresh("sign")), Name(scope.names.fresh("logabsdet"))
    scope.assign(Tuple((sign, size)), call("jnp.linalg.slogdet", array))
    return call("jnp.where", Compare(sign, ">", number_of(0)), size, dotted("jnp.nan"))


def _logabsdet(scope: Scope, e: Equation, array: Code, definite: bool) -> Code:
    return _logdet(scope, e, array, definite) if definite else Attribute(call("jnp.linalg.slogdet", array), "logabsdet")


EMISSIONS = {"inverse": _inverse, "det": _det, "logdet": _logdet, "logabsdet": _logabsdet}
