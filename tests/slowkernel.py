"""A kernel without emission, for testing the checkers: the derived program run by the reference evaluator.

``mutate(label_name, array) -> array`` plants a mistake in one result.
"""

import numpy as np

from numerics.checks.opponent import label
from numerics.checks.rounding import is_float
from numerics.reference.programs import evaluate
from numerics.reference.sampling import bind_sizes


class SlowKernel:
    def __init__(self, derivation, mutate=None, sizes=None):
        self.derivation, self.mutate, self.sizes = derivation, mutate or (lambda name, a: a), sizes or {}
        self.inputs, self.evidence = derivation.program.inputs, None

    def __call__(self, **arrays):
        arrays = {n: np.asarray(a) for n, a in arrays.items()}
        dtype = next(a.dtype for a in arrays.values() if is_float(a))
        wide = {n: a.astype(float) if is_float(a) else a for n, a in arrays.items()}
        values = evaluate(self.derivation.program, wide, bind_sizes(self.derivation.program, arrays, self.sizes), np)
        found = []
        for group, declared in self.derivation.results:
            if hasattr(declared, "items"):
                found.append({k: self._rounded(label(group, k), values[t.name], dtype) for k, t in declared.items()})
            else:
                found.append(self._rounded(group, values[declared.name], dtype))
        return tuple(found)

    def _rounded(self, name, array, dtype):
        array = np.asarray(self.mutate(name, np.asarray(array)))
        return array.astype(dtype) if is_float(array) else array
