"""What a hand-written function returned, by the labels of the derivation's results, whatever form it came in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from derive.derivation.derivation import Derivation

from .opponent import label
from .rounding import CAPS
from .second import DERIVATIVES


class Expected:
    """The derivatives of a derivation: label -> tensor name, and which of them must be returned.

    Required are those the derivation is for, the last group of its results (a Hessian, a product, or the gradients);
    what stands before (the gradients of a Hessian) is compared where it is returned.
    """

    def __init__(self, d: Derivation):
        self.groups = [(g, declared) for g, declared in d.results[1:] if g in DERIVATIVES]
        self.fields = [g for g, _ in d.results]
        self.main, self.declared = self.groups[-1]
        self.tensors = {label(g, k): t.name for g, declared in self.groups for k, t in declared.items()}
        self.letters = {label(g, k): t.letters for g, declared in self.groups for k, t in declared.items()}
        self.required = [label(self.main, k) for k in self.declared]

    def named(self, returned: Any) -> dict[str, Any]:
        """The arrays by label; what has no label keeps the name it came with."""
        if hasattr(returned, "_fields"):
            returned = dict(zip(returned._fields, returned, strict=True))
        if isinstance(returned, (tuple, list)):
            returned = self._in_order(returned)
        elif not hasattr(returned, "keys"):
            if len(self.required) > 1:
                raise TypeError(f"returned {type(returned).__name__}; {self._wanted()}")
            return {self.required[0]: returned}
        found: dict[str, Any] = {}
        for key, value in dict(returned).items():
            declared = dict(self.groups).get(key)
            if declared is not None and hasattr(value, "keys"):
                found.update({self._label(key, k): v for k, v in _flat(value, declared).items()})
            elif key in self.fields and key not in self.tensors:
                continue  # the value itself, or outputs beside it
            else:
                found.update({self._label(self.main, k): v for k, v in _flat({key: value}, self.declared).items()})
        return found

    def _in_order(self, returned: Any) -> Mapping:
        if len(returned) == len(self.fields) and hasattr(returned[-1], "keys"):
            return dict(zip(self.fields, returned, strict=True))
        if len(returned) == 2 and hasattr(returned[1], "keys"):
            return returned[1]
        if len(returned) != len(self.required):
            raise TypeError(f"returned {type(returned).__name__} of {len(returned)}; {self._wanted()}")
        return dict(zip(self.declared, returned, strict=True))

    def _wanted(self) -> str:
        names = ", ".join(self.required)
        return f"expected a dict with the keys {names}, or a tuple in that order"

    def _label(self, group: str, key: Any) -> str:
        if key in dict(self.groups)[group]:
            return label(group, key)
        return key if isinstance(key, str) else ", ".join(map(str, key)) if isinstance(key, tuple) else str(key)


def _flat(value: Mapping, declared: Mapping) -> dict:
    """``{"W": {"c": H}}``, as ``jax.hessian`` returns it, by pairs."""
    if not any(isinstance(k, tuple) for k in declared):
        return dict(value)
    found = {}
    for a, row in value.items():
        found.update({(a, b): v for b, v in row.items()} if hasattr(row, "keys") else {a: row})
    return found


def coarsest(dtypes: Iterable[str]) -> str:
    """The least precise of some dtype names."""
    known = [t for t in dtypes if t in CAPS]
    order = ("bfloat16", "float16", "float32", "float64")
    return min(known, key=order.index, default="float64")


def to_numpy(array: Any) -> np.ndarray:
    """JAX, NumPy and torch arrays (on any device, with or without a graph) as NumPy; Python numbers as float64."""
    if hasattr(array, "detach"):
        array = array.detach().cpu()
        if str(array.dtype) == "torch.bfloat16":
            import ml_dtypes

            return array.float().numpy().astype(ml_dtypes.bfloat16)
        return array.numpy()
    found = np.asarray(array)
    if found.dtype == object:
        raise TypeError(f"it holds {type(array).__name__} objects, not numbers")
    return found


def copied(array: Any) -> Any:
    """An array that may be written to without harm, of the same kind; JAX arrays cannot be written to."""
    if isinstance(array, np.ndarray):
        return array.copy()
    if hasattr(array, "detach"):
        return array.detach().clone().requires_grad_(bool(getattr(array, "requires_grad", False)))
    return array
