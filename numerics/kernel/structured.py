"""``nx.compile(d, form="structured")``: Hessians as the compact arrays that their equations are made of.

``kern(...).hessian["U", "V"]`` is a :class:`Block`: parts, ``nbytes``, products with it, the full array on demand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sympy import Expr, Integer

from derive.derivation.structured import Part
from derive.language.index import Size

from .kernel import Kernel


@dataclass(frozen=True, eq=False)
class Block:
    """One block of a Hessian, as the sum of its parts.

    Attributes
    ----------
    shape : tuple of int
        Of the full block: that of the first tensor, then that of the second.
    parts : tuple of Part
        ``part.axes`` has a letter for every axis of the full block; axes with the same letter are tied, the block is
        zero where they differ.  ``part.factors`` are ``(key, letters)``: the part is ``part.coef`` times the product of
        those arrays, summed over letters that no axis has.  ``part.kind`` says what that makes it.
    arrays : dict
        What the kernel computed, by key.
    inputs : dict
        Inputs that parts refer to, by name: the arrays that were given, not copies.

    Examples
    --------
    >>> import numpy as np, sympy, derive as dv, numerics as nx
    >>> k = dv.index("k")
    >>> x = dv.tensor("x", k)
    >>> d = dv.hessian(dv.define("loss", (), dv.Sum(x[k]**3, k)), [x])
    >>> H = nx.compile(d, form="structured")(x=np.array([1.0, 2.0])).hessian["x", "x"]
    >>> print(H)
    6 x[k] on axes k k: 0 numbers computed for 4
    >>> np.asarray(H)
    array([[ 6.,  0.],
           [ 0., 12.]], dtype=float32)
    """

    shape: tuple[int, ...]
    parts: tuple[Part, ...]
    arrays: Mapping[str, Any]
    inputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays that were computed."""
        return sum(a.size * a.dtype.itemsize for a in self.arrays.values())

    @property
    def size(self) -> int:
        """How many numbers were computed for it."""
        return sum(int(a.size) for a in self.arrays.values())

    @property
    def dtype(self) -> np.dtype:
        return (
            np.result_type(*(np.asarray(a).dtype for a in (*self.arrays.values(), *self.inputs.values())))
            if self.arrays or self.inputs
            else np.dtype(np.float32)
        )

    def _operands(self, part: Part) -> tuple[list[Any], dict[str, int]]:
        """The arrays of a part with their letters as numbers, as einsum takes them, and those numbers."""
        letters = dict.fromkeys((*part.axes, *(a for _, of in part.factors for a in of)))
        number = {a: n for n, a in enumerate(letters)}
        every = {**self.inputs, **self.arrays}
        operands = [
            x for key, of in part.factors for x in (np.asarray(every[key], self.dtype), [number[a] for a in of])
        ]
        return [np.asarray(part.coef, self.dtype), [], *operands], number

    def dense(self) -> np.ndarray:
        """The full block."""
        full = np.zeros(self.shape, self.dtype)
        for part in self.parts:
            letters = list(dict.fromkeys(part.axes))
            operands, number = self._operands(part)
            sizes = dict(zip(part.axes, self.shape, strict=True))
            held = [a for a in letters if any(a in of for _, of in part.factors)]
            product = np.einsum(*operands, [number[a] for a in held], optimize=True)
            product = product.reshape([sizes[a] if a in held else 1 for a in letters])
            tied = np.einsum(full, [number[a] for a in part.axes], list(range(len(letters))))  # a view of the diagonals
            tied += product
        return full

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self.dense().astype(dtype) if dtype is not None else self.dense()

    def product(self, v: ArrayLike) -> np.ndarray:
        """The block times an array of the second tensor's shape, without the full block."""
        along = np.asarray(v)
        rank = len(self.shape) - along.ndim
        if along.shape != self.shape[rank:]:
            raise ValueError(
                f"the block is {self.shape}: its product takes an array of shape ending it, not {along.shape}"
            )
        out = np.zeros(self.shape[:rank], np.result_type(along, self.dtype))
        for part in self.parts:
            operands, number = self._operands(part)
            rows = part.axes[:rank]
            operands += [along, [number[a] for a in part.axes[rank:]]]
            sizes = dict(zip(part.axes, self.shape, strict=True))
            for a in rows:  # a letter that nothing holds is constant along its axis
                if not any(number[a] in of for of in operands[1::2]):
                    operands += [np.ones(sizes[a], along.dtype), [number[a]]]
            own = list(dict.fromkeys(rows))
            view = np.einsum(out, [number[a] for a in rows], [number[a] for a in own])
            view += np.einsum(*operands, [number[a] for a in own], optimize=True)
        return out

    def __str__(self) -> str:
        lines = [
            ("" if part.coef == 1 else f"{part.coef:g} ")
            + " ".join(f"{key}[{','.join(of)}]" for key, of in part.factors)
            + f" on axes {' '.join(part.axes)}"
            for part in self.parts
        ]
        return f"{' + '.join(lines) or 'zero'}: {self.size} numbers computed for {int(np.prod(self.shape, dtype=int))}"


class StructuredKernel(Kernel):
    """A kernel whose Hessian blocks are :class:`Block` s; ``fn`` returns the compact arrays by key."""

    def __call__(self, /, **arrays: Any) -> Any:
        """Like any kernel; ``.hessian`` maps pairs of names to :class:`Block` s."""
        found = super().__call__(**arrays)
        shapes = {t.name: np.shape(arrays[t.name]) for t in self.derivation.wrt if t.name in arrays}
        blocks = {}
        for (a, b), parts in (self.request.layout or {}).items():
            keys = list(dict.fromkeys(key for part in parts for key, _ in part.factors))
            parts = tuple(replace(p, coef=_number(p.coef, self._seen)) for p in parts)
            blocks[a, b] = Block(
                shapes[a] + shapes[b],
                parts,
                {k: found.hessian[k] for k in keys if k in found.hessian},
                {k: _of_dtype(arrays[k], found[0].dtype) for k in keys if k not in found.hessian},
            )
        return found._replace(hessian=blocks)


def _of_dtype(a: Any, dtype: np.dtype) -> Any:
    """The array itself where it has the dtype."""
    return a if getattr(a, "dtype", None) == dtype else np.asarray(a, dtype)


def _number(coef: Expr, sizes: Mapping[Size, int]) -> float:
    """A coefficient with the sizes of the arrays put in."""
    return float(coef.xreplace({s: Integer(sizes[s]) for s in coef.free_symbols}))
