"""What people pass to the derivations: tensors, checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeAlias

from derive.language.errors import DeriveError
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
