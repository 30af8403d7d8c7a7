"""The exact check: programs evaluated mod 2**61 - 1, in 50-digit reals and in rationals, and verdicts from that.

``check_derivation`` and ``compare_gradient`` are what :meth:`Derivation.check` and :meth:`Derivation.compare` call;
``evaluate`` runs any program on small arrays, exactly.
"""

from .check import check_derivation
from .compare import Comparison, compare_gradient
from .compile import Array
from .machine import evaluate
from .verdict import Evidence, Finding

__all__ = ["Array", "Comparison", "Evidence", "Finding", "check_derivation", "compare_gradient", "evaluate"]
