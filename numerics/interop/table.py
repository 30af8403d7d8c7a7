"""The table of primitives: for each of JAX's that has a meaning in index notation, a row that says which.

A row is a function of the interpreter and the operation that returns the value of each result.  What has no row is
refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from derive.language.errors import UnsupportedError

from .flat import INLINED, Op
from .value import Value

Row: TypeAlias = Callable[[Any, Op, Sequence[Value]], Value | Sequence[Value]]  # the first is the Interpreter

PRIMITIVES: dict[str, Row] = {}
VIEWS = set[str]()  # those that change only how their operand is read

_ORDER = "an order has no formula in index notation; accepted: maxima, argmax"
_EIGEN = "eigenvalues are not in the language; accepted: inverse, solve, slogdet, cholesky"
_FACTOR = (
    "this factor of a matrix is not in the language; accepted: inverse, solve, slogdet, cholesky, triangular_solve"
)
_EFFECT = (
    "a side effect has no formula; accepted: the function without it, what is looked at returned beside the loss "
    "(has_aux=True)"
)
_STATE = "a reference that is written to has no formula; accepted: x.at[index].set, lax.scan with a carry"
_DEVICES = (
    "programs of several devices are not in the language; accepted: the function of one device, and jit around it"
)
_BITS = "bits of numbers are not in the language; accepted: arithmetic, comparisons, masks"
_COMPLEX = "complex numbers are not in the language; accepted: real and imaginary parts written out"
_SPECIAL = (
    "this function is not in the closed set of the language; accepted: exp, log, erf, erf_inv, lgamma, digamma, polygamma "
    "and the rest of docs/language.md, or jax.lax.stop_gradient of an argument that is computed outside"
)
_KEYS = (
    "random keys that are entangled with values are refused; accepted: keys as arguments or made of numbers, and draws "
    "that depend on keys alone"
)
_KERNEL = "a kernel of one kind of device has no formula; accepted: the same function in jax.numpy"
_CALL = "what is called is outside of JAX, or hidden from it; accepted: the same function in jax.numpy"
_ROUNDED = "values rounded to another precision inside are not in the language; accepted: one precision throughout"
_CHOICE = "this choice among the places of a window is not in the language; accepted: lax.reduce_window of max and add"
_SYMBOL = "a size that a program computes is not in the language; accepted: shapes of arrays"
_INNER = "it stands in derivatives that JAX has made; accepted: the function before it is differentiated"

REASONS = {
    "while": "the number of its steps depends on values; accepted: lax.scan, or lax.fori_loop between fixed bounds",
    "svd": "singular values are not in the language; accepted: inverse, solve, slogdet, cholesky",
    "reduce": "a reduction by a function of one's own is not in the language; accepted: sums, products, maxima, minima",
    "reduce_window": "a window reduced by a function of one's own is not in the language; accepted: max, min and add",
    "dim_as_value": _SYMBOL,
    "dimension_size": _SYMBOL,
    "nextafter": _BITS,
    "reduce_precision": _ROUNDED,
    **{
        name: why
        for why, names in {
            _ORDER: "sort top_k approx_top_k eq_to le_to lt_to",
            _EIGEN: "eig eigh schur hessenberg tridiagonal",
            _FACTOR: "qr geqrf geqp3 householder_product ormqr lu lu_pivots_to_permutation cholesky_update tridiagonal_solve",
            _EFFECT: "debug_callback debug_print io_callback check shape_assertion inspect_sharding",
            _CALL: "pure_callback ffi_call call_exported eval_jaxpr call core_map run_state custom_partitioning composite "
            "linear_call custom_vmap_call call_hi_primitive call_hi_primitive_linearized stage remat_opt unreachable",
            _STATE: "get swap addupdate accum_grad_in_ref new_ref empty_ref free_ref freeze box_get box_set new_box new_log "
            "log_extend log_read empty2 pin unpin tie create_linear",
            _DEVICES: "all_gather all_gather_done all_gather_invariant all_gather_reduced all_gather_reduced_start "
            "all_gather_start all_to_all all_to_all_done all_to_all_start axis_index pbroadcast pbroadcast_done "
            "pbroadcast_start pmax pmin ppermute ppermute_done ppermute_start precv psend preduced psum_done psum_invariant "
            "psum_invariant_start psum_start pvary ragged_all_to_all reduce_scatter reduce_scatter_done "
            "reduce_scatter_start reduced_vary_cast_p shard_map "
            "pbroadcast_dynamic reduced_vary_cast vary_unreduced_cast unreduced_pmax unreduced_pmin "
            "unreduced_psum unreduced_psum_start unreduced_reduce_scatter unreduced_reduce_scatter_start "
            "vary_unreduced_cast_p with_memory_space_constraint after_all create_token "
            "global_array_to_host_local_array host_local_array_to_global_array",
            _BITS: "bitcast_convert_type clz population_count shift_left shift_right_arithmetic shift_right_logical mulhi "
            "reduce_xor from_edtype to_edtype",
            _COMPLEX: "fft complex conj imag real",
            _SPECIAL: "bessel_i0e bessel_i1e igamma igamma_grad_a igammac regularized_incomplete_beta zeta",
            _KEYS: "random_bits random_clone random_fold_in random_gamma random_seed random_split random_unwrap random_wrap "
            "rng_bit_generator rng_uniform threefry2x32 threefry4x32 philox2x32 philox4x32 iota_2x32_shape",
            _KERNEL: "cudnn_fusion scaled_dot scaled_matmul scaled_matmul_wrapper dot_product_attention_fwd "
            "dot_product_attention_fwd_wrapper dot_product_attention_fp8_fwd dot_product_attention_fp8_fwd_wrapper "
            "dot_product_attention_bwd dot_product_attention_bwd_wrapper dot_product_attention_fp8_bwd "
            "dot_product_attention_fp8_bwd_wrapper ragged_dot_general symmetric_product pallas_call broadcast_to",
            _CHOICE: "select_and_gather_add select_and_scatter select_and_scatter_add",
            _INNER: "custom_jvp_call_jaxpr zeros_like dce_sink",
        }.items()
        for name in names.split()
    },
}


CALLED = {  # functions of JAX that are refused as a whole, whichever of their operations comes first
    "expm": "the exponential of a matrix is not in the language; accepted: a power series of fixed length, in a fori_loop"
}


def primitive(*names: str, view: bool = False) -> Callable[[Row], Row]:
    """Enter a row under the names of the primitives it is the meaning of."""

    def enter(row: Row) -> Row:
        for name in names:
            if name in PRIMITIVES:
                raise ValueError(f"primitive {name!r} has two rows")
            PRIMITIVES[name] = row
        if view:
            VIEWS.update(names)
        return row

    return enter


def known() -> frozenset[str]:
    return frozenset({*PRIMITIVES, *INLINED})


def refuse(op: Op, why: str = "") -> UnsupportedError:
    """The error for an operation that has no meaning here: its name, where it stands, and what would be accepted."""
    name = op.name
    stands = next((f for f in op.frames if not f.is_library), op.frames[0] if op.frames else None)
    where = f" at {stands.shown} (in {stands.function})" if stands else ""
    shapes = ", ".join(f"{v.dtype}{list(v.shape)}" for v in op.ins if v.dtype is not None)
    why = (
        CALLED.get(op.called)
        or why
        or REASONS.get(name, "it is not in the table of primitives; accepted are " + ", ".join(sorted(known())))
    )
    inside = f", in JAX's {op.called}," if op.called not in ("", name) else ""
    return UnsupportedError(f"nx.from_jax: {name} of {shapes}{inside}{where}: {why}")
