"""The arguments of a function: a name for every array, by its path, and for its axes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.export
from sympy import primerange

from derive.language.errors import DeriveError
from derive.language.naming import numbered

from .trace import Leaf

_PRIMES = list(primerange(7, 1000))


def names_of(f: Callable[..., Any], args: Sequence[Any]) -> list[str]:
    """A name for every array of the arguments: by its path, the parameter's own name only where it is needed."""
    try:
        named = list(inspect.signature(f).bind(*args).arguments.items())
    except (TypeError, ValueError):
        named = [(f"x{n}", a) for n, a in enumerate(args)]
    tops: list[tuple[str, Any]] = []
    for name, a in named:
        if (
            isinstance(a, tuple)
            and len(named) != len(args)
            and name == named[-1][0]
            and len(a) == len(args) - len(named) + 1
        ):
            tops += [(f"{name}_{n}", x) for n, x in enumerate(a)]
        else:
            tops.append((name, a))
    if len(tops) != len(args):
        tops = [(f"x{n}", a) for n, a in enumerate(args)]
    paths = []
    for name, a in tops:
        for path, _ in jax.tree_util.tree_flatten_with_path(a)[0]:
            paths.append((name, [_part(k) for k in path]))
    short = ["_".join(p) if p and not p[0].isdigit() else "_".join([top, *p]) for top, p in paths]
    tails = ["_".join([top, *p]) for top, p in paths]
    tops_of = {top for top, p in paths if not p}
    clean = [
        s if short.count(s) == 1 and s not in tops_of or not p else t
        for s, t, (_, p) in zip(short, tails, paths, strict=True)
    ]
    out: list[str] = []
    for c in map(_identifier, clean):
        out.append(numbered(c, out, "_"))
    return out


def names_by_place(f: Callable[..., Any], count: int) -> list[str]:
    """The names of a function's first arguments, numbers where it does not say."""
    try:
        named = [
            p
            for p in inspect.signature(f).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        named = []
    return [named[n].name if n < len(named) else f"x{n}" for n in range(count)]


def _part(k: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(k, attribute):
            return str(getattr(k, attribute))
    return str(k)


def _identifier(name: str) -> str:
    text = "".join(c if c.isalnum() else "_" for c in name)
    parts = [p for p in text.split("_") if p]
    while len(parts) > 1 and parts[0] == "params" and not parts[1].isdigit():
        parts = parts[1:]
    text = "_".join(parts) or "x"
    return text if text.isidentifier() else f"p_{text}"


def with_numbers(args: Sequence[Any]) -> tuple[tuple[Any, ...], list[list[str | None]]]:
    """Arguments with a number for each size that is a symbol of ``jax.export.symbolic_shape``, and names for those axes.

    A symbol ``b`` is the size ``B``; the numbers are primes that are no other length, so that nothing is taken for equal.
    """
    leaves, tree = jax.tree_util.tree_flatten(tuple(args))
    dims = [n for x in leaves for n in getattr(x, "shape", ())]
    symbols = [n for n in dims if jax.export.is_symbolic_dim(n)]
    free = (p for p in _PRIMES if p not in dims)
    numbers = {v: next(free) for v in sorted({v for n in symbols for v in n._get_vars()})}
    names = [[str(n).upper() if str(n) in numbers else None for n in getattr(x, "shape", ())] for x in leaves]
    for k, x in enumerate(leaves):
        if any(jax.export.is_symbolic_dim(n) for n in getattr(x, "shape", ())):
            shape = [int(n._evaluate(numbers)) if jax.export.is_symbolic_dim(n) else n for n in x.shape]
            leaves[k] = jax.ShapeDtypeStruct(tuple(shape), x.dtype)
    return tuple(jax.tree_util.tree_unflatten(tree, leaves)), names


def axes_of_arguments(
    axes: Any, names: Sequence[str], leaves: Sequence[Leaf], symbols: Sequence[list[str | None]]
) -> list[list[str | None] | None]:
    """For each array the names of its axes: those of ``axes=``, else those of its symbolic sizes, else None."""
    out: list[list[str | None] | None] = []
    axes = axes or {}
    if not isinstance(axes, dict):
        raise DeriveError(f"axes={axes!r} is no dict; accepted: the axes of arrays by name, as {{{names[0]!r}: 'B D'}}")
    unknown = set(axes) - set(names)
    if unknown:
        raise DeriveError(f"axes={axes}: {sorted(unknown)[0]!r} is no array; the arrays are {', '.join(names)}")
    for name, leaf, own in zip(names, leaves, symbols, strict=True):
        given = axes.get(name)
        if given is None:
            out.append(own if any(own) else None)
            continue
        letters: list[str | None] = list(given.split() if isinstance(given, str) else given)
        if len(letters) != len(leaf.shape):
            raise DeriveError(
                f"axes={axes}: {name} has {len(leaf.shape)} axes, shape {leaf.shape}, and {given!r} names {len(letters)}"
            )
        out.append(letters)
    return out
