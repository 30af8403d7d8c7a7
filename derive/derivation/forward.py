"""Programs that only go forward: the values of definitions, nothing differentiated."""

from __future__ import annotations

from collections.abc import Mapping

from derive.language.errors import DeriveError
from derive.language.tensor import Tensor
from derive.passes.pipeline import run
from derive.passes.work import Backward

from .derivation import Derivation, derivation_of
from .given import OneOrMore, _defined, _tensors


def forward(
    outputs: Mapping[str, Tensor], name: str, carried: Mapping[str, Tensor] | None = None, loss: Tensor | None = None
) -> Derivation:
    """The program of some tensors, made numerically safe as for training.

    Parameters
    ----------
    outputs : dict of str to Tensor
        What the program returns as ``outputs``, by these names.
    name : str
        The display name.
    carried : dict of str to Tensor, optional
        What it returns besides, as ``carried``.
    loss : Tensor, optional
        What it returns first, as ``loss``.
    """
    first, *rest = dict.fromkeys([*([] if loss is None else [loss]), *outputs.values(), *(carried or {}).values()])
    work = Backward(first, (), tuple(rest))
    results: list[tuple[str, Tensor | dict[str, Tensor]]] = [] if loss is None else [("loss", loss)]
    results += [("outputs", dict(outputs)), *([("carried", dict(carried))] if carried else [])]
    return derivation_of(work, "forward", name, results, run(work))


def values_of(tensors: OneOrMore, caller: str, name: str | None = None) -> Derivation:
    """The program that computes definitions, each returned by its own name.

    Raises
    ------
    DeriveError
        For what is no definition, an input, or one that is named twice.
    """
    found = tuple(_defined(t, caller, "an output") for t in _tensors(tensors, "outputs"))
    names = [t.name for t in dict.fromkeys(found)]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise DeriveError(f"{caller}: two definitions are named {twice}; give one of them another name")
    return forward({t.name: t for t in found}, name or ", ".join(t.name for t in found))
