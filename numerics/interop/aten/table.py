"""The table of aten operations: for each a JAX function of the same arguments, in the order of its schema.

A row is written as torch documents the operation, not as torch computes it, so that what is read of it is the mathematics.
Its local names become the names of definitions where the author of a module gave none.  What has no row is refused by name.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

from derive.language.errors import UnsupportedError

from ..source import Frame

Row: TypeAlias = Callable[..., Any]

ATEN: dict[str, Row] = {}

REASONS = {
    "sort": "an order has no formula in index notation; accepted: max, argmax",
    "topk": "an order has no formula in index notation; accepted: max, argmax",
    "kthvalue": "an order has no formula in index notation; accepted: max, argmax",
    "argsort": "an order has no formula in index notation; accepted: max, argmax",
    "median": "an order has no formula in index notation; accepted: max, argmax, mean",
    **dict.fromkeys(
        ("linalg_eigh", "linalg_eigvalsh", "linalg_eig", "linalg_svd", "linalg_qr", "svd"),
        "eigenvalues have no formula in index notation; accepted: inv, solve, slogdet",
    ),
    **dict.fromkeys(
        ("view_as_complex", "view_as_real", "complex", "polar", "fft_fft", "fft_ifft", "fft_rfft", "fft_irfft", "stft"),
        "complex numbers are not in the language; accepted: real and imaginary parts as tensors of their own",
    ),
    **dict.fromkeys(
        ("_unique2", "unique_dim", "unique_consecutive"),
        "the shape of its result depends on values; accepted: where(mask, a, b)",
    ),
    **dict.fromkeys(
        ("max_unpool2d", "max_unpool3d", "fractional_max_pool2d", "fractional_max_pool3d"),
        "places of maxima are read, or windows drawn; accepted: max_pool, adaptive pools, conv_transpose",
    ),
    **dict.fromkeys(
        ("_ctc_loss", "ctc_loss"), "a sum over alignments of lengths that are data; accepted: cross_entropy by position"
    ),
    **dict.fromkeys(
        ("matrix_exp", "linalg_matrix_exp"),
        "the exponential of a matrix is not in the language; accepted: a power series of fixed length",
    ),
    **dict.fromkeys(
        ("linalg_pinv", "linalg_lstsq"),
        "singular values are not in the language; accepted: inv, solve, slogdet, cholesky",
    ),
    **dict.fromkeys(
        ("i0", "special_i0", "special_zeta", "igamma", "igammac"),
        "this function is not in the closed set of the language; accepted: exp, log, erf, erfinv, ndtri, lgamma, polygamma",
    ),
    **dict.fromkeys(("scatter", "scatter_reduce"), "places set may be one place; accepted: scatter_add, index_add"),
    **dict.fromkeys(
        ("empty", "empty_like", "new_empty", "empty_strided"),
        "numbers that are drawn into it, or set in place; accepted: torch.zeros, and noise as an argument, drawn outside",
    ),
    **dict.fromkeys(
        ("wrap_with_autocast", "_enter_autocast", "_exit_autocast"),
        "autocast rounds values inside; accepted: one precision throughout, float32 or float64",
    ),
    "cond": "a branch is taken by a value; accepted: torch.where(condition, a, b)",
    **dict.fromkeys(
        (
            "_add_batch_dim",
            "_remove_batch_dim",
            "_vmap_increment_nesting",
            "_vmap_decrement_nesting",
            "lazy_load_decompositions",
        ),
        "torch.vmap is not read; accepted: the function of the whole batch",
    ),
    **dict.fromkeys(
        ("_grad_increment_nesting", "_grad_decrement_nesting", "_jvp_increment_nesting", "_wrap_for_grad"),
        "torch's own derivatives inside are not read; accepted: the function, and m.backprop(), m.hessian(), m.hvp()",
    ),
    "nonzero": "the shape of its result depends on values; accepted: where(mask, a, b)",
    "masked_select": "the shape of its result depends on values; accepted: where(mask, a, b)",
    "item": "a number read out of a tensor decides what is computed; accepted: tensors throughout",
}
_HIGHER = ("cond", "wrap_with_autocast", "lazy_load_decompositions")  # functions of torch that are no operations
NOISE = ("bernoulli", "rand", "randn", "rand_like", "randn_like", "normal", "multinomial", "randint")


class NotCovered(Exception):
    """Raised by a row: an option that has no meaning here, and what would be accepted."""


def aten(*names: str) -> Callable[[Row], Row]:
    """Enter a row under the names of the operations that it is, without ``aten.`` and, where they agree, the overload."""

    def enter(row: Row) -> Row:
        for name in names:
            if name in ATEN:
                raise ValueError(f"operation {name!r} has two rows")
            ATEN[name] = row
        return row

    return enter


def refuse(name: str, shapes: str, frames: tuple[Frame, ...], why: str = "") -> NoReturn:
    """The error for an operation without a meaning here: its name, where it stands, and what would be accepted."""
    stands = next((f for f in frames if not f.is_library), frames[0] if frames else None)
    where = f" at {stands.shown} (in {stands.function})" if stands else ""
    base = name.split(".")[0]
    if base in NOISE:
        why = why or "noise is an input: draw it outside and give the tensor as an argument"
    near = difflib.get_close_matches(base, {n.split(".")[0] for n in ATEN}, 3)
    also = f"; near it are {', '.join(near)}" if near else ""
    why = why or REASONS.get(
        base,
        f"it is not in the table, which has the elementwise functions, products, reductions, views, convolutions, pools, "
        f"normalisations, recurrent layers, attention and losses of torch.nn{also}",
    )
    said = name if base in _HIGHER or base.startswith("_") and base not in ATEN else f"aten.{name}"
    raise UnsupportedError(f"nx.from_torch: {said} of {shapes}{where}: {why}")
