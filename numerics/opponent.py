"""What a kernel should return, by autodiff of a forward that shares nothing with it.

The forward is, in order: the one given; the reference that comes with a catalogue model; else the node-by-node evaluator
of the definitions in :mod:`numerics.reference`.  This is the one place, with :mod:`numerics.verify`, where ``jax.grad``
appears.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from derive.derivation import Derivation
from derive.errors import UnsupportedError

from .reference import evaluate
from .rounding import is_float


def label(group: str, key=None) -> str:
    """How one result of a kernel is called in a report: ``W`` for its gradient, ``loss``, ``outputs z``."""
    if key is None:
        return group
    key = ", ".join(key) if isinstance(key, tuple) else key
    return key if group == "grads" else f"{group} {key}"


def flatten(d: Derivation, returned) -> dict[str, np.ndarray]:
    """What a kernel returned, as label -> array, in the order of ``d.results``."""
    found = {}
    for (group, declared), value in zip(d.results, returned, strict=True):
        if hasattr(declared, "items"):
            found.update({label(group, key): np.asarray(value[key]) for key in declared})
        else:
            found[group] = np.asarray(value)
    return found


class Opponent:
    """Expected results of one derivation at given sizes.

    ``Opponent(d, sizes)(arrays)`` returns label -> array.  With ``conventions=True`` ties and kinks follow this library's
    stated conventions instead of autodiff's own; only the node-by-node evaluator can do that.
    """

    def __init__(self, d: Derivation, sizes, forward=None, conventions: bool = False):
        self.d, self.sizes, self.conventions = d, sizes, conventions
        self.given = forward or getattr(d, "reference", None)
        self.groups = [group for group, _ in d.results]
        unknown = [g for g in self.groups[1:] if g not in ("grads", "outputs")]
        if unknown:
            raise UnsupportedError(f"verify has no opponent for the result {unknown[0]!r} of a {d.kind}")
        self._compiled = jax.jit(self._all)

    @property
    def text(self) -> str:
        if self.given is None:
            return "node-by-node evaluator of the definitions (numerics.reference)"
        return getattr(self.given, "description", None) or f"given: {getattr(self.given, '__name__', 'forward')}"

    def __call__(self, arrays) -> dict[str, np.ndarray]:
        whole = {n: a for n, a in arrays.items() if not is_float(a)}
        parts = {n: a for n, a in arrays.items() if is_float(a)}
        return {n: np.asarray(v) for n, v in self._compiled(parts, whole).items()}

    def value(self, floats, whole):
        """The differentiated tensor: a scalar loss, or the y of a vjp."""
        arrays = {**floats, **whole}
        if self.given is not None:
            seed = self.d.seed.name if self.d.seed is not None else None
            return self.given(**{n: a for n, a in arrays.items() if n != seed})
        return self._nodes(arrays)[self.d.loss.name]

    def _nodes(self, arrays):
        return evaluate(self.d.source, arrays, self.sizes, jnp, self.conventions)

    def _all(self, floats, whole):
        wrt = {t.name: floats[t.name] for t in self.d.wrt}

        def scalar(parts):
            y = self.value({**floats, **parts}, whole)
            if self.d.seed is None:
                return y, y
            return jnp.sum(y * floats[self.d.seed.name]), y

        gradients, y = jax.grad(scalar, has_aux=True)(wrt)
        found = {self.groups[0]: y}
        for group, declared in self.d.results[1:]:
            source = gradients if group == "grads" else self._nodes({**floats, **whole})
            names = declared if group == "grads" else {k: t.name for k, t in declared.items()}
            found.update({label(group, k): source[k if group == "grads" else names[k]] for k in declared})
        return found


def finite(d: Derivation, sizes, forward=None):
    """A predicate on arrays: are the loss and all gradients finite there?"""
    opponent = Opponent(d, sizes, forward)

    def holds(arrays) -> bool:
        with np.errstate(all="ignore"):
            values = evaluate(d.source, arrays, sizes, np)
            if not np.all(np.isfinite(values[d.loss.name])):
                return False
            return all(np.all(np.isfinite(a)) for a in opponent(arrays).values())

    return holds
