"""The backward passes that people write: how each kind is called on arrays and cotangents.

Every kind is a :class:`Rule`: arrays in, in the order of the arguments' leaves, the function's results and gradients out.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from numerics.checks.answers import to_numpy
from numerics.checks.custom_rules import has_rules, pulled_back, widened
from numerics.errors import InputError

from .numbers import written
from .vjp_names import called

Arrays = Sequence[Any]
Structure = Any  # of jax.tree_util


@dataclass
class Arguments:
    """The arguments of a call: their arrays apart from what is no array, which stays as it is.

    Python floats count as arrays, as JAX counts them; integers, booleans and strings are options.
    """

    leaves: list[Any]
    tree: Structure
    places: list[int]  # of the arrays among the leaves
    owners: list[int]  # the argument that each array is part of

    @classmethod
    def of(cls, args: Sequence[Any], options: Sequence[int] = ()) -> Arguments:
        leaves, tree = jax.tree_util.tree_flatten(tuple(args))
        owner = [n for n, a in enumerate(args) for _ in jax.tree_util.tree_leaves(a)]
        places = [n for n, x in enumerate(leaves) if _is_array(x) and owner[n] not in options]
        return cls(leaves, tree, places, [owner[n] for n in places])

    @property
    def arrays(self) -> list[Any]:
        return [self.leaves[n] for n in self.places]

    def with_arrays(self, arrays: Arrays) -> tuple[Any, ...]:
        """The arguments with other arrays."""
        leaves = list(self.leaves)
        for n, a in zip(self.places, arrays, strict=True):
            leaves[n] = a
        return jax.tree_util.tree_unflatten(self.tree, leaves)

    def alone(self) -> tuple[Any, ...]:
        """The arguments with nothing but arrays in them, for their names."""
        kept = set(self.places)
        leaves = [x if n in kept else None for n, x in enumerate(self.leaves)]
        return jax.tree_util.tree_unflatten(self.tree, leaves)


def _is_array(x: Any) -> bool:
    return hasattr(x, "shape") and hasattr(x, "dtype") or isinstance(x, float)


class Rule(Protocol):
    """A backward pass: ``results`` are None where it computes none of the function itself."""

    what: str  # "bwd", "backward": what it is called in a report
    code: Callable[..., Any] | None  # whose lines a report points at
    wide: bool  # whether its casts to narrower floats are left out where it is called in float64

    def __call__(self, arrays: Arrays, cotangents: Arrays) -> tuple[list[Any] | None, list[Any]]: ...

    def by(self, code: Callable[..., Any], arrays: Arrays, cotangents: Arrays) -> list[Any]:
        """The gradients with ``code`` in the place of the backward."""
        ...


def spread(returned: Any, args: Arguments, only: Sequence[int], what: str) -> list[Any]:
    """The gradients that were returned, one or None for each array; ``only`` are the arguments that it returns them of."""
    if not isinstance(returned, tuple | list):
        if len(only) != 1:
            raise TypeError(
                f"{what} returns {type(returned).__name__}; expected a tuple of {len(only)}, one for each argument"
            )
        returned = (returned,)
    if len(returned) != len(only):
        raise TypeError(
            f"{what} returns {len(returned)} gradients; expected {len(only)}, one for each argument (None for integers)"
        )
    given = dict(zip(only, returned, strict=True))
    whole = args.with_arrays([np.zeros(())] * len(args.places))
    found: list[Any] = []
    for n, a in enumerate(whole):
        count = len(jax.tree_util.tree_leaves(a))
        grad = given.get(n)
        if grad is None:
            found += [None] * count
            continue
        try:
            tree: Structure = jax.tree_util.tree_structure(a)
            found += tree.flatten_up_to(grad)
        except ValueError as error:
            raise TypeError(f"{what}: the gradient of argument {n} has another structure than it: {error}") from None
    return [found[n] for n in args.places]


class CustomVjp:
    """A ``jax.custom_vjp``: its fwd and bwd as they are, residuals and all."""

    what = "bwd"

    def __init__(self, f: Any, args: Arguments):
        if getattr(f, "fwd", None) is None:
            raise InputError(f"nx.check_vjp: {called(f)} has no rules yet; call {called(f)}.defvjp(fwd, bwd) first")
        self.f, self.args = f, args
        self.code: Callable[..., Any] | None = f.bwd
        self.nondiff = tuple(f.nondiff_argnums)
        self._fast, self._wide = jax.jit(self._run), jax.jit(widened(self._run, written))
        self.wide = False

    def __call__(self, arrays: Arrays, cotangents: Arrays) -> tuple[list[Any] | None, list[Any]]:
        fast = self._wide if self.wide and _float64(arrays) else self._fast
        try:
            outs, grads = fast(list(map(jnp.asarray, arrays)), list(map(jnp.asarray, cotangents)))
        except jax.errors.JAXTypeError:  # it looks at values: as plain calls do, without jit
            outs, grads = self._run(list(map(jnp.asarray, arrays)), list(map(jnp.asarray, cotangents)))
        return outs, grads

    def by(self, code: Callable[..., Any], arrays: Arrays, cotangents: Arrays) -> list[Any]:
        return self._run(list(map(jnp.asarray, arrays)), list(map(jnp.asarray, cotangents)), code)[1]

    def _run(
        self, arrays: Arrays, cotangents: Arrays, code: Callable[..., Any] | None = None
    ) -> tuple[list[Any], list[Any]]:
        args = self.args.with_arrays(arrays)
        out, residuals = self.f.fwd(*self._primals(args))
        outs, tree = jax.tree_util.tree_flatten(out)
        cots = iter(cotangents)
        back = [next(cots) if is_float(o) else np.zeros(np.shape(o), jax.dtypes.float0) for o in outs]
        returned = (code or self.f.bwd)(
            *(args[n] for n in self.nondiff), residuals, jax.tree_util.tree_unflatten(tree, back)
        )
        only = [n for n in range(len(args)) if n not in self.nondiff]
        grads = spread(returned, self.args, only, self.what)
        return [o for o in outs if is_float(o)], [None if _is_symbolic_zero(g) else g for g in map(_no_float0, grads)]

    def _primals(self, args: Sequence[Any]) -> Sequence[Any]:
        if not self.f.symbolic_zeros:
            return args
        from jax.custom_derivatives import CustomVJPPrimal

        return [
            a if n in self.nondiff else jax.tree_util.tree_map(lambda x: CustomVJPPrimal(x, True), a)
            for n, a in enumerate(args)
        ]


class Inside:
    """A function that calls others with rules of their own: their rules at work under ``jax.vjp``."""

    what = "backward"
    code: Callable[..., Any] | None = None

    def __init__(self, f: Callable[..., Any], args: Arguments, places: Sequence[int]):
        def run(arrays: Arrays, cotangents: Arrays) -> tuple[list[Any], list[Any]]:
            return pulled_back(lambda *a: f(*args.with_arrays(a)), arrays, places, cotangents)

        self._fast, self._wide = jax.jit(run), jax.jit(widened(run, written))
        self.places, self.wide = places, False

    def __call__(self, arrays: Arrays, cotangents: Arrays) -> tuple[list[Any] | None, list[Any]]:
        fast = self._wide if self.wide and _float64(arrays) else self._fast
        outs, some = fast(list(map(jnp.asarray, arrays)), list(map(jnp.asarray, cotangents)))
        found = dict(zip(self.places, some, strict=True))
        return outs, [found.get(n) for n in range(len(arrays))]

    def by(self, code: Callable[..., Any], arrays: Arrays, cotangents: Arrays) -> list[Any]:
        raise TypeError("there is no one backward to put another in the place of")


class Backward:
    """``backward(residuals, dy)`` of NumPy or JAX arrays.

    Residuals are what ``forward`` returns beside its results, if it returns ``(results, residuals)`` with a tuple, list
    or dict of residuals, else the tuple of its arguments.
    """

    what = "backward"

    def __init__(self, f: Callable[..., Any], forward: Callable[..., Any], args: Arguments, keeps: bool):
        self.f, self.forward, self.args, self.keeps, self.wide = f, forward, args, keeps, False
        self.code: Callable[..., Any] | None = f
        self.convert: Callable[[Any], Any] = np.asarray

    def __call__(self, arrays: Arrays, cotangents: Arrays) -> tuple[list[Any] | None, list[Any]]:
        return None, self.by(self.f, arrays, cotangents)

    def by(self, code: Callable[..., Any], arrays: Arrays, cotangents: Arrays) -> list[Any]:
        args = self.args.with_arrays(arrays)
        if self.keeps:
            out, residuals = self.forward(*self.args.with_arrays(list(map(jnp.asarray, arrays))))
            residuals = jax.tree_util.tree_map(lambda a: self.convert(a) if _is_array(a) else a, residuals)
            tree = jax.tree_util.tree_structure(out)
        else:
            residuals = jax.tree_util.tree_map(lambda a: self.convert(a) if _is_array(a) else a, args)
            tree = None
        cots: Any = [self.convert(c) for c in cotangents]
        dy = (
            cots[0] if len(cots) == 1 else jax.tree_util.tree_unflatten(tree, cots) if tree is not None else tuple(cots)
        )
        return self._spread(code(residuals, dy))

    def _spread(self, returned: Any) -> list[Any]:
        whole = self.args.with_arrays(self.args.arrays)
        name, count = called(self.f), len(whole)
        if hasattr(returned, "keys") and (count > 1 or not hasattr(whole[0], "keys")):
            names = list(_parameters(self.forward, count))
            unknown = [k for k in returned if k not in names]
            if unknown:
                raise TypeError(f"{name} returns a gradient of {unknown[0]!r}; forward takes {', '.join(names)}")
            return spread([returned.get(n) for n in names], self.args, range(count), name)
        owners = dict.fromkeys(self.args.owners)
        some = [list(range(count)), list(owners)]
        of = dict(zip(self.args.owners, self.args.arrays, strict=True))
        some.append([n for n in owners if not isinstance(of[n], float)])
        some.append([n for n in owners if is_float(of[n])])
        some.append([n for n in owners if is_float(of[n]) and not isinstance(of[n], float)])
        length = len(returned) if isinstance(returned, tuple | list) else 1
        only = next((s for s in some if len(s) == length), some[0])
        return spread(returned, self.args, only, name)


class TorchFunction:
    """A ``torch.autograd.Function``, applied and differentiated by torch as it is."""

    what = "backward"

    def __init__(self, f: Any, args: Arguments):
        self.f, self.args, self.wide = f, args, False
        self.code: Callable[..., Any] | None = f.backward

    def __call__(self, arrays: Arrays, cotangents: Arrays) -> tuple[list[Any] | None, list[Any]]:
        return self._applied(self.f, arrays, cotangents)

    def by(self, code: Callable[..., Any], arrays: Arrays, cotangents: Arrays) -> list[Any]:
        return self._applied(type(self.f.__name__, (self.f,), {"backward": staticmethod(code)}), arrays, cotangents)[1]

    def _applied(self, f: Any, arrays: Arrays, cotangents: Arrays) -> tuple[list[Any], list[Any]]:
        import torch

        tensors = [torch.as_tensor(np.array(a)) for a in arrays]
        floats = [t.requires_grad_() for t in tensors if t.is_floating_point()]
        out = f.apply(*self.args.with_arrays(tensors))
        outs = [o for o in (out if isinstance(out, tuple | list) else (out,)) if isinstance(o, torch.Tensor)]
        outs = [o for o in outs if o.is_floating_point()]
        cots = [torch.as_tensor(np.array(c)).to(o.dtype) for c, o in zip(cotangents, outs, strict=True)]
        some = iter(torch.autograd.grad(outs, floats, cots, allow_unused=True))
        grads = [next(some) if t.is_floating_point() else None for t in tensors]
        return [to_numpy(o) for o in outs], [None if g is None else to_numpy(g) for g in grads]


def rule_of(f: Any, args: Arguments, forward: Callable[..., Any] | None, keeps: bool) -> Rule:
    """The kind of a backward pass that somebody wrote."""
    custom = custom_vjp_in(f)
    if custom is not None:
        return CustomVjp(custom, args)
    if is_torch_function(f):
        return TorchFunction(f, args)
    count = len(args.with_arrays(args.arrays))
    if _binds(f, count) and has_rules(lambda *a: f(*args.with_arrays(a)), args.arrays):
        return Inside(f, args, [n for n, a in enumerate(args.arrays) if is_float(a)])
    if forward is None:
        raise InputError(f"nx.check_vjp: {called(f)} has no backward pass of its own; {accepted()}")
    if not _binds(f, 2):
        raise InputError(
            f"nx.check_vjp: {called(f)}{_signature(f)} with forward= is called as backward(residuals, dy), with the "
            f"arguments of forward, or what it returns beside its results, as residuals; it takes other arguments"
        )
    return Backward(f, forward, args, keeps)


def accepted() -> str:
    return (
        "accepted: a jax.custom_vjp function, a function that calls one, and with forward= in plain JAX a "
        "torch.autograd.Function or a function backward(residuals, dy)"
    )


def custom_vjp_in(f: Any) -> Any:
    """The ``jax.custom_vjp`` that a function is, under ``jit`` or not; None for others."""
    while f is not None:
        if isinstance(f, jax.custom_vjp):
            return f
        f = getattr(f, "__wrapped__", None) if not inspect.ismethod(f) else None
    return None


def is_torch_function(f: Any) -> bool:
    return isinstance(f, type) and any(
        c.__module__ == "torch.autograd.function" and c.__name__ == "Function" for c in f.__mro__
    )


def is_float(x: Any) -> bool:
    if isinstance(x, float):
        return True
    dtype = str(getattr(x, "dtype", ""))
    return dtype.startswith(("float", "torch.float", "bfloat", "torch.bfloat"))


def _float64(arrays: Arrays) -> bool:
    return any(getattr(a, "dtype", None) == np.float64 for a in arrays)


def _no_float0(g: Any) -> Any:
    return None if getattr(g, "dtype", None) == jax.dtypes.float0 else g


def _is_symbolic_zero(g: Any) -> bool:
    return type(g).__name__ in ("SymbolicZero", "Zero")


def _binds(f: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(f).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # a builtin, which has none
        return True
    return True


def _signature(f: Callable[..., Any]) -> str:
    try:
        return str(inspect.signature(f))
    except ValueError:
        return "(...)"


def _parameters(f: Callable[..., Any], count: int) -> list[str]:
    return list(inspect.signature(f).parameters)[:count]
