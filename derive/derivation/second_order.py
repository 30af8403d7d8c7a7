"""``dv.hvp``, ``dv.jacobian`` and ``dv.hessian``: derivatives of derived programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from sympy import Add

from derive.language.declare import tensor
from derive.language.define import define
from derive.language.errors import DeriveError
from derive.language.nodes import Sum, stop_gradient
from derive.language.tensor import Tensor
from derive.passes.adjoints import adjoint_letters
from derive.passes.pipeline import run
from derive.passes.work import Backward, Forward
from derive.program.derived import FactUse, Results
from derive.program.undeclared import kept_sums

from .backprop import backprop
from .derivation import Derivation, derivation_of
from .given import OneOrMore, Tensors, _defined, _tensors, refuse_structured

Direction: TypeAlias = "Mapping[Any, Tensor] | None"  # by tensor or by its name


def hvp(
    loss: Tensor, wrt: OneOrMore, direction: Direction = None, name: str | None = None, explain: bool = False
) -> Derivation:
    r"""Derive a Hessian-vector product, reverse over reverse: the gradient of :math:`\langle \nabla L, v\rangle`.

    Parameters
    ----------
    loss : Tensor
        A defined scalar.
    wrt : Tensor or sequence of Tensors
    direction : dict {Tensor: Tensor}, optional
        The direction along each tensor; by default new inputs named ``W_dir``.

    Returns
    -------
    Derivation
        Its kernel returns ``(loss, grads, hvp)``.  The Hessian is never built.

    References
    ----------
    Pearlmutter, *Fast exact multiplication by the Hessian*, Neural Computation 6 (1994).
    """
    by = _tensors(wrt, "wrt")
    refuse_structured(by, "hvp")
    return product_along(backprop(loss, by), by, direction, name, explain)


def product_along(
    first: Derivation, wrt: Tensors, direction: Direction = None, name: str | None = None, explain: bool = False
) -> Derivation:
    """The Hessian-vector product of a loss whose gradients by ``wrt`` are derived already."""
    loss = first.loss
    directions, pieces = directions_along(wrt, direction), []
    for t in wrt:
        idx, v = adjoint_letters(t), directions[t]
        held = v[idx] if v.is_input else stop_gradient(v[idx])  # a direction may be computed from what it moves
        product = first.gradient(t).lhs.func(first.gradient(t).tensor, *idx) * held
        pieces.append(Sum(product, *idx) if idx else product)
    along = define(f"{loss.name}_along", (), Add(*pieces))
    made = product_of(first, along, wrt, "hvp", "_hvp", name or f"{loss.name}_hvp", explain)
    return replace(made, directions={t.name: directions[t] for t in wrt})


def product_of(
    first: Derivation, target: Tensor, wrt: Tensors, kind: str, ending: str, name: str, explain: bool
) -> Derivation:
    """The product with a matrix of second derivatives, which is the gradient of a scalar, beside loss and gradients."""
    gradients = tuple(first.gradient(t).tensor for t in wrt)
    names = {t.name: t.name + ending for t in wrt}
    work = Backward(target, wrt, (first.loss, *gradients), keep_target=False, adjoint_names=names)
    reports = run(work, explain)
    results: Results = [
        ("loss", first.loss),
        ("grads", {t.name: g for t, g in zip(wrt, gradients, strict=True)}),
        (kind, {t.name: work.adjoint[t.name] for t in wrt}),
    ]
    return derivation_of(work, kind, name, results, reports)


def directions_along(wrt: Tensors, direction: Direction) -> dict[Tensor, Tensor]:
    """The direction along each tensor: the given one, or a new input ``W_dir`` of its shape."""
    given = dict(direction or {})
    found: dict[Tensor, Tensor] = {}
    for t in wrt:
        v = given.get(t) or given.get(t.name) or tensor(f"{t.name}_dir", *adjoint_letters(t))
        if v.axes != t.axes:
            raise DeriveError(f"the direction {v!r} of {t.name} needs the axes ({', '.join(map(str, t.axes))})")
        found[t] = v
    return found


def jacobian(y: Tensor, wrt: OneOrMore, name: str | None = None, explain: bool = False) -> Derivation:
    r"""Derive Jacobians :math:`J_{n,m} = \partial y_n/\partial w_m`, of shape y + w, by one forward sweep.

    Diagonals, Kronecker factors and low ranks stay factors: brackets such as ``[k = k']`` are never written dense.

    Parameters
    ----------
    y : Tensor
        A defined float tensor.
    wrt : Tensor or sequence of Tensors

    Returns
    -------
    Derivation
        Its kernel returns ``(value, jacobian)``, the latter a dict by tensor name.

    >>> from derive import indices, tensor, define, Sum
    >>> p, q = indices("p q")
    >>> A, x = tensor("A", p, q), tensor("x", q)
    >>> y = define("y", (p,), Sum(A[p, q]*x[q], q))
    >>> print(jacobian(y, [x]).program.equation("J_x"))
    J_x[p,q] = A[p,q]
    """
    y = _defined(y, "jacobian", "y")
    by = _tensors(wrt, "wrt")
    work = Forward(y, by, pairs=tuple((y, w, f"J_{w.name}") for w in by))
    reports = run(work, explain)
    results: Results = [("value", y), ("jacobian", {w.name: work.jacobian[y.name, w.name] for w in by})]
    return derivation_of(work, "jacobian", name or f"{y.name}_jacobian", results, reports)


def hessian(loss: Tensor, wrt: OneOrMore, name: str | None = None, explain: bool = False) -> Derivation:
    r"""Derive all second derivatives :math:`H_{a,b} = \partial^2 L/\partial A_a\,\partial B_b` of a scalar loss.

    The gradient's equations are differentiated again, forward; what is diagonal, low rank or a Kronecker product in the
    mathematics stays so in the equation.

    Parameters
    ----------
    loss : Tensor
        A defined scalar.
    wrt : Tensor or sequence of Tensors

    Returns
    -------
    Derivation
        Its kernel returns ``(loss, grads, hessian)``; ``hessian["W", "c"]`` has the shape of W followed by that of c, for
        all ordered pairs.

    References
    ----------
    Magnus, Neudecker, *Matrix Differential Calculus*, 3rd ed., chapter 10.
    """
    by = _tensors(wrt, "wrt")
    refuse_structured(by, "hessian")
    first = backprop(loss, by)
    gradients = {t.name: first.gradient(t).tensor for t in by}
    upper = [(a, b) for n, b in enumerate(by) for a in by[: n + 1]]
    pairs = tuple((gradients[a.name], b, f"H_{a.name}_{b.name}") for a, b in upper)
    mirrors = tuple(
        ((gradients[b.name], a, f"H_{b.name}_{a.name}"), (gradients[a.name], b)) for a, b in upper if a != b
    )
    work = Forward(first.loss, by, tuple(gradients.values()), pairs=pairs, mirrors=mirrors)
    reports = run(work, explain)
    found = {(a.name, b.name): work.jacobian[gradients[a.name].name, b.name] for a in by for b in by}
    results: Results = [("loss", loss), ("grads", gradients), ("hessian", found)]
    made = derivation_of(work, "hessian", name or f"{loss.name}_hessian", results, reports)
    kept = kept_sums(made)
    return replace(made, facts=(*made.facts, *(FactUse(text, ()) for text in kept)))
