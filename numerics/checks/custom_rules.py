"""Whether the derivative rules that a function's author wrote are those of what it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

Number: TypeAlias = Callable[[Any, Any], float]

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


def has_rules(f: Callable[..., Any], args: Sequence[Any]) -> bool:
    """Whether a function of arrays calls one with a backward pass of its own; no where JAX cannot trace it."""
    try:
        closed = jax.make_jaxpr(f)(*args)
    except Exception:  # whatever a function that is not JAX's raises
        return False
    return any(e.primitive.name.startswith("custom_vjp_call") for e in _operations(closed.jaxpr))


def narrows(f: Callable[..., Any], *args: Any) -> str | None:
    """The narrowest float that a function rounds wider ones to, as of what it is given; None where JAX cannot trace it."""
    try:
        closed = jax.make_jaxpr(f)(*args)
    except Exception:  # whatever a function that is not JAX's raises
        return None
    found = [
        e.params["new_dtype"]
        for e in _operations(closed.jaxpr)
        if e.primitive.name == "convert_element_type"
        and jnp.issubdtype(e.invars[0].aval.dtype, jnp.floating)
        and jnp.issubdtype(e.params["new_dtype"], jnp.floating)
        and jnp.finfo(e.params["new_dtype"]).bits < jnp.finfo(e.invars[0].aval.dtype).bits
    ]
    return str(np.dtype(max(found, key=lambda dtype: float(jnp.finfo(dtype).eps)))) if found else None


def _operations(jaxpr: Any) -> Iterator[Any]:
    for eqn in jaxpr.eqns:
        yield eqn
        for inner in jax.tree_util.tree_leaves(list(eqn.params.values()), is_leaf=lambda x: hasattr(x, "jaxpr")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from _operations(inner)


def pulled_back(
    f: Callable[..., Any], args: Sequence[Any], places: Sequence[int], cotangents: Sequence[Any], rules: bool = True
) -> tuple[list[Any], list[Any]]:
    """The float results of a function of arrays, and the products of cotangents with its Jacobians, by autodiff.

    ``rules`` says whether custom rules count, or what is computed.
    """
    closed = jax.make_jaxpr(f)(*args)

    def floats(*some: Any) -> list[Any]:
        every = list(args)
        for place, a in zip(places, some, strict=True):
            every[place] = a
        outs = jax.tree_util.tree_leaves(f(*every)) if rules else _plain(closed.jaxpr, closed.consts, every)
        return [o for o in outs if jnp.issubdtype(o.dtype, jnp.floating)]

    outs, pull = jax.vjp(floats, *(args[n] for n in places))
    return outs, list(pull([jnp.asarray(c, o.dtype) for c, o in zip(cotangents, outs, strict=True)]))


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    scale = float(np.max(np.abs(b), initial=0)) or 1.0
    return np.allclose(a, b, rtol=0, atol=TOLERANCE * float(jnp.finfo(b.dtype).eps) * scale)


def widened(f: Callable[..., Any], number: Number) -> Callable[..., Any]:
    """A function of float64 arrays with every cast to a narrower float left out, so that it rounds as float64 does.

    ``number(x, dtype)`` is what an author wrote where a number is rounded to a narrower float, as 0.01 is.

    Raises what JAX raises where a loop or a kernel inside is of narrower floats by its own type.
    """

    def run(*args: Any) -> Any:
        closed, out = jax.make_jaxpr(f, return_shape=True)(*args)
        flat = _plain(closed.jaxpr, closed.consts, jax.tree_util.tree_leaves(args), number)
        return jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(out), flat)

    return run


def _plain(jaxpr: Any, consts: Sequence[Any], args: Sequence[Any], wide: Number | None = None) -> list[Any]:
    """What a jaxpr computes, each function with rules of its own as the operations that it computes by.

    With ``wide``, without the casts to narrower floats.
    """
    env: dict[Any, Any] = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))

    def read(v: Any) -> Any:
        x = v.val if isinstance(v, core.Literal) else env[v]
        if wide is None or not jnp.issubdtype(jnp.result_type(x), jnp.floating):
            return x
        narrow = isinstance(v, core.Literal) and np.ndim(x) == 0 and jnp.result_type(x) != jnp.float64
        return jnp.asarray(wide(x, jnp.result_type(x)) if narrow else x, jnp.float64)

    for eqn in jaxpr.eqns:
        name, ins = eqn.primitive.name, [read(v) for v in eqn.invars]
        key = _CUSTOM.get(name) or _CALLS.get(name)
        if key is not None:
            inner = eqn.params[key]
            outs = _plain(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), ins, wide)
        else:
            params = eqn.primitive.get_bind_params(eqn.params)
            found = eqn.primitive.bind(
                *ins, **({k: _wide_type(v) for k, v in params.items()} if wide is not None else params)
            )
            outs = list(found) if eqn.primitive.multiple_results else [found]
        env.update(zip(eqn.outvars, outs, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _wide_type(x: Any) -> Any:
    is_type = isinstance(x, np.dtype) or isinstance(x, type) and issubclass(x, np.generic)
    return np.dtype("float64") if is_type and jnp.issubdtype(x, jnp.floating) else x
