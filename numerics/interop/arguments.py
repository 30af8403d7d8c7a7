"""The arguments of a function: a name for every array, by its path, and for its axes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax

from derive.language.errors import DeriveError
from derive.language.naming import numbered

from .trace import Leaf


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


def axes_of_arguments(axes: Any, names: Sequence[str], leaves: Sequence[Leaf]) -> list[list[str | None] | None]:
    if axes is None:
        return [None] * len(leaves)
    out: list[list[str | None] | None] = []
    unknown = set(axes) - set(names)
    if unknown:
        raise DeriveError(f"axes={axes}: {sorted(unknown)[0]!r} is no array; the arrays are {', '.join(names)}")
    for name, leaf in zip(names, leaves, strict=True):
        given = axes.get(name)
        if given is None:
            out.append(None)
            continue
        letters: list[str | None] = list(given.split() if isinstance(given, str) else given)
        if len(letters) != len(leaf.shape):
            raise DeriveError(
                f"axes={axes}: {name} has {len(leaf.shape)} axes, shape {leaf.shape}, and {given!r} names {len(letters)}"
            )
        out.append(letters)
    return out
