"""Canonical keys: two expressions get one key exactly when they differ in nothing but bound names.

SymPy orders the arguments of ``Add`` and ``Mul`` by name, so a key sorts them by their own keys instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from sympy import Add, Basic, Mul, Number, Symbol

from .index import Index, Size


def key(e: Basic, env: Mapping[Any, str] | None = None) -> str:
    """The canonical key of an expression; ``env`` maps indices, and tensors, to the labels that stand for them."""
    env = env or {}
    return _key(e, env, 0)


def _key(e: Basic, env: Mapping[Any, str], depth: int) -> str:
    if isinstance(e, Index):
        return env.get(e) or f"i:{e.name}:{e.uid}:{_key(e.size, env, depth)}"
    if isinstance(e, Size):
        return f"s:{e.name}"
    if isinstance(e, Symbol):
        return f"y:{e.name}"
    if isinstance(e, Number):
        return str(e)
    if (digest := getattr(e, "digest", None)) is not None:  # a tensor, which imports this module
        return env.get(e) or f"t:{e.name}:{digest}"
    binders = getattr(e, "binders", None)
    if binders is not None:
        outer, env = env, dict(env)
        sizes = []
        for b in binders:
            env[b] = f"%{depth}"
            sizes.append(_key(b.size, env, depth))
            depth += 1
        at = "".join(f"[{_key(a, outer, depth)}]" for a in e.args[2:])  # where an inverse is read
        return f"{type(e).__name__}<{','.join(sizes)}>({_key(e.body, env, depth)}){at}"
    parts = [_key(a, env, depth) for a in e.args]
    if isinstance(e, (Add, Mul)):
        parts.sort()
    return f"{type(e).__name__}({','.join(parts)})"


def hash_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
