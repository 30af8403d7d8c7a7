"""Which emission of a pattern: a short rule on sizes and backend, its reason, and what the user forced.

Measured on two cores with AVX2 (float32, batch 64): for few input channels a convolution is fastest as one matrix
product of patches; a kernel's gradient as one matrix product for each row of taps; a convolution over groups is run
serially by XLA there, so each group is a convolution of its own.  On a GPU the library's convolutions win.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from sympy import Expr, Mul

from derive.language.index import Index
from numerics.errors import NumericsError

from .scope import Scope

ACCEPTED = {
    "convolution": ("conv", "rows", "patches", "windows"),
    "kernel-gradient": ("blocks", "rows", "taps", "patches", "conv", "windows"),
    "input-gradient": ("conv", "windows"),
    "depthwise": ("shifts", "windows"),
    "groups": ("split", "windows"),
    "pool": ("index", "windows"),
    "tiles": ("product", "windows"),
    "affine": ("opened", "plain"),
    "row-sums": ("products", "plain"),
    "total": ("products", "plain"),
    "gram": ("strips", "plain"),
    "class-pairs": ("pairs", "plain"),
    "diagonal": ("scatter", "mask"),
    "running-sum": ("cumsum", "mask"),
    "running-product": ("cumprod", "scan"),
    "products": ("stacked", "plain"),
    "argmax": ("first", "plain"),
    "matrix-vector": ("product", "plain"),
    "recurrence": ("rolled", "unrolled"),
}
Rule = Callable[
    [Scope, Expr, Expr], tuple[str, str]
]  # (name, reason), of the sizes summed over and of the rows of taps
MANY = 128  # numbers in a row from which its sum is worth a matrix-vector product
FEW = 4  # input channels up to which patches are small enough to be written out
SMALL = 32_000  # numbers in the rows of taps of one example, up to which a batch of them stays in the cache


def checked(patterns: Mapping[str, str] | None) -> dict[str, str]:
    """What the user forces, ``{"kernel-gradient": "taps"}``, or an error that lists what there is."""
    patterns = dict(patterns or {})
    for name, value in patterns.items():
        if value not in ACCEPTED.get(name, ()):
            shown = "; ".join(f"{k}: {', '.join(v)}" for k, v in ACCEPTED.items())
            raise NumericsError(f"nx.compile: patterns={{{name!r}: {value!r}}} is not known; accepted are {shown}")
    return patterns


class Axis(Protocol):
    """One axis of a window: position ``u``, tap ``r``, image place ``m``."""

    @property
    def u(self) -> Index: ...
    @property
    def r(self) -> Index: ...
    @property
    def m(self) -> Index: ...


def choose(scope: Scope, pattern: str, ins: Iterable[Index] = (), along: Sequence[Axis] = ()) -> str:
    """The emission of one equation; the choice and its reason go to the header.

    ``ins`` are the indices summed over beside the windows, ``along`` the windows, one for each axis.
    """
    for table, has in ((_RULES, "rule"), (ACCEPTED, "row of accepted names")):
        if pattern not in table:
            raise NumericsError(f"pattern {pattern!r} has no {has} in numerics.emit.source.choose; it needs both")
    forced = scope.patterns.get(pattern)
    size = scope.known(Mul(*(i.size for i in ins)))
    rows = scope.known(Mul(size, *(a.m.size for a in along[:1]), *(a.u.size * a.r.size for a in along[1:])))
    name, reason = (forced, "asked for") if forced else _RULES[pattern](scope, size, rows)
    if reason:
        scope.choice(f"{pattern} as {name}", reason)
    return name


OWN = "XLA's own convolution, which the outermost jit keeps by kern.compiler_options"


def _convolution(scope: Scope, ins: Expr, rows: Expr) -> tuple[str, str]:
    if scope.backend == "cpu" and ins.is_Integer and ins <= FEW:
        return "patches", f"{ins} input channel{'s' if ins > 1 else ''}: the window's patches are one matrix product"
    if scope.own_convolutions:
        return "conv", OWN
    if scope.backend == "cpu" and rows.is_Integer and rows <= SMALL:
        return (
            "rows",
            f"{rows} numbers for the rows of taps of one example: a matrix product for each, as in the gradient",
        )
    return "conv", "the backend's convolution"


def _kernel_gradient(scope: Scope, ins: Expr, rows: Expr) -> tuple[str, str]:
    if scope.backend != "cpu":
        return "conv", f"the backend's convolution is best on {scope.backend}"
    if ins.is_Integer and ins <= FEW:
        return "patches", "the same patches as forward, in one matrix product"
    if scope.own_convolutions:
        return "conv", OWN
    if rows.is_Integer and rows <= SMALL:
        return "rows", "one matrix product for each row of taps; a convolution over the batch is slow on a CPU"
    return "conv", "XLA's convolution over the batch, as fast as any where its own cannot be asked for"


def _on_cpu(name: str, otherwise: str, reason: str) -> Rule:
    return lambda scope, ins, rows: (
        (name, reason) if scope.backend == "cpu" else (otherwise, f"one plain operation is best on {scope.backend}")
    )


def _total(scope: Scope, size: Expr, rows: Expr) -> tuple[str, str]:
    if scope.backend != "cpu":
        return "plain", f"one plain operation is best on {scope.backend}"
    if "convolution" in scope.helpers and "depthwise" not in scope.helpers:
        return "plain", "what a convolution leaves is read once and its product with another is not written out"
    return "products", "a sum over all axes by a vector-matrix product: XLA's own is serial, what leads to it included"


def _row_sums(scope: Scope, size: Expr, rows: Expr) -> tuple[str, str]:
    if scope.backend == "cpu" and size.is_Integer and size >= MANY:
        return "products", "sums along rows as matrix-vector products: XLA's own are slower and keep their summands"
    return "plain", ""


_RULES: dict[str, Rule] = {
    "row-sums": _row_sums,
    "tiles": _on_cpu("product", "windows", "windows side by side meet each element once: one matrix product"),
    "convolution": _convolution,
    "kernel-gradient": _kernel_gradient,
    "input-gradient": lambda scope, ins, rows: (
        "conv",
        "the transposed convolution; patches would be added up one by one",
    ),
    "depthwise": lambda scope, ins, rows: ("shifts", "no sum over channels: shifted multiply-adds"),
    "groups": lambda scope, ins, rows: ("split", "one dense convolution for each group"),
    "pool": lambda scope, ins, rows: ("index", "which tap was first is kept as int8; no window is written out"),
    "total": _total,
    "gram": _on_cpu("strips", "plain", "symmetric: strips of columns meet what stands to their right"),
    "class-pairs": _on_cpu("pairs", "plain", "symmetric in the classes: each pair is computed once"),
    "running-sum": lambda scope, ins, rows: ("cumsum", "each sum is the one before and an addend more"),
    "running-product": lambda scope, ins, rows: ("cumprod", "a recurrence that multiplies, as one operation"),
    "matrix-vector": lambda scope, ins, rows: ("plain", ""),
    "recurrence": lambda scope, ins, rows: ("rolled", ""),
    "diagonal": _on_cpu("scatter", "mask", "numbers added along a diagonal, where a mask would run over the matrix"),
    "argmax": _on_cpu("first", "plain", "the first place of the maximum that is there already: XLA's argmax is serial"),
    "products": _on_cpu("stacked", "plain", "products added into one shape are one product of stacked rows"),
}
