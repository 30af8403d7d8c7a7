"""Whether the derivative rules that a function's author wrote are those of what it computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

_CUSTOM = {"custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr", "custom_vjp_call_jaxpr": "fun_jaxpr"}
_CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "checkpoint": "jaxpr", "remat2": "jaxpr"}
TOLERANCE = 100  # roundings, of the largest entry


def differing(f: Callable[..., Any], args: Sequence[Any], places: Sequence[int]) -> list[int]:
    """Of the arguments at ``places``, those whose gradient by the custom rules is not that of what is computed.

    ``f`` is of arrays and returns an array or a list of them, whose sum is differentiated; autodiff is asked twice, with
    the rules and without.
    """
    closed = jax.make_jaxpr(f)(*args)

    def total(outs: Any) -> Any:
        floats = [o for o in jax.tree_util.tree_leaves(outs) if jnp.issubdtype(o.dtype, jnp.floating)]
        return sum(jnp.sum(o * jnp.cos(jnp.arange(o.size, dtype=o.dtype).reshape(o.shape))) for o in floats)

    with_rules = jax.jit(jax.grad(lambda *a: total(f(*a)), tuple(places)))
    without = jax.jit(jax.grad(lambda *a: total(_plain(closed.jaxpr, closed.consts, a)), tuple(places)))
    wrong = list(places)
    for moved in (0.0, 0.1):  # where a gradient is zero all is rounding: what differs there is to differ elsewhere too
        at = [a * (1 + moved) if n in places else a for n, a in enumerate(args)]
        pairs = zip(places, map(np.asarray, with_rules(*at)), map(np.asarray, without(*at)), strict=True)
        wrong = [place for place, a, b in pairs if place in wrong and not _same(a, b)]
        if not wrong:
            break
    return wrong


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    scale = float(np.max(np.abs(b), initial=0)) or 1.0
    return np.allclose(a, b, rtol=0, atol=TOLERANCE * float(jnp.finfo(b.dtype).eps) * scale)


def _plain(jaxpr: Any, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    """What a jaxpr computes, each function with rules of its own as the operations that it computes by."""
    env: dict[Any, Any] = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))

    def read(v: Any) -> Any:
        return v.val if isinstance(v, core.Literal) else env[v]

    for eqn in jaxpr.eqns:
        name, ins = eqn.primitive.name, [read(v) for v in eqn.invars]
        key = _CUSTOM.get(name) or _CALLS.get(name)
        if key is not None:
            inner = eqn.params[key]
            outs = _plain(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), ins)
        else:
            found = eqn.primitive.bind(*ins, **eqn.primitive.get_bind_params(eqn.params))
            outs = list(found) if eqn.primitive.multiple_results else [found]
        env.update(zip(eqn.outvars, outs, strict=True))
    return [read(v) for v in jaxpr.outvars]
