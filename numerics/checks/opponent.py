"""What a kernel should return, by autodiff of a forward that shares nothing with it.

The forward is, in order: the one given; the reference of a catalogue model (:mod:`numerics.reference.networks`); else the
node-by-node evaluator of the definitions in :mod:`numerics.reference.definitions`.  Autodiff appears here, with
:mod:`numerics.checks.verify`, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from derive.derivation.derivation import Derivation
from derive.language.errors import UnsupportedError
from derive.language.tensor import Tensor
from numerics.emit.source.asked import only_outputs
from numerics.reference.definitions import evaluate
from numerics.reference.grid import size_value
from numerics.reference.networks import lacking, reference
from numerics.reference.sampling import gathered

from .rounding import is_float
from .second import DERIVATIVES

VALUES = ("outputs", "carried")  # results that are values of definitions


def label(group: str, key: Any = None) -> str:
    """How one result of a kernel is called in a report: ``W`` for its gradient, ``loss``, ``outputs z``."""
    if key is None:
        return group
    key = ", ".join(key) if isinstance(key, tuple) else key
    return key if group == "grads" else f"{group} {key}"


def flatten(d: Derivation, returned: Iterable) -> dict[str, np.ndarray]:
    """What a kernel returned, as label -> array, in the order of ``d.results``."""
    found = {}
    returned = (returned,) if only_outputs(d) else returned
    for (group, declared), value in zip(d.results, returned, strict=True):
        if hasattr(declared, "items"):
            found.update({label(group, key): np.asarray(value[key]) for key in declared})
        else:
            found[group] = np.asarray(value)
    return found


def written(d: Derivation) -> list:
    """The tensors whose written definitions say what a derivation is about: its loss and its other outputs."""
    values = [v for group, v in d.results if group not in ("grads", *DERIVATIVES)]
    found = [t for v in values for t in ([v] if isinstance(v, Tensor) else v.values())]
    return [*found, *([] if d.between is None else [d.between])]


class Opponent:
    """Expected results of one derivation at given sizes.

    ``Opponent(d, sizes)(arrays)`` returns label -> array.  With ``conventions=True`` ties and kinks follow this
    library's stated conventions instead of autodiff's own; only the node-by-node evaluator can do that.  ``guarded``
    has it take roots, logarithms and quotients at exactly 0 for constants.
    """

    def __init__(
        self,
        d: Derivation,
        sizes: dict,
        forward: Callable | None = None,
        conventions: bool = False,
        guarded: bool = False,
    ):
        self.d, self.sizes, self.conventions, self.guarded = d, sizes, conventions, guarded
        self.given = None if conventions else forward or reference(d.network)
        self.groups = [group for group, _ in d.results]
        unknown = [g for g in self.groups[1:] if g not in ("grads", *VALUES, *DERIVATIVES)]
        if unknown:
            raise UnsupportedError(f"verify has no opponent for the result {unknown[0]!r} of a {d.kind}")
        self.inner = [t for t in d.wrt if not t.is_input]  # intermediates: differentiated through a nudge
        if self.inner:
            self.given = None
        self.directions = d.directions
        self._compiled = jax.jit(self._all)

    @property
    def text(self) -> str:
        if self.given is None:
            why = lacking(self.d.network) if self.d.network is not None else ""
            return "node-by-node evaluator of the definitions (numerics.reference.definitions)" + (
                f"; there is no reference: {why}" if why else ""
            )
        return getattr(self.given, "description", None) or f"given: {getattr(self.given, '__name__', 'forward')}"

    def __call__(self, arrays: dict) -> dict[str, np.ndarray]:
        whole = {n: a for n, a in arrays.items() if not is_float(a)}
        parts = {n: a for n, a in arrays.items() if is_float(a)}
        return {n: np.asarray(v) for n, v in self._compiled(parts, whole).items()}

    def value(self, floats: dict, whole: dict, nudges: dict | None = None) -> Any:
        """The differentiated tensor: a scalar loss, or the y of a vjp."""
        arrays = {**floats, **whole}
        if self.given is not None:
            left_out = {t.name for t in (self.d.seed, *self.directions.values()) if t is not None}
            return self.given(**{n: a for n, a in arrays.items() if n not in left_out})
        return self._nodes(arrays, nudges)[self.d.loss.name]

    def _given_outputs(self, arrays: dict) -> dict:
        """The values of a program that only goes forward: of the forward that was given, else of the definitions."""
        values = self._nodes(arrays) if self.given is None else self.given(**arrays)
        found = {}
        for group, declared in self.d.results:
            if isinstance(declared, Tensor):
                found[group] = values[declared.name]
            else:
                found.update({label(group, k): values[k if self.given else t.name] for k, t in declared.items()})
        return found

    def _nodes(self, arrays: dict, nudges: dict | None = None) -> dict:
        return evaluate(written(self.d), arrays, self.sizes, jnp, self.conventions, nudges, self.guarded)

    def _all(self, floats: dict, whole: dict) -> dict:
        if self.d.kind == "forward":
            return self._given_outputs({**floats, **whole})
        zeros = {t.name: jnp.zeros([size_value(a, self.sizes) for a in t.axes]) for t in self.inner}
        wrt = {t.name: zeros[t.name] if t in self.inner else floats[t.name] for t in self.d.wrt}

        def scalar(parts: dict) -> tuple[Any, Any]:
            nudges = {n: a for n, a in parts.items() if n in zeros}
            y = self.value({**floats, **{n: a for n, a in parts.items() if n not in zeros}}, whole, nudges)
            if self.d.seed is None:
                return y, y
            return jnp.sum(y * floats[self.d.seed.name]), y

        y = scalar(wrt)[1]
        found = {self.groups[0]: y}
        gradient = jax.grad(lambda parts: scalar(parts)[0])
        for group, declared in self.d.results[1:]:
            if group == "outputs":
                nodes = self._nodes({**floats, **whole})
                values = {k: nodes[t.name] for k, t in declared.items()}
            elif group == "hvp":
                along = {n: floats[self.directions[n].name] for n in wrt}
                values = jax.jvp(gradient, (wrt,), (along,))[1]
            elif group == "gauss_newton":
                values = self._gauss_newton(wrt, floats, whole)
            elif group == "jacobian":
                values = jax.jacfwd(lambda parts: scalar(parts)[1])(wrt)
            elif group == "hessian":
                blocks = jax.jacfwd(gradient)(wrt)
                values = {(a, b): blocks[a][b] for a, b in declared}
            else:
                values = gradient(wrt)
            if group in ("grads", "jacobian"):
                values = {t.name: gathered(values[t.name], t) for t in self.d.wrt}
            found.update({label(group, k): values[k] for k in declared})
        return found

    def _gauss_newton(self, wrt: dict, floats: dict, whole: dict) -> dict:
        """``J' H J V`` by a jvp, a jvp of a gradient and a vjp, z being moved in the evaluator of the definitions."""
        if self.d.between is None:
            raise UnsupportedError(f"{self.d.name} has no Gauss-Newton product")
        between = self.d.between.name

        def z(parts: dict) -> Any:
            return self._nodes({**floats, **parts, **whole})[between]

        def loss(nudge: Any) -> Any:
            return self._nodes({**floats, **wrt, **whole}, {between: nudge})[self.d.loss.name]

        along = {n: floats[self.directions[n].name] for n in wrt}
        here, moved = jax.jvp(z, (wrt,), (along,))
        curved = jax.jvp(jax.grad(loss), (jnp.zeros_like(here),), (moved,))[1]
        return jax.vjp(z, wrt)[1](curved)[0]


def finite(opponent: Opponent) -> Callable[[dict], bool]:
    """A predicate on arrays: are the loss and all gradients finite there?"""
    d = opponent.d

    def exists(arrays: dict) -> bool:
        """Of values alone, infinity is one."""
        return not any(np.any(np.isnan(a)) for a in opponent(arrays).values())

    def holds(arrays: dict) -> bool:
        with np.errstate(all="ignore"):
            values = evaluate(written(d), arrays, opponent.sizes, np)
        if not np.all(np.isfinite(values[d.loss.name])):
            return False
        return all(np.all(np.isfinite(a)) for a in opponent(arrays).values())

    return exists if d.kind == "forward" else holds
