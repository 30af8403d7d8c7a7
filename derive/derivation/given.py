"""What people pass to the derivations: tensors, checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeAlias

from derive.language.errors import DeriveError, UnsupportedError
from derive.language.facts import structure_of
from derive.language.tensor import Read, Tensor

Tensors: TypeAlias = "tuple[Tensor, ...]"
OneOrMore: TypeAlias = "Tensor | Iterable[Tensor]"


def _defined(t: Any, what: str, argument: str) -> Tensor:
    if isinstance(t, Read):
        t = t.tensor
    if not isinstance(t, Tensor):
        raise DeriveError(f"{what}: {argument} is {type(t).__name__}; give a tensor made by dv.define")
    t = t.member
    if t.is_input:
        raise DeriveError(f"{what}: {t.name} is an input, not a definition; there is nothing to derive")
    return t


def _tensors(given: Any, argument: str) -> Tensors:
    if isinstance(given, Tensor):
        given = (given,)
    if isinstance(given, str) or not hasattr(given, "__iter__"):
        raise DeriveError(f"{argument} takes a tensor or a list of tensors, not {given!r}")
    given = tuple(given)
    for t in given:
        if not isinstance(t, Tensor):
            raise DeriveError(f"{argument} takes tensors; {t!r} is {type(t).__name__}")
    given = tuple(t.member for t in given)
    if argument == "wrt" and not given:
        raise DeriveError("wrt is empty: name at least one tensor to differentiate with respect to")
    twice = [t.name for t, n in Counter(given).items() if n > 1]
    if twice:
        raise DeriveError(f"{argument} names {twice[0]} twice")
    return given


def refuse_structured(wrt: Tensors, what: str) -> None:
    """Second derivatives by free entries are not derived, and expansions in them not written."""
    for t in wrt:
        kind = structure_of(t) if t.is_input else None
        if kind is not None:
            raise UnsupportedError(
                f"{what}: {t.name} is declared {kind.replace('_', ' ')}, and derivatives by it are by its free entries; only "
                f"first ones are derived by these. Accepted is {t.name} without that declaration, or a vector of the "
                f"free entries and the matrix as a definition of it, as diag(v) is"
            )
