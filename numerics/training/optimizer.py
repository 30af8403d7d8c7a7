"""What is done to an optimizer: the rate made visible, clipping, accumulation, and state that follows freezing."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from derive.language.hints import did_you_mean
from numerics.errors import InputError, NumericsError

RATE = "learning_rate"


def whole(value, what: str, where: str = "fit", least: int = 1) -> int:
    """A whole number from ``least``, or an error that says what it was for."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < least:
        raise InputError(f"{where}: {what} is {value!r}; accepted is a whole number above {least - 1}")
    return int(value)


def build(optimizer, learning_rate=None, clip_norm=None, accumulate: int = 1):
    """The optimizer that a trainer uses: with its rate in its state, gradients clipped, batches accumulated.

    Gradients are clipped after they are accumulated, by their common norm.
    """
    if optimizer is None:
        if learning_rate is not None or clip_norm is not None:
            raise NumericsError("Trainer: learning_rate and clip_norm belong to an optimizer, and none is given")
        return None
    try:
        import optax
    except ModuleNotFoundError:
        raise NumericsError("Trainer: optimizers are those of optax: pip install 'derive-numerics[train]'") from None
    if isinstance(optimizer, str):
        optimizer, learning_rate = _named(optimizer, learning_rate)
    given = callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))
    if learning_rate is not None:
        if given or not callable(optimizer):
            raise NumericsError(
                f"Trainer: with learning_rate=, optimizer is a function that makes one of it, as in "
                f"Trainer(..., optimizer=optax.adam, learning_rate=1e-3); it is {optimizer!r}"
            )
        optimizer = optax.inject_hyperparams(optimizer)(learning_rate=learning_rate)
    elif not given:
        hint = "; with optimizer=optax.adam, give learning_rate= as well" if callable(optimizer) else ""
        raise NumericsError(
            f"Trainer: optimizer is {optimizer!r}; accepted is an optax optimizer, as in optax.adam(1e-3), or the "
            f"name of one, as 'adam'{hint}"
        )
    if clip_norm is not None:
        if isinstance(clip_norm, bool) or not isinstance(clip_norm, int | float) or not clip_norm > 0:
            raise NumericsError(f"Trainer: clip_norm is {clip_norm!r}; accepted is a number above 0")
        optimizer = optax.chain(optax.clip_by_global_norm(clip_norm), optimizer)
    if whole(accumulate, "accumulate", "Trainer") > 1:
        optimizer = optax.MultiSteps(optimizer, every_k_schedule=int(accumulate)).gradient_transformation()
    return optimizer


def started(optimizer, params: dict):
    """``optimizer.init(params)``, the arrays that it fills made by NumPy and handed to JAX together.

    An ``init`` that runs has a program compiled for every shape it fills; nearly all only fill arrays, copy parameters and
    compute a few numbers, which their trace shows.  Any other runs.
    """
    try:
        traced, shapes = jax.make_jaxpr(optimizer.init, return_shape=True)(params)
    except Exception:  # the values of parameters decide; or an error of its own, which comes again
        return optimizer.init(params)
    known = dict(zip(traced.jaxpr.constvars, traced.consts, strict=True))
    known |= zip(traced.jaxpr.invars, jax.tree.leaves(params), strict=True)

    def value(v):
        return v.val if isinstance(v, core.Literal) else known[v]

    for made in _needed(traced.jaxpr):
        (out, *more), read = made.outvars, [v.aval.shape for v in made.invars]
        if made.primitive.name == "broadcast_in_dim" and read == [()]:
            known[out] = np.full(out.aval.shape, value(made.invars[0]), out.aval.dtype)
        elif (
            more
            or out.aval.shape
            or any(read)
            or any(hasattr(p, "eqns") or hasattr(p, "jaxpr") for p in made.params.values())
        ):
            return optimizer.init(params)
        else:
            known[out] = made.primitive.bind(*map(value, made.invars), **made.params)
    outs: list[Any] = traced.jaxpr.outvars
    if any(v.aval.weak_type for v in outs):
        return optimizer.init(params)
    dtypes = [v.aval.dtype for v in outs]
    leaves = [
        np.asarray(v.val, t) if isinstance(v, core.Literal) else known[v] for v, t in zip(outs, dtypes, strict=True)
    ]
    return jax.tree.unflatten(jax.tree.structure(shapes), jax.device_put(leaves))


def _needed(jaxpr) -> list[Any]:
    """The equations that the results are computed from."""
    wanted = {v for v in jaxpr.outvars if not isinstance(v, core.Literal)}
    found = []
    for made in reversed(jaxpr.eqns):
        if not wanted.isdisjoint(made.outvars):
            wanted |= {v for v in made.invars if not isinstance(v, core.Literal)}
            found.append(made)
    return found[::-1]


# by name, each with the learning rate that it has in Keras
NAMED = {
    "adam": 1e-3,
    "adamw": 1e-3,
    "nadam": 1e-3,
    "adamax": 1e-3,
    "adagrad": 1e-3,
    "adadelta": 1e-3,
    "rmsprop": 1e-3,
    "lion": 1e-3,
    "lamb": 1e-3,
    "sgd": 1e-2,
}


def _named(name: str, learning_rate):
    """The function of optax that a name means, and its rate; its other options are optax's own."""
    import optax

    if name.lower() not in NAMED:
        raise NumericsError(
            f"Trainer: unknown optimizer {name!r}{did_you_mean(name.lower(), NAMED)}; accepted are {', '.join(NAMED)}, or "
            f"any optimizer of optax, as in optax.adam(1e-3)"
        )
    return getattr(optax, name.lower()), NAMED[name.lower()] if learning_rate is None else learning_rate


def _has_rate(node) -> bool:
    return isinstance(getattr(node, "hyperparams", None), dict) and RATE in node.hyperparams


def rate(opt_state) -> float | None:
    """The learning rate that stands in an optimizer's state (``optax.inject_hyperparams``), if one does."""
    found = [n for n in jax.tree.leaves(opt_state, is_leaf=_has_rate) if _has_rate(n)]
    return float(found[0].hyperparams[RATE]) if found else None


def with_rate(opt_state, value: float):
    """The same state with another learning rate; refused where there is none, or where a schedule sets it."""
    found = [n for n in jax.tree.leaves(opt_state, is_leaf=_has_rate) if _has_rate(n)]
    if not found:
        raise NumericsError(
            "learning_rate: this optimizer does not keep its rate in its state; make the trainer with "
            "optimizer=optax.adam, learning_rate=1e-3, or use optax.inject_hyperparams"
        )
    if any(RATE in getattr(n, "hyperparams_states", {}) for n in found):
        raise NumericsError("learning_rate: a schedule sets it at every step; give another schedule instead")

    def changed(node):
        if not _has_rate(node):
            return node
        old = node.hyperparams[RATE]
        return node._replace(hyperparams={**node.hyperparams, RATE: jnp.asarray(value, jnp.asarray(old).dtype)})

    return jax.tree.map(changed, opt_state, is_leaf=_has_rate)


def regrafted(optimizer, old, was: dict, now: dict):
    """The state for other parameters: what was gathered for those that stay is kept, the rest starts afresh.

    Parameters
    ----------
    old
        The optimizer's state for the parameters ``was``.
    was, now : dict of str to array
    """
    fresh = started(optimizer, now)

    def leaves(tree, names):
        return jax.tree.flatten(tree, is_leaf=lambda n: isinstance(n, dict) and set(n) == names)

    (kept, _), (new, structure) = leaves(old, set(was)), leaves(fresh, set(now))
    if len(kept) != len(new):
        return fresh  # a state that is not made of dicts of parameters
    return structure.unflatten(
        [{n: k.get(n, f[n]) for n in f} if isinstance(f, dict) else k for k, f in zip(kept, new, strict=True)]
    )
