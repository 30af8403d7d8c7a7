"""Generated modules run by NumPy, in float64, one operation after the other: nothing is compiled.

What a module imports as ``jax``, ``jnp`` and ``lax`` is replaced: what NumPy has under the same name is NumPy's, a scan is a
loop and a convolution a sum over windows, and what only JAX has is JAX's own, in double precision.  Only the first check of a
kernel runs modules so; see :mod:`numerics.kernel.first_check`.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType, SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy import linalg, special

from numerics.emit.module import Module


def run(made: Module, arrays: Sequence[np.ndarray]) -> tuple[Any, dict[str, Any]]:
    """What the function of a module returns, and the arrays that its body named.

    Parameters
    ----------
    made : Module
    arrays : sequence of array
        Its arguments; floats in float64.

    Raises
    ------
    Exception
        Whatever the module raises.
    """
    namespace: dict[str, Any] = {"__name__": "eager", "__builtins__": {**vars(builtins), "__import__": _import}}
    exec(builtins.compile(made.source, f"<eager {made.function}>", "exec"), namespace)  # noqa: S102  our own text
    found: dict[str, Any] = {}

    def look(frame: FrameType, event: str, _: Any) -> None:
        if event == "return" and frame.f_code.co_name == made.function:
            found.update({n: v for n, v in frame.f_locals.items() if isinstance(v, np.ndarray | np.generic)})

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        with np.errstate(all="ignore"), jax.enable_x64(True):
            out = namespace[made.function](*(np.asarray(a).view(Array) for a in arrays))
    finally:
        sys.setprofile(before)
    return out, found


class Array(np.ndarray):
    """An array with the out-of-place updates of JAX: ``a.at[k].add(v)``."""

    def __getitem__(self, places: Any) -> Any:
        try:
            return super().__getitem__(places)
        except IndexError:  # JAX reads the nearest element there is
            places = places if isinstance(places, tuple) else (places,)
            if any(not (p is None or isinstance(p, slice) or np.asarray(p).dtype.kind in "iu") for p in places):
                return _ours(jnp.asarray(self)[places])
            axes = iter(self.shape)
            inside = [
                p if p is None else np.clip(p, -n, n - 1) if not isinstance(p, slice) else p
                for p in places
                for n in ((0,) if p is None else (next(axes),))
            ]
            return super().__getitem__(tuple(inside))

    @property
    def at(self) -> _At:
        return _At(self)


class _At:
    def __init__(self, array: np.ndarray, places: Any = None):
        self.array, self.places = array, places

    def __getitem__(self, places: Any) -> _At:
        return _At(self.array, places)

    def add(self, amount: Any, **how: Any) -> np.ndarray:
        return self._changed("add", np.add.at, amount, how)

    def set(self, amount: Any, **how: Any) -> np.ndarray:
        return self._changed("set", np.ndarray.__setitem__, amount, how)

    def _changed(self, name: str, change: Callable[..., None], amount: Any, how: Mapping[str, Any]) -> np.ndarray:
        out = self.array.copy()
        try:
            change(out, self.places, amount)
        except IndexError:  # JAX leaves out what is to be written outside the array
            return _ours(getattr(jnp.asarray(self.array).at[self.places], name)(amount, **how))
        return out


def _wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose results are arrays of ours, with JAX's arguments that NumPy has no use for left out."""

    def call(*args: Any, **named: Any) -> Any:
        named = {k: v for k, v in named.items() if k not in ("precision", "preferred_element_type")}
        return _ours(function(*args, **named))

    return call


def _ours(out: Any) -> Any:
    if isinstance(out, tuple | list):
        return type(out)(map(_ours, out)) if not hasattr(out, "_fields") else type(out)(*map(_ours, out))
    return np.asarray(out).view(Array) if isinstance(out, np.ndarray | np.generic | jax.Array) else out


class Namespace:
    """A module of functions: those given, then NumPy's (or SciPy's), then JAX's."""

    def __init__(self, own: Mapping[str, Any], *homes: Any):
        self._own, self._homes = own, homes

    def __getattr__(self, name: str) -> Any:
        if name in self._own:
            return self._own[name]
        home = next((h for h in self._homes if hasattr(h, name)), None)
        if home is None:
            raise AttributeError(name)
        found = getattr(home, name)
        return _wrapped(found) if callable(found) and not isinstance(found, type) else found


def _vmap(f: Callable[..., Any], in_axes: Any = 0) -> Callable[..., Any]:
    """``jax.vmap`` of a function of arrays that returns one, as a loop."""

    def each(*arrays: Any) -> Any:
        axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(arrays)
        (count,) = {a.shape[n] for a, n in zip(arrays, axes, strict=True) if n is not None}
        moved = [a if n is None else np.moveaxis(a, n, 0) for a, n in zip(arrays, axes, strict=True)]
        rows = ([a if n is None else _ours(a[k]) for a, n in zip(moved, axes, strict=True)] for k in range(count))
        return _ours(np.stack([f(*row) for row in rows]))

    return each


def _scan(
    f: Callable[..., Any], init: Any, xs: Any = None, length: int | None = None, reverse: bool = False, unroll: Any = 1
) -> tuple[Any, Any]:
    """``lax.scan`` as a loop."""
    leaves = jax.tree.leaves(xs)
    steps = len(leaves[0]) if leaves else int(length or 0)
    carry, outs = init, []
    for t in range(steps)[:: -1 if reverse else 1]:
        carry, y = f(carry, jax.tree.map(lambda a, t=t: _ours(a[t]), xs))
        outs.append(y)
    if not outs:  # no step: one on zeros says what the steps would give
        _, y = f(init, jax.tree.map(lambda a: np.zeros(a.shape[1:], a.dtype).view(Array), xs))
        return init, jax.tree.map(lambda a: np.zeros((0, *np.shape(a))).view(Array), y)
    stacked = jax.tree.map(lambda *ys: _ours(np.stack(ys)), *(outs[::-1] if reverse else outs))
    return carry, stacked


def _fori_loop(low: int, high: int, body: Callable[..., Any], state: Any, **_: Any) -> Any:
    for t in range(int(low), int(high)):
        state = body(t, state)
    return state


def _pad(array: np.ndarray, fill: Any, pads: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """``lax.pad``: ``(low, high, between)`` for each axis; what is negative cuts off."""
    wide = [n + (n - 1) * between for n, (_, _, between) in zip(array.shape, pads, strict=True)]
    out = np.full([n + max(low, 0) + max(high, 0) for n, (low, high, _) in zip(wide, pads, strict=True)], fill)
    places = [slice(max(low, 0), max(low, 0) + n, b + 1) for n, (low, _, b) in zip(wide, pads, strict=True)]
    out[tuple(places)] = array
    keep = [slice(max(-low, 0), n - max(-high, 0)) for n, (low, high, _) in zip(out.shape, pads, strict=True)]
    return _ours(out[tuple(keep)])


def _convolution(
    x: np.ndarray,
    kernel: np.ndarray,
    strides: Sequence[int],
    pads: Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
) -> np.ndarray:
    """``lax.conv_general_dilated`` by windows of the padded array, each spread by the dilation, times the kernel."""
    given, own, returned = dimension_numbers
    axes = [c for c in given if c not in "NC"]
    x = np.transpose(x, [given.index(c) for c in ("N", "C", *axes)])
    kernel = np.transpose(kernel, [own.index(c) for c in ("O", "I", *axes)])
    rank = len(axes)
    left, right = lhs_dilation or (1,) * rank, rhs_dilation or (1,) * rank
    x = _pad(x, 0.0, [(0, 0, 0)] * 2 + [(low, high, s - 1) for (low, high), s in zip(pads, left, strict=True)])
    kernel = _pad(kernel, 0.0, [(0, 0, 0)] * 2 + [(0, 0, s - 1) for s in right])
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], tuple(range(2, 2 + rank)))
    windows = windows[(slice(None), slice(None), *(slice(None, None, s) for s in strides))]
    taps = list(range(2 + rank, 2 + 2 * rank))
    out = np.einsum(windows, [0, 1, *range(2, 2 + rank), *taps], kernel, [50, 1, *taps], [0, 50, *range(2, 2 + rank)])
    return _ours(np.transpose(out, [("N", "C", *axes).index(c) for c in returned]))


def _identity(f: Any = None, **_: Any) -> Any:
    return f if f is not None else _identity


NN = {
    "sigmoid": lambda x: special.expit(x).view(Array),
    "softplus": lambda x: np.logaddexp(x, 0.0),
    "log1mexp": lambda x: np.where(x < np.log(2), np.log(-np.expm1(-x)), np.log1p(-np.exp(-x))).view(Array),
}
LAX = Namespace(
    {
        "scan": _scan,
        "fori_loop": _fori_loop,
        "erf": _wrapped(special.erf),
        "erfc": _wrapped(special.erfc),
        "rsqrt": lambda x: 1 / np.sqrt(x),
        "stop_gradient": _identity,
        "pad": _pad,
        "conv_general_dilated": _convolution,
    },
    lax,
)
LINALG = Namespace({}, np.linalg, jnp.linalg)
JNP = Namespace({"linalg": LINALG, "asarray": lambda a, dtype=None: _ours(np.asarray(a, dtype))}, np, jnp)
SCIPY = SimpleNamespace(linalg=Namespace({}, linalg), special=Namespace({}, special))
JAX = SimpleNamespace(
    jit=_identity,
    checkpoint=_identity,
    vmap=_vmap,
    numpy=JNP,
    lax=LAX,
    tree=jax.tree,
    nn=Namespace(NN, jax.nn),
    scipy=SCIPY,
)
MODULES = {"jax": JAX, "jax.numpy": JNP, "jax.lax": LAX, "jax.scipy": SCIPY}


def _import(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
    if name in MODULES:
        return MODULES[name] if fromlist else JAX
    return __import__(name, globals, locals, fromlist, level)
