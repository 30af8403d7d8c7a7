"""A derivation with its data, as functions of one flat vector: what the iterations of Newton's method ask for."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import numpy as np
from numpy.typing import ArrayLike

from derive.derivation.derivation import Derivation
from derive.derivation.given import refuse_structured
from numerics.errors import InputError, NumericsError
from numerics.kernel.compile import compile
from numerics.kernel.inputs import bind_sizes, check_values
from numerics.kernel.kernel import Kernel
from numerics.kernel.matrix_values import check_matrices
from numerics.kernel.memory import check_results

from .history import NewtonError

NEEDED = {"hessian": "newton", "hvp": "newton-cg", "gauss_newton": "gauss-newton-cg", "jacobian": "root"}


class Problem:
    """``value(v)``, ``first(v)`` and, by kind, ``matrix`` or ``product`` at a flat vector v."""

    def __init__(self, d: Derivation | Kernel, start: Mapping[str, ArrayLike], inputs: Mapping[str, ArrayLike]) -> None:
        self.kernel = d if isinstance(d, Kernel) else compile(d)
        self.d = self.kernel.derivation
        self.kind = self.d.kind
        if self.kind not in NEEDED:
            raise NumericsError(
                f"nx.newton takes a derivation of second derivatives: dv.hessian(loss, wrt), "
                f"dv.hvp(loss, wrt) or dv.gauss_newton(loss, wrt, at) to minimize, dv.jacobian(y, wrt) "
                f"for roots and least squares; this is a {self.kind}"
            )
        refuse_structured(self.d.wrt, "nx.newton")
        self.wrt = [t.name for t in self.d.wrt]
        missing, extra = [n for n in self.wrt if n not in start], [n for n in start if n not in self.wrt]
        if missing or extra:
            raise InputError(
                f"start: give {', '.join(self.wrt)}; "
                + (f"{', '.join(missing)} is missing" if missing else f"{extra[0]!r} is not differentiated for")
            )
        self.dtype = np.result_type(*(np.asarray(start[n]).dtype for n in self.wrt), np.float32)
        self.start = {n: np.asarray(start[n], self.dtype) for n in self.wrt}
        self.inputs = {n: self._cast(a) for n, a in inputs.items()}
        self.directions = {n: t.name for n, t in self.d.directions.items()}
        self.shapes = {n: a.shape for n, a in self.start.items()}
        self.size = sum(a.size for a in self.start.values())
        self.groups = [g for g, _ in self.d.results]
        self._loss = jax.jit(lambda *arrays: self.kernel.fn(*arrays)[0])  # the rest is not computed

    def _cast(self, a: ArrayLike) -> np.ndarray:
        array = np.asarray(a)
        return array.astype(self.dtype) if array.dtype.kind == "f" else array

    def flat(self, parts: Mapping[str, ArrayLike]) -> np.ndarray:
        return np.concatenate([np.asarray(parts[n], self.dtype).ravel() for n in self.wrt])

    def parts(self, v: np.ndarray) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        at = 0
        for n, shape in self.shapes.items():
            size = int(np.prod(shape, dtype=int))
            found[n], at = v[at : at + size].reshape(shape), at + size
        return found

    def _arrays(self, v: np.ndarray, along: np.ndarray | None = None) -> dict[str, np.ndarray]:
        arrays = {**self.inputs, **self.parts(v)}
        if self.directions:
            moving = self.parts(np.zeros_like(v) if along is None else along)
            arrays |= {self.directions[n]: moving[n] for n in self.wrt}
        return arrays

    def check(self) -> None:
        """Names, shapes and dtypes, and the values of the data and of the start: ranges, NaN, declared facts."""
        arrays = self._arrays(self.flat(self.start))
        self.kernel._ordered(arrays)
        try:
            check_values(self.kernel.inputs, arrays, self.kernel.request.sizes, self.d.program, matrices=False)
        except InputError as error:
            raise NewtonError(f"{self.d.name}: {error}", (), self.start) from None

    def _ordered(self, v: np.ndarray, along: np.ndarray | None = None) -> list[np.ndarray]:
        arrays = self._arrays(v, along)
        return [arrays[t.name] for t in self.kernel.inputs]

    def value(self, v: np.ndarray) -> float:
        """The loss, or half the squared residual."""
        found = np.asarray(self._loss(*self._ordered(v)), self.dtype)
        return float(found) if self.kind != "jacobian" else 0.5 * float(np.sum(found**2))

    def all(self, v: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """``(value, gradient or residual, matrix)`` at v; the matrix is empty where products stand for it."""
        returned = dict(zip(self.groups, self.kernel.fn(*self._ordered(v)), strict=True))
        if self.kind == "jacobian":
            y = np.asarray(returned["value"], self.dtype).ravel()
            blocks = [np.asarray(returned["jacobian"][n]).reshape(y.size, -1) for n in self.wrt]
            return 0.5 * float(y @ y), y, np.concatenate(blocks, axis=1)
        gradient = self.flat(returned["grads"])
        if self.directions:
            return float(returned["loss"]), gradient, np.zeros((0, 0), self.dtype)
        width = {n: int(np.prod(s, dtype=int)) for n, s in self.shapes.items()}
        matrix = np.block(
            [[np.asarray(returned["hessian"][a, b]).reshape(width[a], width[b]) for b in self.wrt] for a in self.wrt]
        )
        return float(returned["loss"]), gradient, matrix

    def why(self, v: np.ndarray) -> str:
        """What is known of a value that is not finite: a singular matrix, a determinant without a logarithm."""
        arrays = self._arrays(v)
        try:
            check_matrices(
                self.d.program,
                arrays,
                bind_sizes(self.kernel.inputs, arrays, self.kernel.request.sizes, self.d.program),
            )
        except InputError as error:
            return f": {error}"
        return ""

    def product(self, v: np.ndarray, along: np.ndarray) -> np.ndarray:
        """The Hessian (or Gauss-Newton matrix) at v times a direction, without the matrix."""
        returned = dict(zip(self.groups, self.kernel.fn(*self._ordered(v, along)), strict=True))
        return self.flat(returned[self.kind])

    def check_memory(self, limit: int | None = None) -> None:
        """Refuse a Hessian or Jacobian that does not fit, before it is asked for."""
        sizes = bind_sizes(
            self.kernel.inputs, self._arrays(self.flat(self.start)), self.kernel.request.sizes, self.d.program
        )
        check_results(self.d, sizes, self.dtype.itemsize, limit)
