"""The forward of a backward pass that is checked: its definitions, its derived product, arrays to call both at."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

import derive as dv
from derive.derivation.derivation import Derivation
from derive.language.index import Size
from derive.language.naming import adjoint, numbered
from derive.language.tensor import Tensor
from numerics.errors import InputError, NumericsError
from numerics.reference.grid import size_value

from .arguments import names_of
from .model import JaxModel
from .vjp_rules import Arguments, is_float

Lengths = dict[Size, int]


@dataclass
class Drawn:
    """Arrays for every argument's leaf, and a cotangent for every float result, in float64."""

    arrays: list[np.ndarray]
    cotangents: list[np.ndarray]


class Forward:
    """A function of arrays as it was written in JAX.

    ``keeps`` says that it returns ``(results, residuals)``.
    """

    def __init__(self, f: Callable[..., Any], args: Arguments, keeps: bool, axes: Any, called: str):
        self.f, self.args, self.keeps, self.called = f, args, keeps, called
        self.floats = [n for n, a in enumerate(args.arrays) if is_float(a)]
        if not self.floats:
            raise InputError(f"nx.check_vjp: no argument of {called} is an array of floats; pass arrays to check it at")
        self.names = names_of(f, args.alone())
        self.fast = jax.jit(self.results)
        self._shapes: dict[tuple, list[Any]] = {}
        self.model = self._model(axes)
        self.tensors = [self.model.tensors.get(n) for n in self.names]
        self.lengths = self._lengths()
        reached = {t for y in self.model.outputs for t in self.model.reached(y)}
        self.wrt = [t for n in self.floats if (t := self.tensors[n]) is not None and t in reached]
        if not self.wrt:
            raise NumericsError(
                f"nx.check_vjp: the results of {called} depend on no array of floats: its gradients are zero"
            )

    def results(self, *arrays: Any) -> list[Any]:
        """The float results."""
        out = self.f(*self.args.with_arrays(arrays))
        return [o for o in jax.tree_util.tree_leaves(out[0] if self.keeps else out) if is_float(o)]

    def _model(self, axes: Any) -> JaxModel:
        def flat(*arrays: Any) -> list[Any]:
            return self.results(*arrays)

        flat.__name__ = self.called
        flat.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # where the names of arrays are read
            [inspect.Parameter(n, inspect.Parameter.POSITIONAL_ONLY) for n in self.names]
        )
        return JaxModel(flat, shapes_of(self.args), self.floats, axes or self._usual(), "primal")

    def _usual(self) -> dict[str, str]:
        """The usual letters for the axes of the first array, which is data more often than a parameter."""
        shape = np.shape(self.args.arrays[self.floats[0]])
        letters = {2: "B I", 3: "B T D"}.get(len(shape))
        return {self.names[self.floats[0]]: letters} if letters and 1 not in shape else {}

    def _lengths(self) -> Lengths:
        """What the arguments have for the sizes of the definitions."""
        found: Lengths = {}
        for t, a in zip(self.tensors, self.args.arrays, strict=True):
            for axis, n in zip(t.axes if t is not None else (), np.shape(a), strict=False):
                times, size = axis.as_coeff_Mul()
                if isinstance(size, Size):
                    found[size] = n // int(times)
        return found

    def derivation(self, wrt: Sequence[Tensor]) -> tuple[Derivation, list[str]]:
        """The derived product, and the names of the cotangents: one for each float result."""
        outs, taken = self.model.outputs, list(self.model.tensors)
        names: list[str] = []
        for y in outs:
            names.append(numbered("dy" if len(outs) == 1 else adjoint(y.name), taken, "_"))
            taken.append(names[-1])
        name = self.called if self.called.isidentifier() else "function"
        if len(outs) == 1:
            return dv.vjp(outs[0], wrt=wrt, cotangent=names[0], name=name), names
        total: Any = 0
        for y, cotangent in zip(outs, names, strict=True):
            letters = zip(y.letters, y.axes, strict=True)
            idx = [i if i is not None else dv.index(f"i{n}", a) for n, (i, a) in enumerate(letters)]
            product = dv.tensor(cotangent, *idx)[tuple(idx)] * y[tuple(idx)]
            total = total + (dv.Sum(product, *idx) if idx else product)
        loss = dv.define(numbered("total", taken, "_"), (), total)
        return dv.backprop(loss, wrt=wrt, name=name), names

    # -- arrays --------------------------------------------------------------------------------------------------------

    def drawn(self, lengths: Lengths, seed: int = 0) -> Drawn:
        """Normal arrays and cotangents at the given lengths."""
        rng = np.random.default_rng(seed)
        arrays = []
        for t, a in zip(self.tensors, self.args.arrays, strict=True):
            shape = tuple(size_value(n, lengths) for n in t.axes) if t is not None else np.shape(a)
            if is_float(a):
                arrays.append(rng.normal(size=shape))
                continue
            top = 2 if t is None or t.below is None else size_value(t.below, lengths)
            arrays.append(
                rng.integers(0, max(top, 1), shape).astype(bool if t is not None and t.dtype == "bool" else int)
            )
        return Drawn(arrays, [rng.normal(size=o.shape) for o in self.shapes(arrays)])

    def shapes(self, arrays: Sequence[Any]) -> list[Any]:
        """Shapes and dtypes of the float results."""
        key = tuple(map(np.shape, arrays))
        if key not in self._shapes:
            self._shapes[key] = jax.eval_shape(self.results, *arrays)
        return self._shapes[key]

    def given(self) -> list[np.ndarray] | None:
        """The arguments' own values, floats in float32; None where they are only shapes."""
        if any(isinstance(a, jax.ShapeDtypeStruct) for a in self.args.arrays):
            return None
        return [np.asarray(a, np.float32) if is_float(a) else np.asarray(a) for a in self.args.arrays]


def shapes_of(args: Arguments) -> list[jax.ShapeDtypeStruct]:
    """The arrays' shapes, floats as float32: what computes in float32 inside rounds nothing then."""
    return [
        jax.ShapeDtypeStruct(
            np.shape(a), np.float32 if is_float(a) else np.asarray(a).dtype if not hasattr(a, "dtype") else a.dtype
        )
        for a in args.arrays
    ]
