"""Structural matching: the same expression read at other indices."""

from __future__ import annotations

from collections.abc import Set
from typing import TypeAlias

from sympy import Add, Basic, Expr, Mul

from derive.language.index import Index
from derive.language.tensor import Read, Tensor

from .program import Equation, Term

Binding: TypeAlias = "dict[Basic, Expr]"  # what each index variable of a pattern stands for


def unify(pattern: Basic, e: Basic, variables: Set[Index], binding: Binding) -> Binding | None:
    """A binding of the pattern's index variables under which it equals ``e``; None if there is none found."""
    if isinstance(pattern, Index) and pattern in variables:
        if pattern in binding:
            return binding if binding[pattern] == e else None
        return {**binding, pattern: e} if isinstance(e, Expr) else None
    if isinstance(pattern, Tensor) or not pattern.args:
        return binding if pattern == e else None
    if type(pattern) is not type(e) or len(pattern.args) != len(e.args):
        return None
    if isinstance(pattern, Add | Mul):
        return _unify_unordered(list(pattern.args), list(e.args), variables, binding)
    for p, a in zip(pattern.args, e.args, strict=True):
        found = unify(p, a, variables, binding)
        if found is None:
            return None
        binding = found
    return binding


def _unify_unordered(
    patterns: list[Basic], args: list[Basic], variables: Set[Index], binding: Binding
) -> Binding | None:
    """Each pattern against an argument of its own, in any order: the first assignment that binds consistently."""
    if not patterns:
        return binding
    first, *rest = patterns
    for n, a in enumerate(args):
        found = unify(first, a, variables, binding)
        if found is not None:
            found = _unify_unordered(rest, args[:n] + args[n + 1 :], variables, found)
            if found is not None:
                return found
    return None


def match_sum(eq: Equation, term: Term) -> tuple[Expr, ...] | None:
    """The indices at which a one-term equation holds the same sum as ``term`` (coefficients apart), or None."""
    mine = eq.single()
    if mine is None:
        return None
    if len(mine.bnd) != len(term.bnd) or len(mine.fac) != len(term.fac) or len(mine.rows) != len(term.rows):
        return None
    if shape(mine) != shape(term):
        return None
    variables = set(eq.idx) | set(mine.bnd)
    binding = _unify_unordered(list(mine.fac), list(term.fac), variables, {})
    if binding is None or any(i not in binding for i in eq.idx):
        return None
    images = [binding.get(b) for b in mine.bnd]
    if len(set(images)) != len(images) or set(images) != set(term.bnd):
        return None
    if any(b.size != binding[b].size for b in mine.bnd):
        return None
    if any(binding[i].free_symbols & set(term.bnd) for i in eq.idx):
        return None
    env: dict[Index, str] = {}
    if sorted(r.xreplace(binding).key(env) for r in mine.rows) != sorted(r.key(env) for r in term.rows):
        return None
    return tuple(binding[i] for i in eq.idx)


def shape(term: Term) -> tuple[str, ...]:
    """A quick filter: the tensors and functions of a term, without indices."""
    return tuple(sorted(skeleton(f) for f in term.fac))


def skeleton(e: Basic) -> str:
    """An expression with every index blanked and sums and products sorted."""
    if isinstance(e, Read):
        return e.tensor.digest
    if isinstance(e, Index):
        return "_"
    if not e.args:
        return str(e)
    inner = [skeleton(a) for a in e.args]
    return f"{type(e).__name__}({','.join(sorted(inner) if isinstance(e, Add | Mul) else inner)})"
