"""Who reads whom: what a tensor is computed from, and what depends on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from derive.language.tensor import Read, Tensor

from .program import Equation


def reaches(equations: Sequence[Equation], wrt: Iterable[Tensor]) -> set[str]:
    """Names of the tensors that depend on any of ``wrt`` through float reads (the wrt tensors included)."""
    readers: dict[str, list[Equation]] = {}
    for eq in equations:
        for name in _float_reads(eq):
            readers.setdefault(name, []).append(eq)
    found = {t.name for t in wrt}
    todo = list(found)
    while todo:
        for eq in readers.get(todo.pop(), ()):
            if eq.name not in found and eq.tensor.dtype == "float" and eq.reduce != "argmax":
                found.add(eq.name)
                todo.append(eq.name)
    return found


def ancestors(equations: Iterable[Equation], roots: Iterable[Tensor]) -> set[str]:
    """Names of everything the roots are computed from (the roots included)."""
    by_name = {eq.name: eq for eq in equations}
    found = {t.name for t in roots}
    todo = list(found)
    while todo:
        eq = by_name.get(todo.pop())
        for t in eq.tensors() if eq is not None else ():
            if t.name not in found:
                found.add(t.name)
                todo.append(t.name)
    return found


def float_ancestors(equations: Iterable[Equation], target: Tensor) -> set[str]:
    """Names of the tensors that the target depends on through float reads (the target included)."""
    by_name = {eq.name: eq for eq in equations if eq.reduce != "argmax"}
    found, todo = {target.name}, [target.name]
    while todo:
        eq = by_name.get(todo.pop())
        new = _float_reads(eq) - found if eq is not None else set()
        found |= new
        todo += sorted(new)
    return found


def _float_reads(eq: Equation) -> set[str]:
    return {r.tensor.name for t in eq.terms for f in t.fac for r in f.atoms(Read) if r.tensor.dtype == "float"}
