"""Inverse and determinants as library calls, over the last two axes of a matrix or of a batch of them.

A matrix that is declared positive definite goes through its Cholesky factor L, A = L L':

    inverse   jax.scipy.linalg.cho_solve((L, True), jnp.eye(N))
    logdet    2 * jnp.log(jnp.diagonal(L, axis1=-2, axis2=-1)).sum(-1)

Any other goes through its LU factors; the log-determinant is NaN where the determinant is not positive, and
``kern.validate`` says which matrix that is.
"""

from __future__ import annotations

from derive.matrices.leaves import split_at
from derive.program import Equation
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import Val, full


def value(scope: Scope, e: Equation, matrix: Val) -> Val:
    """The array of a matrix equation, given that of its matrix over the batch and then rows and columns."""
    batch, own = split_at(e.reduce, e.idx)
    order = (*batch, *e.over)
    matrix = full(matrix, order, scope.shape(order), scope.dtype if matrix.kind != "float" else "")
    definite = any(f.kind == "positive_definite" for f in e.terms[0].fac[0].tensor.facts)
    return Val(EMISSIONS[e.reduce](scope, e, matrix.src, definite), axes=(*batch, *own))


def _factor(scope: Scope, e: Equation, source: str) -> str:
    """The Cholesky factor of a matrix, written once for all equations that need it."""
    key = ("cholesky", source)
    matrix = e.terms[0].fac[0].tensor
    fact = next(f for f in matrix.facts if f.kind == "positive_definite")
    scope.choices.append(("cholesky", e.number, f"{fact.text(matrix)}, so its Cholesky factor serves for all"))
    if key not in scope.shared:
        name = scope.names.fresh(f"{scope.arrays[matrix.name]}_chol")
        scope.write(f"{name} = jnp.linalg.cholesky({source})")
        scope.shared[key] = Val(name)
    return scope.shared[key].src


def _inverse(scope, e, source, definite):
    if not definite:
        return f"jnp.linalg.inv({source})"
    factor = _factor(scope, e, source)
    size = scope.size(e.over[0].size).src
    return f"{scope.module('jax')}.scipy.linalg.cho_solve(({factor}, True), jnp.eye({size}, dtype={scope.dtype}))"


def _det(scope, e, source, definite):
    return f"jnp.linalg.det({source})"


def _logdet(scope, e, source, definite):
    if definite:
        return f"2 * jnp.log(jnp.diagonal({_factor(scope, e, source)}, axis1=-2, axis2=-1)).sum(-1)"
    pair = scope.names.fresh("sign"), scope.names.fresh("logabsdet")
    scope.write(f"{', '.join(pair)} = jnp.linalg.slogdet({source})")
    return f"jnp.where({pair[0]} > 0, {pair[1]}, jnp.nan)"


EMISSIONS = {"inverse": _inverse, "det": _det, "logdet": _logdet}
