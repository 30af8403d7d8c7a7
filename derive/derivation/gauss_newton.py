r"""``dv.gauss_newton``: products with the curvature that stays positive where the Hessian does not.

For a loss that reaches its parameters through one tensor z only,

    d2L/dw dw'  =  J' H J  +  sum_n dL/dz[n] d2z[n]/dw dw',        J = dz/dw,   H = d2L/dz dz'

and Gauss-Newton drops the second term.  The product with V takes three sweeps, and none of J, H or J'HJ is built:
``zdot = J V`` forward, ``q = H zdot``, and ``J' q`` backward.  With z the residual of a least-squares loss this is
J'J V; with z the logits of a cross-entropy it is the product with the Fisher information of the model.
"""

from __future__ import annotations

from dataclasses import replace

from sympy import Add

from derive.language.define import define
from derive.language.errors import DerivationError
from derive.language.naming import adjoint
from derive.language.nodes import Sum, stop_gradient
from derive.language.tensor import Read, Tensor
from derive.passes.adjoints import adjoint_letters
from derive.passes.pipeline import run
from derive.passes.work import Backward
from derive.program.derived import FactUse
from derive.program.ingest import ingest

from .backprop import backprop, vjp
from .derivation import Derivation, derivation_of
from .given import OneOrMore, Tensors, _defined, _tensors, refuse_structured
from .second_order import Direction, directions_along, hessian, product_along, product_of


def gauss_newton(
    loss: Tensor,
    wrt: OneOrMore,
    at: Tensor,
    direction: Direction = None,
    name: str | None = None,
    explain: bool = False,
) -> Derivation:
    r"""Derive products with the Gauss-Newton matrix :math:`J^T H J`, J of ``at`` by ``wrt``, H of the loss by ``at``.

    Parameters
    ----------
    loss : Tensor
        A defined scalar that depends on ``wrt`` through ``at`` only.
    wrt : Tensor or sequence of Tensors
    at : Tensor
        The defined tensor between: a residual, or the logits of a cross-entropy (then this is the Fisher product).
    direction : dict {Tensor: Tensor}, optional
        The direction along each tensor; by default new inputs named ``W_dir``.

    Returns
    -------
    Derivation
        Its kernel returns ``(loss, grads, gauss_newton)``, the last by tensor name.

    Raises
    ------
    DerivationError
        If the loss reaches ``wrt`` beside ``at`` too, as with a penalty on the weights.

    References
    ----------
    Schraudolph, *Fast curvature matrix-vector products for second-order gradient descent*, Neural Computation 14
    (2002).

    >>> from derive import indices, tensor, define, Sum
    >>> p, q = indices("p q")
    >>> A, x = tensor("A", p, q), tensor("x", q)
    >>> r = define("r", (p,), Sum(A[p, q]*x[q], q))
    >>> loss = define("loss", (), Sum(r[p]**2, p)/2)
    >>> d = gauss_newton(loss, [x], at=r)
    >>> print(d.program.equation("x_gn"))
    x_gn[q] = sum_p dr[p] A[p,q]
    """
    loss, at, by = _defined(loss, "gauss_newton", "loss"), _defined(at, "gauss_newton", "at"), _tensors(wrt, "wrt")
    _only_through(loss, by, at)
    refuse_structured(by, "gauss_newton")
    first = backprop(loss, [*by, *([] if at in by else [at])])  # both gradients from one derivation: shared adjoints
    along = directions_along(by, direction)
    moved = _pushed(at, by, along)
    curved = product_along(first, (at,), {at: moved})
    idx = adjoint_letters(at)
    held = Read(at, *idx) * stop_gradient(Read(curved.result("hvp")[at.name], *idx))
    target = define(f"{loss.name}_curved", (), Sum(held, *idx) if idx else held)
    made = product_of(first, target, by, "gauss_newton", "_gn", name or f"{loss.name}_gauss_newton", explain)
    return replace(
        made, directions={t.name: along[t] for t in by}, between=at, facts=(*made.facts, FactUse(_said(first, at), ()))
    )


def _said(first: Derivation, at: Tensor) -> str:
    """The dropped term by the names of its factors."""
    known = dict(first.adjoints)
    slope = known[at.name].name if at.name in known else adjoint(at.name)
    letters = ",".join(map(str, adjoint_letters(at)))
    read, total = (f"[{letters}]", f"sum over {letters} of ") if letters else ("", "")
    return (
        f"Gauss-Newton drops {total}{slope}{read} times the second derivatives of {at.name}{read} "
        f"(dv.dropped_term derives it)"
    )


def dropped_term(loss: Tensor, wrt: OneOrMore, at: Tensor, name: str | None = None) -> Derivation:
    r"""Derive what Gauss-Newton drops: :math:`\sum_n \partial L/\partial z_n\; \nabla^2 z_n`, as equations.

    It is the Hessian of :math:`\sum_n c_n z_n` for the constants :math:`c = \partial L/\partial z`: zero where z is linear,
    small where the slopes c are, as residuals near a good fit.

    Parameters
    ----------
    loss, wrt, at
        As for :func:`gauss_newton`.

    Returns
    -------
    Derivation
        A Hessian derivation; ``H == J' Hz J + dropped`` block by block.  A block without a term is zero.

    >>> from derive import indices, tensor, define, Sum
    >>> import sympy
    >>> n, = indices("n")
    >>> t, y, k = tensor("t", n), tensor("y", n), tensor("k")
    >>> r = define("r", (n,), sympy.exp(-k[()]*t[n]) - y[n])
    >>> d = dropped_term(define("loss", (), Sum(r[n]**2, n)/2), [k], at=r)
    >>> print(d.program.equation("H_k_k"))
    H_k_k = sum_n dr2[n] t[n]^2 r_exp[n]
    """
    loss, at, by = _defined(loss, "dropped_term", "loss"), _defined(at, "dropped_term", "at"), _tensors(wrt, "wrt")
    _only_through(loss, by, at)
    slope = backprop(loss, [at]).gradient(at).tensor
    idx = adjoint_letters(at)
    held = stop_gradient(Read(slope, *idx)) * Read(at, *idx)
    target = define(f"{loss.name}_held", (), Sum(held, *idx) if idx else held)
    return hessian(target, by, name or f"{loss.name}_dropped")


def _pushed(at: Tensor, wrt: Tensors, along: dict[Tensor, Tensor]) -> Tensor:
    """``J V``, as the derivative by u of ``<J' u, V>``, which is linear in u."""
    pulled = vjp(at, wrt, cotangent=f"{at.name}_cotangent")
    seed = pulled.seed
    assert seed is not None  # a vjp has one
    pieces = []
    for t in wrt:
        idx = adjoint_letters(t)
        product = Read(pulled.gradient(t).tensor, *idx) * Read(along[t], *idx)
        pieces.append(Sum(product, *idx) if idx else product)
    pairing = define(f"{at.name}_pairing", (), Add(*pieces))
    work = Backward(pairing, (seed,), adjoint_names={seed.name: f"{at.name}_dot"})
    reports = run(work)
    results = [("grads", {seed.name: work.adjoint[seed.name]})]
    return derivation_of(work, "backprop", pairing.name, results, reports).gradients[seed.name]


def _only_through(loss: Tensor, wrt: Tensors, at: Tensor) -> None:
    """Refuse a loss that depends on ``wrt`` in a way that does not pass through ``at``."""
    source = ingest([loss])
    seen, todo = {at.name}, [loss.name]
    while todo:
        equation = source.equation(todo.pop())
        for t in equation.tensors() if equation is not None else ():
            if t.name not in seen:
                seen.add(t.name)
                todo.append(t.name)
                if t in wrt:
                    raise DerivationError(
                        f"gauss_newton of {loss.name} at {at.name}: {loss.name} depends on {t.name} "
                        f"beside {at.name} too; give the part of the loss that does not (a penalty's "
                        f"own Hessian is added to the product)"
                    )
