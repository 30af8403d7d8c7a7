"""``nx.value_and_grad``: the gradient of a JAX function by its derivation, called as ``jax.value_and_grad`` is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from derive.derivation.derivation import Derivation
from numerics.errors import InputError, NumericsError
from numerics.kernel.compile import compile
from numerics.kernel.kernel import Kernel

from .model import JaxModel


class ValueAndGrad:
    """A function with the derivation of its gradients, made at the first call for each structure of the arguments.

    Attributes
    ----------
    model : JaxModel
    derivation : Derivation
    kernel : Kernel
    source : str
        Those of the latest trace.
    """

    def __init__(
        self, f: Callable[..., Any], argnums: int | Sequence[int], has_aux: bool, axes: Any, custom_rules: str | None
    ):
        self._f, self._argnums, self._has_aux, self._axes = f, argnums, has_aux, axes
        self._custom_rules = custom_rules
        self._made: list[_Compiled] = []
        self._latest: _Compiled | None = None
        self.__name__ = getattr(f, "__name__", "function")
        self.__doc__ = getattr(f, "__doc__", None)

    def trace(self, *args: Any) -> ValueAndGrad:
        """Do what the first call does without running it: trace, derive, compile.  Returns itself."""
        self._latest = next((c for c in self._made if c.model.takes(args)), None)
        if self._latest is None:
            loss = _signed(self._loss, self._f)
            self._latest = _Compiled(JaxModel(loss, args, self._argnums, self._axes, self._custom_rules))
            self._made.append(self._latest)
        return self

    def _loss(self, *args: Any) -> Any:
        """The loss alone of what the function returns."""
        found = self._f(*args)
        pair = isinstance(found, tuple) and len(found) == 2
        if self._has_aux:
            if not pair:
                raise InputError(
                    f"{self.__name__} returns no pair, and has_aux=True is of a pair (loss, aux); accepted: "
                    "return loss, aux, or has_aux=False"
                )
            return found[0]
        if len(jax.tree_util.tree_leaves(found)) > 1:
            raise InputError(
                f"{self.__name__} returns several arrays, and gradients need one scalar; accepted: "
                "return loss, or return loss, aux with has_aux=True"
            )
        return found

    def __call__(self, *args: Any) -> Any:
        """``(value, gradients)``, the gradients in the structure of the arguments that ``argnums`` names."""
        self.trace(*args)
        made = self._found
        value, grads = made.run(args)
        if not self._has_aux:
            return value, grads
        return (value, self._f(*args)[1]), grads

    @property
    def _found(self) -> _Compiled:
        if self._latest is None:
            raise NumericsError(f"{self.__name__} was not traced yet; call it, or vg.trace(*args) with arguments")
        return self._latest

    @property
    def _derived(self) -> _Compiled:
        found = self._found
        if found.is_constant:
            raise NumericsError(
                f"{self.__name__} depends on none of {', '.join(t.name for t in found.model.wrt)}: its gradients are "
                f"zeros, and there is no derivation; name other arguments with argnums="
            )
        return found

    @property
    def model(self) -> JaxModel:
        return self._found.model

    @property
    def derivation(self) -> Derivation:
        return self._derived.derivation

    @property
    def kernel(self) -> Kernel:
        return self._derived.kernel

    @property
    def source(self) -> str:
        return self.kernel.source


class _Compiled:
    def __init__(self, model: JaxModel):
        self.model = model
        self.is_constant = not model.outputs[0].rank and not model.reached(model.outputs[0])
        if not self.is_constant:
            self.derivation = model.backprop()
            self.kernel = compile(self.derivation)
        self.compared = False

    def run(self, args: Sequence[Any]) -> tuple[Any, Any]:
        if self.is_constant:  # there is nothing to derive
            return self.model.function(*args), self.model.structured({}, args)
        arrays = self.model.arrays(*args)
        value, grads = self.kernel.fn(*(arrays[t.name] for t in self.kernel.inputs))[:2]
        if not self.compared and not isinstance(value, jax.core.Tracer):
            self._compare(value, args)
        return value, self.model.structured(grads, args)

    def _compare(self, value: Any, args: Sequence[Any]) -> None:
        """Hold the loss against the function itself, once: what was read of it is what it computes."""
        wanted = jax.jit(self.model.function)(*args)
        near = 1e3 * float(jnp.finfo(value.dtype).eps) ** 0.75
        if not np.allclose(value, wanted, rtol=near, atol=near) and np.isfinite(wanted):
            raise NumericsError(
                f"the definitions made of the function give {float(value):.7g}, and the function {float(wanted):.7g}; "
                f"integers out of the range of what they index would do that, as would a mistake here: please report it"
            )
        self.compared = True


def _signed(loss: Callable[..., Any], f: Callable[..., Any]) -> Callable[..., Any]:
    """The loss alone, under the names of the function's own arguments."""
    if not callable(f):
        raise InputError(f"nx.value_and_grad: {type(f).__name__} is no function; accepted: a function of arrays")

    def of(*args: Any) -> Any:
        return loss(*args)

    of.__wrapped__ = f  # type: ignore[attr-defined]  # what inspect.signature follows
    return of


def value_and_grad(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    axes: Any = None,
    custom_rules: str | None = None,
) -> ValueAndGrad:
    """A function that returns ``(f(*args), gradients)``, as :func:`jax.value_and_grad` does, by the derivation of f.

    Parameters
    ----------
    f : callable
        A scalar loss of pytrees of arrays.
    argnums : int or sequence of int
        Which arguments are differentiated by.
    has_aux : bool
        Whether f returns ``(loss, aux)``; what is beside the loss is computed by f itself.
    axes : dict, optional
        Names for axes, see :func:`from_jax`.
    custom_rules : {None, "primal"}
        See :func:`from_jax`.

    >>> import jax.numpy as jnp
    >>> vg = value_and_grad(lambda w, x: jnp.sum((x @ w) ** 2))
    >>> value, grad = vg(jnp.ones(3), jnp.ones((5, 3)))
    >>> float(value), grad.tolist()
    (45.0, [30.0, 30.0, 30.0])
    """
    return ValueAndGrad(f, argnums, has_aux, axes, custom_rules)
