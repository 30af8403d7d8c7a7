"""A kernel as a function that JAX can differentiate, for people's own ``jax.grad`` code.

    f = kern.as_custom_vjp()          f(W, c, x, label) -> loss
    jax.grad(f, argnums=(0, 1))       the derived gradients, times the cotangent of the loss

Only what was derived can be differentiated.  Asking for the gradient of an input that was not in ``wrt`` is refused
when JAX traces it; a zero would be wrong and would pass unseen.  Put it in ``wrt``, or under ``jax.lax.stop_gradient``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from derive.derivation.derivation import Derivation
from derive.language.facts import structure_of
from derive.language.tensor import Tensor
from numerics.emit.request import Request
from numerics.errors import NumericsError

from .inputs import bind_sizes


class Compiled(Protocol):
    """What is asked of a kernel, which imports this module."""

    derivation: Derivation
    request: Request
    inputs: tuple[Tensor, ...]
    name: str
    fn: Callable[..., Any]


def custom_vjp(kern: Compiled) -> Callable[..., Any]:
    """See :meth:`numerics.kernel.kernel.Kernel.as_custom_vjp`."""
    d = kern.derivation
    if d.kind not in ("backprop", "vjp"):
        what = "only goes forward: it has no gradients" if d.kind == "forward" else f"is a {d.kind}"
        raise NumericsError(f"as_custom_vjp: {d.name} {what}; a derivation by dv.backprop or dv.vjp is needed")
    tied = [t.name for t in d.wrt if structure_of(t) is not None]
    if tied:
        raise NumericsError(
            f"as_custom_vjp: the gradient by {tied[0]} is by its free entries, and JAX's chain rule needs that by all; "
            f"declare {tied[0]} without a structure, and write the structured matrix as a definition of what is free"
        )
    seed = d.seed.name if d.seed is not None else None
    names = tuple(t.name for t in kern.inputs if t.name != seed)
    grads = next(n for n, (field, _) in enumerate(d.results) if field == "grads")
    wrt = {t.name for t in d.wrt}
    floats = {t.name for t in kern.inputs if t.dtype == "float"}

    def run(args: Sequence[Any], cotangent: Any) -> Any:
        given = dict(zip(names, args, strict=True))
        if seed is not None:
            given[seed] = cotangent
        return kern.fn(*(given[t.name] for t in kern.inputs))

    def no_cotangent(args: Sequence[Any]) -> jax.Array | None:
        if d.seed is None:
            return None
        given = dict(zip(names, args, strict=True))
        shape = _seed_shape(kern, d.seed, given)
        return jnp.zeros(shape, given[d.wrt[0].name].dtype)

    @jax.custom_vjp
    def function(*args: Any) -> Any:
        return run(args, no_cotangent(args))[0]

    def forward(*args: Any) -> tuple[Any, tuple[tuple[Any, ...], Any]]:
        for name, arg in zip(names, args, strict=True):
            if arg.perturbed and name not in wrt and name in floats:
                raise NumericsError(
                    f"the gradient of {d.name} with respect to {name!r} was not derived (wrt = "
                    f"{', '.join(t.name for t in d.wrt)}); derive it too, as in wrt=[..., {name}], or "
                    f"pass jax.lax.stop_gradient({name})"
                )
        given = tuple(arg.value for arg in args)
        result = run(given, no_cotangent(given))
        return result[0], (given, result[grads] if seed is None else None)

    def backward(kept: tuple[tuple[Any, ...], Any], cotangent: Any) -> tuple[Any, ...]:
        args, ready = kept
        if isinstance(cotangent, SymbolicZero):
            cotangent = jnp.zeros(cotangent.shape, cotangent.dtype)
        found = ready if seed is None else run(args, cotangent)[grads]
        out = []
        for name, arg in zip(names, args, strict=True):
            if name in wrt:
                out.append(found[name] * cotangent if seed is None else found[name])
            elif name in floats:
                out.append(jnp.zeros(jnp.shape(arg), jnp.result_type(arg)))  # not perturbed: forward() saw to that
            else:
                out.append(np.zeros(jnp.shape(arg), jax.dtypes.float0))
        return tuple(out)

    function.defvjp(forward, backward, symbolic_zeros=True)

    def named(*args: Any, **kwargs: Any) -> Any:
        missing = [n for n in names[len(args) :] if n not in kwargs]
        extra = sorted(set(kwargs) - set(names[len(args) :]))
        if missing or extra or len(args) > len(names):
            raise NumericsError(
                f"{d.name} takes ({', '.join(names)}), by position or by name"
                + (f"; missing {missing[0]!r}" if missing else f"; got {extra[0]!r}" if extra else "")
            )
        return function(*args, *(kwargs[n] for n in names[len(args) :]))

    named.__name__ = named.__qualname__ = kern.name
    named.__doc__ = f"{kern.name}({', '.join(names)}) with derived gradients of {', '.join(sorted(wrt))}."
    return named


def _seed_shape(kern: Compiled, seed: Tensor, given: Mapping[str, Any]) -> tuple[int, ...]:
    inputs = [t for t in kern.inputs if t.name in given]
    bound = bind_sizes(inputs, given, kern.request.sizes, kern.derivation.program)
    return tuple(int(a.xreplace(dict(bound))) for a in seed.axes)
