"""``dv.backprop``, ``dv.vjp`` and ``dv.hvp``: ask for gradients and get a :class:`~derive.derivation.Derivation`."""

from __future__ import annotations

from sympy import Add

from .define import define
from .derivation import Derivation
from .errors import DerivationError, DeriveError
from .nodes import Sum
from .pipeline import Work, finish, run
from .reverse import adjoint_letters
from .tensor import Read, Tensor, tensor


def backprop(loss: Tensor, wrt, outputs=(), name: str | None = None, explain: bool = False) -> Derivation:
    r"""Derive the gradients of a scalar loss from its forward definitions.

    For every tensor on the way, one adjoint :math:`\bar x = \partial L/\partial x`, accumulated over its consumers.

    Parameters
    ----------
    loss : Tensor
        A defined scalar.
    wrt : Tensor or sequence of Tensors
        What to differentiate with respect to, inputs or intermediates.
    outputs : sequence of Tensors, optional
        Defined tensors that the program returns beside the gradients, such as predictions.
    name : str, optional
        The display name; the loss's own name if not given.
    explain : bool
        Print what each pass of the pipeline does.

    Returns
    -------
    Derivation

    Raises
    ------
    DerivationError
        A non-scalar loss, a gradient of an integer tensor, or of one that the loss does not depend on.

    References
    ----------
    Rumelhart, Hinton, Williams, *Learning representations by back-propagating errors*, Nature 323 (1986).

    >>> from derive import indices, tensor, define, Sum
    >>> i, = indices("i")
    >>> x = tensor("x", i)
    >>> loss = define("loss", (), Sum(x[i]**2, i))
    >>> backprop(loss, wrt=[x]).gradient(x).rhs
    2*x[i]
    """
    loss = _defined(loss, "backprop", "loss")
    if loss.rank:
        raise DerivationError(f"backprop needs a scalar loss, but {loss.name} has axes ({', '.join(map(str, loss.axes))}); "
                              f"sum or average it, or use dv.vjp({loss.name}, wrt=..., cotangent='d{loss.name}')")
    wrt, outputs = _tensors(wrt, "wrt"), _tensors(outputs, "outputs")
    work = Work(loss, wrt, outputs)
    reports = run(work, explain)
    results = [("loss", loss), ("grads", {t.name: work.adjoint[t.name] for t in wrt})]
    if outputs:
        results.append(("outputs", {t.name: t for t in outputs}))
    return finish(work, "backprop", name or loss.name, results, reports)


def vjp(y: Tensor, wrt, cotangent: str = "dy", outputs=(), name: str | None = None, explain: bool = False) -> Derivation:
    r"""Derive the vector-Jacobian product :math:`\bar x_m = \sum_n \bar y_n\, \partial y_n/\partial x_m`.

    Parameters
    ----------
    y : Tensor
        Any defined float tensor.
    wrt : Tensor or sequence of Tensors
    cotangent : str
        The name of the new input that holds :math:`\bar y`, of the shape of ``y``.

    Returns
    -------
    Derivation
        Its kernel returns ``(value, grads)``.
    """
    y = _defined(y, "vjp", "y")
    wrt, outputs = _tensors(wrt, "wrt"), _tensors(outputs, "outputs")
    axes = [i if i is not None else axis for i, axis in zip(y.letters, y.axes, strict=True)]
    dy = tensor(cotangent, *axes)
    names = {} if cotangent != f"d{y.name}" else {y.name: f"{cotangent}_total"}
    work = Work(y, wrt, outputs, dy, adjoint_names=names)
    reports = run(work, explain)
    results = [("value", y), ("grads", {t.name: work.adjoint[t.name] for t in wrt})]
    if outputs:
        results.append(("outputs", {t.name: t for t in outputs}))
    return finish(work, "vjp", name or y.name, results, reports)


def hvp(loss: Tensor, wrt, direction=None, name: str | None = None, explain: bool = False) -> Derivation:
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
    wrt = _tensors(wrt, "wrt")
    first = backprop(loss, wrt)
    direction = dict(direction or {})
    pieces = []
    for t in wrt:
        idx = adjoint_letters(t)
        v = direction.get(t) or direction.get(t.name) or tensor(f"{t.name}_dir", *idx)
        if v.axes != t.axes:
            raise DeriveError(f"the direction {v!r} of {t.name} needs the axes ({', '.join(map(str, t.axes))})")
        product = first.gradient(t).lhs.func(first.gradient(t).tensor, *idx) * v[idx]
        pieces.append(Sum(product, *idx) if idx else product)
    along = define(f"{loss.name}_along", (), Add(*pieces))
    gradients = tuple(first.gradient(t).tensor for t in wrt)
    work = Work(along, wrt, (loss, *gradients), keep_target=False,
                adjoint_names={t.name: f"{t.name}_hvp" for t in wrt})
    reports = run(work, explain)
    results = [("loss", loss), ("grads", {t.name: g for t, g in zip(wrt, gradients, strict=True)}),
               ("hvp", {t.name: work.adjoint[t.name] for t in wrt})]
    return finish(work, "hvp", name or f"{loss.name}_hvp", results, reports)


def _defined(t, what: str, argument: str) -> Tensor:
    if isinstance(t, Read):
        t = t.tensor
    if not isinstance(t, Tensor):
        raise DeriveError(f"{what}: {argument} is {type(t).__name__}; give a tensor made by dv.define")
    if t.is_input:
        raise DeriveError(f"{what}: {t.name} is an input, not a definition; there is nothing to differentiate")
    return t


def _tensors(given, argument: str) -> tuple[Tensor, ...]:
    if isinstance(given, Tensor):
        given = (given,)
    if isinstance(given, str) or not hasattr(given, "__iter__"):
        raise DeriveError(f"{argument} takes a tensor or a list of tensors, not {given!r}")
    given = tuple(given)
    for t in given:
        if not isinstance(t, Tensor):
            raise DeriveError(f"{argument} takes tensors; {t!r} is {type(t).__name__}")
    if argument == "wrt" and not given:
        raise DeriveError("wrt is empty: name at least one tensor to differentiate with respect to")
    twice = [t.name for t in given if given.count(t) > 1]
    if twice:
        raise DeriveError(f"{argument} names {twice[0]} twice")
    return given
