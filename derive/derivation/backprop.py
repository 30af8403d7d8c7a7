"""``dv.backprop``, ``dv.vjp`` and ``dv.hvp``: ask for gradients and get a :class:`~derive.derivation.derivation.Derivation`."""

from __future__ import annotations

from derive.language.declare import tensor
from derive.language.errors import DerivationError
from derive.language.naming import adjoint
from derive.language.tensor import Tensor
from derive.passes.work import Backward

from .derivation import Derivation, gradients_of, swept_back
from .given import OneOrMore, _defined, _tensors


def backprop(
    loss: Tensor, wrt: OneOrMore, outputs: OneOrMore = (), name: str | None = None, explain: bool = False
) -> Derivation:
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
        A non-scalar loss, a gradient of an integer tensor, or of one that the loss does not depend on, or only through
        steps.

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
        raise DerivationError(
            f"backprop needs a scalar loss, but {loss.name} has axes ({', '.join(map(str, loss.axes))}); "
            f"sum or average it, or use dv.vjp({loss.name}, wrt=..., cotangent='{adjoint(loss.name)}')"
        )
    return gradients_of(loss, _tensors(wrt, "wrt"), _tensors(outputs, "outputs"), name, explain)


def vjp(
    y: Tensor,
    wrt: OneOrMore,
    cotangent: str = "dy",
    outputs: OneOrMore = (),
    name: str | None = None,
    explain: bool = False,
) -> Derivation:
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

    Raises
    ------
    DerivationError
        As :func:`backprop`: also where every path ends at a step, whose derivative is zero or does not exist.
    """
    y = _defined(y, "vjp", "y")
    by, kept = _tensors(wrt, "wrt"), _tensors(outputs, "outputs")
    axes = [i if i is not None else axis for i, axis in zip(y.letters, y.axes, strict=True)]
    dy = tensor(cotangent, *axes)
    names = {} if cotangent != adjoint(y.name) else {y.name: f"{cotangent}_total"}
    return swept_back(Backward(y, by, kept, dy, adjoint_names=names), "vjp", "value", name or y.name, explain)
