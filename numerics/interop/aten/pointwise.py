"""The rows of elementwise operations."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from .table import NotCovered, Row, aten

Array = Any


_SAME: dict[str, Row] = {
    "neg": jnp.negative,
    "exp": jnp.exp,
    "exp2": jnp.exp2,
    "expm1": jnp.expm1,
    "log": jnp.log,
    "log1p": jnp.log1p,
    "log2": jnp.log2,
    "log10": jnp.log10,
    "sqrt": jnp.sqrt,
    "rsqrt": lax.rsqrt,
    "square": jnp.square,
    "reciprocal": jnp.reciprocal,
    "abs": jnp.abs,
    "sign": jnp.sign,
    "floor": jnp.floor,
    "trunc": jnp.trunc,
    "fix": jnp.trunc,
    "ceil": jnp.ceil,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "tan": jnp.tan,
    "asin": jnp.arcsin,
    "acos": jnp.arccos,
    "atan": jnp.arctan,
    "sinh": jnp.sinh,
    "cosh": jnp.cosh,
    "tanh": jnp.tanh,
    "asinh": jnp.arcsinh,
    "acosh": jnp.arccosh,
    "atanh": jnp.arctanh,
    "erf": lax.erf,
    "erfc": lax.erfc,
    "special_erf": lax.erf,
    "special_expit": jax.nn.sigmoid,
    "erfinv": lax.erf_inv,
    "special_erfinv": lax.erf_inv,
    "special_ndtri": jax.scipy.special.ndtri,
    "special_log_ndtr": jax.scipy.special.log_ndtr,
    "atan2": jnp.arctan2,
    "round": jnp.round,
    "sinc": jnp.sinc,
    "special_sinc": jnp.sinc,
    "lgamma": lax.lgamma,
    "special_gammaln": lax.lgamma,
    "special_digamma": lax.digamma,
    "digamma": lax.digamma,
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "silu": jax.nn.silu,
    "log_sigmoid": jax.nn.log_sigmoid,
    "mul": jnp.multiply,
    "multiply": jnp.multiply,
    "pow": jnp.power,
    "maximum": jnp.maximum,
    "minimum": jnp.minimum,
    "fmod": lax.rem,
    "remainder": jnp.remainder,
    "where": jnp.where,
    "eq": jnp.equal,
    "ne": jnp.not_equal,
    "lt": jnp.less,
    "le": jnp.less_equal,
    "gt": jnp.greater,
    "ge": jnp.greater_equal,
    "logical_and": jnp.logical_and,
    "logical_or": jnp.logical_or,
    "logical_not": jnp.logical_not,
    "logical_xor": jnp.logical_xor,
    "bitwise_and": jnp.bitwise_and,
    "bitwise_or": jnp.bitwise_or,
    "bitwise_not": jnp.bitwise_not,
    "__and__": jnp.bitwise_and,
    "__or__": jnp.bitwise_or,
    "logaddexp": jnp.logaddexp,
    "detach": lax.stop_gradient,
}
for _name, _row in _SAME.items():
    aten(_name)(_row)


@aten("pow.Tensor_Scalar")
def pow_scalar(x: Array, exponent: float) -> Array:
    return x ** (int(exponent) if exponent == int(exponent) else exponent)


@aten("add")
def add(x: Array, other: Array, *, alpha: float = 1) -> Array:
    return x + (other if alpha == 1 else alpha * other)


@aten("sub", "subtract")
def sub(x: Array, other: Array, *, alpha: float = 1) -> Array:
    return x - (other if alpha == 1 else alpha * other)


@aten("rsub")
def rsub(x: Array, other: Array, alpha: float = 1) -> Array:
    return other - (x if alpha == 1 else alpha * x)


@aten("div", "divide", "true_divide")
def div(x: Array, other: Array, *, rounding_mode: str | None = None) -> Array:
    if rounding_mode is None:
        return x / other
    return x // other if rounding_mode == "floor" else jnp.trunc(x / other)


@aten("floor_divide")
def floor_divide(x: Array, other: Array) -> Array:
    return x // other


@aten("addcmul")
def addcmul(x: Array, a: Array, b: Array, *, value: float = 1) -> Array:
    return x + value * a * b


@aten("addcdiv")
def addcdiv(x: Array, a: Array, b: Array, *, value: float = 1) -> Array:
    return x + value * a / b


@aten("lerp")
def lerp(start: Array, end: Array, weight: Array) -> Array:
    return start + weight * (end - start)


@aten("clamp", "clip", "hardtanh")
def clamp(x: Array, min: Array | None = None, max: Array | None = None) -> Array:
    if min is not None:
        x = jnp.maximum(x, min)
    return x if max is None else jnp.minimum(x, max)


aten("clamp_min")(jnp.maximum)
aten("clamp_max")(jnp.minimum)


@aten("frac")
def frac(x: Array) -> Array:
    return x - jnp.trunc(x)


@aten("polygamma", "special_polygamma")
def polygamma(n: int, x: Array) -> Array:
    return jax.scipy.special.polygamma(n, x)


@aten("special_ndtr")
def ndtr(x: Array) -> Array:
    return (1 + lax.erf(x / math.sqrt(2))) / 2


@aten("masked_fill")
def masked_fill(x: Array, mask: Array, value: Array) -> Array:
    return jnp.where(mask, value, x)


@aten("hypot")
def hypot(x: Array, other: Array) -> Array:
    return jnp.sqrt(x**2 + other**2)


@aten("xlogy", "special_xlogy")
def xlogy(x: Array, other: Array) -> Array:
    return jax.scipy.special.xlogy(x, other)


@aten("logit", "special_logit")
def logit(x: Array, eps: float | None = None) -> Array:
    x = x if eps is None else clamp(x, eps, 1 - eps)
    return jnp.log(x / (1 - x))


@aten("heaviside")
def heaviside(x: Array, values: Array) -> Array:
    return jnp.where(x > 0, 1.0, jnp.where(x < 0, 0.0, values))


@aten("nan_to_num")
def nan_to_num(x: Array, nan: float | None = None, posinf: float | None = None, neginf: float | None = None) -> Array:
    """Inputs that are not finite are refused."""
    return x


# -- activations -------------------------------------------------------------------------------------------------------


@aten("gelu")
def gelu(x: Array, *, approximate: str = "none") -> Array:
    if approximate == "tanh":
        return jax.nn.gelu(x, approximate=True)
    return x * (1 + lax.erf(x / math.sqrt(2))) / 2


@aten("leaky_relu")
def leaky_relu(x: Array, negative_slope: float = 0.01) -> Array:
    return jnp.where(x >= 0, x, negative_slope * x)


@aten("rrelu")
def rrelu(x: Array, lower: float = 0.125, upper: float = 1 / 3, training: bool = False, generator: Any = None) -> Array:
    if training:
        raise NotCovered("rrelu in training mode draws its slopes; accepted: module.eval()")
    return leaky_relu(x, (lower + upper) / 2)


@aten("elu")
def elu(x: Array, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Array:
    found = jnp.where(x > 0, x, alpha * (jnp.exp(input_scale * x) - 1))
    return found if scale == 1 else scale * found


@aten("selu")
def selu(x: Array) -> Array:
    return elu(x, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946)


@aten("celu")
def celu(x: Array, alpha: float = 1.0) -> Array:
    return jnp.where(x > 0, x, alpha * (jnp.exp(x / alpha) - 1))


@aten("softplus")
def softplus(x: Array, beta: float = 1, threshold: float = 20) -> Array:
    """torch returns x itself above the threshold, which at the default is the same to the last digits of a float32."""
    found = jnp.logaddexp(x, 0.0) if beta == 1 else jnp.logaddexp(beta * x, 0.0) / beta
    return found if threshold >= 20 else jnp.where(beta * x > threshold, x, found)


@aten("mish")
def mish(x: Array) -> Array:
    return x * jnp.tanh(jnp.logaddexp(x, 0.0))


@aten("hardsigmoid")
def hardsigmoid(x: Array) -> Array:
    return jnp.minimum(jnp.maximum(x + 3, 0.0), 6.0) / 6


@aten("hardswish")
def hardswish(x: Array) -> Array:
    return x * hardsigmoid(x)


@aten("hardshrink")
def hardshrink(x: Array, lambd: float = 0.5) -> Array:
    return jnp.where(jnp.abs(x) > lambd, x, 0.0)


@aten("softshrink")
def softshrink(x: Array, lambd: float = 0.5) -> Array:
    return jnp.where(x > lambd, x - lambd, jnp.where(x < -lambd, x + lambd, 0.0))


@aten("threshold")
def threshold(x: Array, threshold: float, value: float) -> Array:
    return jnp.where(x > threshold, x, value)


@aten("prelu")
def prelu(x: Array, weight: Array) -> Array:
    slope = weight if weight.size == 1 or x.ndim < 2 else weight.reshape(-1, *[1] * (x.ndim - 2))
    return jnp.where(x > 0, x, slope * x)


@aten("glu")
def glu(x: Array, dim: int = -1) -> Array:
    value, gate = jnp.split(x, 2, axis=dim)
    return value * jax.nn.sigmoid(gate)


@aten("softmax", "_softmax")
def softmax(x: Array, dim: int, dtype: Any = None) -> Array:
    return jax.nn.softmax(x, axis=dim)


@aten("log_softmax", "_log_softmax")
def log_softmax(x: Array, dim: int, dtype: Any = None) -> Array:
    return jax.nn.log_softmax(x, axis=dim)


@aten("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "native_dropout")
def dropout(x: Array, p: float, train: bool) -> Array:
    if train and p > 0:
        raise NotCovered(
            f"dropout with p={p:g} in training mode draws noise; accepted: module.eval(), p=0, or the noise as an argument, "
            f"as in x * mask / (1 - p) with a tensor of zeros and ones"
        )
    return x
