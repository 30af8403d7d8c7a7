"""A plain function of torch tensors, called on JAX arrays: what ``forward=`` is beside a ``torch.autograd.Function``.

Its arguments are stand-ins that answer torch's functions and methods, by name, with those of JAX.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from derive.language.errors import UnsupportedError
from numerics.checks.answers import to_numpy


def in_jax(f: Callable[..., Any]) -> Callable[..., Any]:
    """The function of JAX arrays that a function of torch tensors is."""

    def called(*args: Any) -> Any:
        given = jax.tree_util.tree_map(lambda a: Standin(a) if hasattr(a, "shape") else a, args)
        return jax.tree_util.tree_map(_array, f(*given), is_leaf=lambda a: isinstance(a, Standin))

    called.__wrapped__ = f  # type: ignore[attr-defined]  # what inspect.signature follows
    called.__name__ = getattr(f, "__name__", "function")
    return called


class Standin:
    """A JAX array that torch's functions take."""

    def __init__(self, array: Any):
        self.array = array
        self.shape, self.ndim = tuple(array.shape), array.ndim

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _call(func.__name__, args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        if name in ("T", "mT"):
            return Standin(self.array.T if name == "T" else jnp.swapaxes(self.array, -1, -2))
        if name.startswith("__") or name not in _TABLE:
            raise AttributeError(f"{name!r} of a tensor has no meaning here; accepted are {', '.join(sorted(_TABLE))}")
        return lambda *args, **kwargs: _call(name, (self, *args), kwargs)

    def __getitem__(self, at: Any) -> Any:
        return Standin(self.array[jax.tree_util.tree_map(_array, at)])

    def __len__(self) -> int:
        return int(self.shape[0])


def _call(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    function = _TABLE.get(name) or _TABLE.get(name.rstrip("_"))
    if function is None:
        raise UnsupportedError(
            f"nx.check_vjp: forward= calls torch's {name}; accepted are {', '.join(sorted(_TABLE))}, or a forward in plain JAX"
        )
    out = function(*_arrays(args), **{k: _arrays(v) for k, v in kwargs.items() if k != "inplace"})
    return jax.tree_util.tree_map(lambda a: Standin(a) if hasattr(a, "dtype") else a, out)


def _arrays(x: Any) -> Any:
    return type(x)(map(_arrays, x)) if isinstance(x, tuple | list) else _array(x)


def _array(x: Any) -> Any:
    return x.array if isinstance(x, Standin) else jnp.asarray(to_numpy(x)) if hasattr(x, "detach") else x


def _reduced(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, dim=None, keepdim=False, dtype=None: f(x, axis=dim, keepdims=keepdim)


def _spread(f: Callable[..., Any]) -> Callable[..., Any]:
    """Variances with torch's own correction."""

    def run(
        x: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, correction: int | None = None
    ) -> Any:
        return f(x, axis=dim, ddof=int(unbiased) if correction is None else correction, keepdims=keepdim)

    return run


def _shape(shape: Sequence[Any]) -> Any:
    return shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape


def _expanded(x: Any, *shape: Any) -> Any:
    wanted = _shape(shape)
    own = (1,) * (len(wanted) - x.ndim) + x.shape
    return jnp.broadcast_to(x, [n if m == -1 else m for n, m in zip(own, wanted, strict=True)])


def _split(x: Any, size: Any, dim: int = 0) -> Any:
    ends = (
        range(size, x.shape[dim], size) if isinstance(size, int) else [sum(size[: n + 1]) for n in range(len(size) - 1)]
    )
    return tuple(jnp.split(x, list(ends), axis=dim))


def _matrices(x: Any, *others: Any, **_: Any) -> Any:
    return x @ others[0]


_SAME = (
    *("exp", "log", "log1p", "expm1", "sqrt", "square", "tanh", "sin", "cos", "abs", "sign"),
    *("where", "maximum", "minimum", "outer"),
)
_TABLE: dict[str, Callable[..., Any]] = {
    **{n: getattr(jnp, n) for n in _SAME},
    **{n: getattr(jax.nn, n) for n in ("relu", "sigmoid", "silu", "softplus")},
    **{n: _reduced(getattr(jnp, n)) for n in ("sum", "mean", "prod")},
    **{n: _reduced(getattr(jnp, n[1:])) for n in ("amax", "amin")},
    **{n: _spread(getattr(jnp, n)) for n in ("var", "std")},
    **dict.fromkeys(("matmul", "mm", "bmm", "__matmul__"), _matrices),
    **{n: lambda x, y: x + y for n in ("add", "__add__", "__radd__", "__iadd__")},
    **{n: lambda x, y: x * y for n in ("mul", "multiply", "__mul__", "__rmul__", "__imul__")},
    **{n: lambda x, y: x - y for n in ("sub", "subtract", "__sub__", "__isub__")},
    **{n: lambda x, y: x / y for n in ("div", "divide", "true_divide", "__truediv__", "__itruediv__")},
    **{n: lambda x, y: x**y for n in ("pow", "__pow__")},
    "__rsub__": lambda x, y: y - x,
    "__rtruediv__": lambda x, y: y / x,
    "__rpow__": lambda x, y: y**x,
    "__rmatmul__": lambda x, y: y @ x,
    "__neg__": lambda x: -x,
    "neg": lambda x: -x,
    "__gt__": lambda x, y: x > y,
    "__lt__": lambda x, y: x < y,
    "__ge__": lambda x, y: x >= y,
    "__le__": lambda x, y: x <= y,
    "rsqrt": jax.lax.rsqrt,
    "reciprocal": lambda x: 1 / x,
    "erf": jax.lax.erf,
    "gelu": lambda x, approximate="none": jax.nn.gelu(x, approximate=approximate == "tanh"),
    "clamp": lambda x, min=None, max=None: jnp.clip(x, min, max),
    "softmax": lambda x, dim, dtype=None, _stacklevel=3: jax.nn.softmax(x, axis=dim),
    "log_softmax": lambda x, dim, dtype=None, _stacklevel=3: jax.nn.log_softmax(x, axis=dim),
    "logsumexp": lambda x, dim, keepdim=False: jax.nn.logsumexp(x, axis=dim, keepdims=keepdim),
    "masked_fill": lambda x, mask, value: jnp.where(mask, value, x),
    "tril": lambda x, diagonal=0: jnp.tril(x, diagonal),
    "triu": lambda x, diagonal=0: jnp.triu(x, diagonal),
    "einsum": lambda text, *xs: jnp.einsum(text, *(xs[0] if isinstance(xs[0], tuple | list) else xs)),
    "linear": lambda x, weight, bias=None: x @ weight.T if bias is None else x @ weight.T + bias,
    "diagonal": lambda x, offset=0, dim1=0, dim2=1: jnp.diagonal(x, offset, dim1, dim2),
    "reshape": lambda x, *shape: x.reshape(_shape(shape)),
    "view": lambda x, *shape: x.reshape(_shape(shape)),
    "permute": lambda x, *dims: jnp.transpose(x, _shape(dims)),
    "transpose": lambda x, a, b: jnp.swapaxes(x, a, b),
    "t": lambda x: x.T,
    "unsqueeze": lambda x, dim: jnp.expand_dims(x, dim),
    "squeeze": lambda x, dim=None: jnp.squeeze(x, dim),
    "flatten": lambda x, start_dim=0: x.reshape(*x.shape[:start_dim], -1),
    "expand": _expanded,
    "expand_as": lambda x, y: jnp.broadcast_to(x, y.shape),
    "cat": lambda xs, dim=0: jnp.concatenate(xs, axis=dim),
    "stack": lambda xs, dim=0: jnp.stack(xs, axis=dim),
    "split": _split,
    "chunk": lambda x, chunks, dim=0: _split(x, -(-x.shape[dim] // chunks), dim),
    "flip": lambda x, *dims: jnp.flip(x, _shape(dims)),
    "size": lambda x, dim=None: x.shape if dim is None else x.shape[dim],
    "dim": lambda x: x.ndim,
    "contiguous": lambda x: x,
    "clone": lambda x: x,
    "float": lambda x: x.astype(jnp.float32),
    "detach": jax.lax.stop_gradient,
}


def _operator(name: str) -> Callable[..., Any]:
    return lambda self, *others: _call(name, (self, *others), {})


for _name in [n for n in _TABLE if n.startswith("__")]:
    setattr(Standin, _name, _operator(_name))
