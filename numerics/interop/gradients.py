"""``nx.value_and_grad``: the gradient of a JAX function by its derivation, called as ``jax.value_and_grad`` is."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from derive.derivation.derivation import Derivation
from numerics.errors import InputError, NumericsError
from numerics.kernel.compile import compile
from numerics.kernel.kernel import Kernel

from .arguments import names_by_place
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
        if not callable(f):
            raise InputError(f"nx.value_and_grad: {type(f).__name__} is no function; accepted: a function of arrays")
        self._f, self._argnums, self._has_aux, self._axes = f, argnums, has_aux, axes
        self._custom_rules = custom_rules
        self._made: list[_Compiled] = []
        self._latest: _Compiled | None = None
        self.__name__ = getattr(f, "__name__", "function")
        self.__doc__ = getattr(f, "__doc__", None)

    def trace(self, *args: Any, **named: Any) -> ValueAndGrad:
        """Do what the first call does without running it: trace, derive, compile.  Returns itself."""
        self._traced(_Arguments(args, named))
        return self

    def _traced(self, given: _Arguments) -> _Compiled:
        found = next((c for c in self._made if c.options == given.options and c.model.takes(given.arrays)), None)
        if found is None:
            nums = [self._argnums] if isinstance(self._argnums, int) else list(self._argnums)
            if given.names and any(n >= len(given.arrays) - 1 for n in nums):
                raise InputError(
                    f"argnums={self._argnums} of {len(given.arrays) - 1} arguments by place, and {', '.join(given.names)} by "
                    f"name; accepted: what is differentiated by is given by its place"
                )
            loss = _signed(lambda *arrays: self._loss(*given.whole(arrays)), self._f, given)
            model = JaxModel(loss, given.arrays, self._argnums, self._axes, self._custom_rules)
            found = _Compiled(model, given.options)
            self._made.append(found)
        self._latest = found
        return found

    def _loss(self, args: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """The loss alone of what the function returns."""
        found = self._f(*args, **named)
        pair = isinstance(found, tuple) and len(found) == 2
        if self._has_aux:
            if not pair:
                raise InputError(
                    f"{self.__name__} returns no pair, and has_aux=True is of a pair (loss, aux); accepted: "
                    "return loss, aux, or has_aux=False"
                )
            return self._of_floats(found[0])
        if len(jax.tree_util.tree_leaves(found)) > 1:
            raise InputError(
                f"{self.__name__} returns several arrays, and gradients need one scalar; accepted: "
                "return loss, or return loss, aux with has_aux=True"
            )
        return self._of_floats(found)

    def _of_floats(self, loss: Any) -> Any:
        dtype = getattr(loss, "dtype", None)
        if dtype is not None and any(jnp.issubdtype(dtype, kind) for kind in (jnp.integer, jnp.bool_)):
            raise InputError(
                f"{self.__name__} returns {dtype}, and a gradient is of a float; accepted: a loss of floats, such as "
                f"jnp.mean of what is counted, which has a gradient of zeros"
            )
        return loss

    def __call__(self, *args: Any, **named: Any) -> Any:
        """``(value, gradients)``, the gradients in the structure of the arguments that ``argnums`` names."""
        given = _Arguments(args, named)
        value, grads = self._traced(given).run(given.arrays)
        if not self._has_aux:
            return value, grads
        return (value, self._f(*args, **named)[1]), grads

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


class _Arguments:
    """The arguments of a call: arrays, those by name in a dict after the others, and options, which are held as they are.

    Options are booleans of Python, and what is given by name and is no array: ``train=True``.
    """

    def __init__(self, args: Sequence[Any], named: Mapping[str, Any]):
        by_place = {n: a for n, a in enumerate(args) if isinstance(a, bool)}
        by_name = {k: v for k, v in named.items() if isinstance(v, bool) or not _holds_arrays(v)}
        self.options = by_place, by_name
        self.names = [k for k in named if k not in by_name]
        self.arrays = tuple(None if n in by_place else a for n, a in enumerate(args))
        if self.names:
            self.arrays += ({k: named[k] for k in self.names},)

    def whole(self, arrays: Sequence[Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """The arguments as they were given, with these arrays."""
        by_place, by_name = self.options
        named = dict(arrays[-1]) if self.names else {}
        args = [by_place.get(n, a) for n, a in enumerate(arrays[:-1] if self.names else arrays)]
        return args, named | by_name


def _holds_arrays(value: Any) -> bool:
    leaves = jax.tree_util.tree_leaves(value)
    return bool(leaves) and all(hasattr(x, "shape") or isinstance(x, int | float | np.number) for x in leaves)


class _Compiled:
    def __init__(self, model: JaxModel, options: Any):
        self.model, self.options = model, options
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


def _signed(loss: Callable[..., Any], f: Callable[..., Any], given: _Arguments) -> Callable[..., Any]:
    """The loss alone, under the names of the function's own arguments."""

    def of(*arrays: Any) -> Any:
        return loss(*arrays)

    of.__wrapped__ = f  # type: ignore[attr-defined]  # what inspect.signature follows
    if given.names:
        places = names_by_place(f, len(given.arrays) - 1)
        parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_ONLY) for n in (*places, "by_name")]
        of.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
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

    Returns
    -------
    ValueAndGrad
        Called as f is; a Python boolean, and what is given by name and is no array (``train=True``), is held as it is.

    >>> import jax.numpy as jnp
    >>> vg = value_and_grad(lambda w, x: jnp.sum((x @ w) ** 2))
    >>> value, grad = vg(jnp.ones(3), jnp.ones((5, 3)))
    >>> float(value), grad.tolist()
    (45.0, [30.0, 30.0, 30.0])
    """
    return ValueAndGrad(f, argnums, has_aux, axes, custom_rules)
