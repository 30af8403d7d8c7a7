"""What a derivation asks a generated function for: its name, what it takes, what it returns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from derive.derivation.derivation import Derivation
from derive.language.tensor import Read, Tensor
from numerics.errors import SizeError

FUNCTION_NAMES = {
    "backprop": "loss_and_grads",
    "vjp": "vjp",
    "hvp": "loss_grads_and_hvp",
    "gauss_newton": "loss_grads_and_gauss_newton",
    "jacobian": "value_and_jacobian",
    "hessian": "loss_grads_and_hessian",
    "forward": "outputs",
}


def only_outputs(d: Derivation) -> bool:
    """Whether a program returns nothing but outputs by name: then it returns the dict of them itself."""
    return [group for group, _ in d.results] == ["outputs"]


def inputs_of(d: Derivation) -> tuple[Tensor, ...]:
    """The tensors differentiated for, in order, then the other inputs by first use."""
    wanted = {t.name for t in d.program.inputs}
    order = [t for t in d.wrt if t.is_input]  # a computed tensor may be asked for too; it is not given
    for e in d.program.equations:
        reads = [
            r
            for part in (*(f for t in e.terms for f in (*t.fac, *t.rows)), *e.guards)
            for r in sorted(_reads(part), key=lambda r: (r.tensor.name, str(r)))
        ]
        order += [r.tensor for r in reads if r.tensor.is_input]
    order += [t for _, t in results(d) if t.is_input]
    found = list(dict.fromkeys(order))
    missing = [t.name for t in found if t.name not in wanted and t not in d.wrt]
    if missing:
        raise SizeError(f"the program reads {missing[0]!r}, which is not among its inputs")
    return tuple(found)


def _reads(part: Any) -> set[Read]:
    found = part.reads() if hasattr(part, "reads") else part.atoms(Read)
    return {s for r in found for s in r.atoms(Read)}


def results(d: Derivation) -> Iterator[tuple[tuple[Any, ...], Tensor]]:
    """``(path, tensor)`` of every result."""
    for name, value in d.results:
        if isinstance(value, Tensor):
            yield (name,), value
        else:
            for key, t in value.items():
                yield (name, key), t
