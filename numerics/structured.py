"""``nx.compile(d, form="structured")``: Hessians as the compact arrays that their equations are made of.

``kern(...).hessian["U", "V"]`` is a :class:`Block`: parts, ``nbytes``, products with it, the full array on demand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from derive.derivation import Derivation
from derive.structured import Part, structured

from .emit import module
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
        zero where they differ.  ``part.factors`` are ``(key, letters)``: the part is the product of those arrays.
    arrays : dict
        By key.

    Examples
    --------
    >>> import numpy as np, sympy, derive as dv, numerics as nx
    >>> k = dv.index("k")
    >>> x = dv.tensor("x", k)
    >>> d = dv.hessian(dv.define("loss", (), dv.Sum(x[k]**3, k)), [x])
    >>> H = nx.compile(d, form="structured")(x=np.array([1.0, 2.0])).hessian["x", "x"]
    >>> print(H)
    H_x_x_1[k] on axes k k: 2 numbers for 4
    >>> np.asarray(H)
    array([[ 6.,  0.],
           [ 0., 12.]], dtype=float32)
    """

    shape: tuple[int, ...]
    parts: tuple[Part, ...]
    arrays: dict

    @property
    def nbytes(self) -> int:
        """Bytes of the compact arrays."""
        return sum(a.size * a.dtype.itemsize for a in self.arrays.values())

    @property
    def size(self) -> int:
        """How many numbers are kept."""
        return sum(int(a.size) for a in self.arrays.values())

    def dense(self) -> np.ndarray:
        """The full block."""
        dtype = next((np.asarray(a).dtype for a in self.arrays.values()), np.float32)
        full = np.zeros(self.shape, dtype)
        for part in self.parts:
            letters = list(dict.fromkeys(part.axes))
            number = {a: n for n, a in enumerate(letters)}
            sizes = dict(zip(part.axes, self.shape, strict=True))
            operands = [x for key, of in part.factors for x in (np.asarray(self.arrays[key]), [number[a] for a in of])]
            held = [a for a in letters if any(a in of for _, of in part.factors)]
            product = np.einsum(*operands, [number[a] for a in held])
            product = product.reshape([sizes[a] if a in held else 1 for a in letters])
            tied = np.einsum(full, [number[a] for a in part.axes], list(range(len(letters))))  # a view of the diagonals
            tied += product
        return full

    def __array__(self, dtype=None, copy=None):
        return self.dense().astype(dtype) if dtype is not None else self.dense()

    def product(self, v) -> np.ndarray:
        """The block times an array of the second tensor's shape, without the full block."""
        v = np.asarray(v)
        rank = len(self.shape) - v.ndim
        if v.shape != self.shape[rank:]:
            raise ValueError(f"the block is {self.shape}: its product takes an array of shape ending it, not {v.shape}")
        out = np.zeros(self.shape[:rank], np.result_type(v, *(np.asarray(a).dtype for a in self.arrays.values())))
        for part in self.parts:
            number = {a: n for n, a in enumerate(dict.fromkeys(part.axes))}
            rows = part.axes[:rank]
            operands = [x for key, of in part.factors for x in (np.asarray(self.arrays[key]), [number[a] for a in of])]
            operands += [v, [number[a] for a in part.axes[rank:]]]
            sizes = dict(zip(part.axes, self.shape, strict=True))
            for a in rows:  # a letter that nothing holds is constant along its axis
                if not any(number[a] in of for of in operands[1::2]):
                    operands += [np.ones(sizes[a], v.dtype), [number[a]]]
            own = list(dict.fromkeys(rows))
            view = np.einsum(out, [number[a] for a in rows], [number[a] for a in own])
            view += np.einsum(*operands, [number[a] for a in own], optimize=True)
        return out

    def __str__(self):
        lines = [" ".join(f"{key}[{','.join(of)}]" for key, of in part.factors) + f" on axes {' '.join(part.axes)}"
                 for part in self.parts]
        return f"{' + '.join(lines) or 'zero'}: {self.size} numbers for {int(np.prod(self.shape, dtype=int))}"


class StructuredKernel(Kernel):
    """A kernel whose Hessian blocks are :class:`Block` s; ``fn`` returns the compact arrays by key."""

    def __init__(self, d: Derivation, fixed, dense, name, patterns):
        self.emitted, self.layout = structured(d)
        made = module.emit(self.emitted, fixed, dense, name, patterns=patterns)
        super().__init__(self.emitted, made, fixed, dense, name, patterns)
        self.derivation = d

    @property
    def source(self) -> str:
        """The generated module; it returns the compact arrays."""
        line = (self.evidence or {}).get("summary")
        return module.emit(self.emitted, self._fixed, self._dense, self.name, line or None, self._patterns).source

    def __call__(self, **arrays):
        """Like any kernel; ``.hessian`` maps pairs of names to :class:`Block` s."""
        found = self._result(*self.fn(*self._ordered(arrays)))
        shapes = {t.name: np.shape(arrays[t.name]) for t in self.derivation.wrt if t.name in arrays}
        blocks = {}
        for (a, b), parts in self.layout.items():
            keys = [key for part in parts for key, _ in part.factors]
            blocks[a, b] = Block(shapes[a] + shapes[b], parts, {k: found.hessian[k] for k in keys})
        return found._replace(hessian=blocks)
