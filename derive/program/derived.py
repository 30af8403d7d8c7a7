"""The plain record of a derivation, as the passes leave it: what the checks and the documents read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from derive.language.errors import DeriveError
from derive.language.tensor import Origin, Tensor

from .program import Equation, Program, Step

Results: TypeAlias = "Sequence[tuple[str, Tensor | Mapping[Any, Tensor]]]"  # what a kernel returns, in order


@dataclass(frozen=True)
class FactUse:
    """A fact and the ids of the steps that used it."""

    text: str
    steps: tuple[int, ...]

    def __str__(self) -> str:
        used = ", ".join(map(str, self.steps))
        return f"{self.text}; used by step{'s' if len(self.steps) != 1 else ''} {used}" if self.steps else self.text


@dataclass(frozen=True)
class PassReport:
    """What one named pass of the pipeline did."""

    name: str
    did: str
    before: int
    after: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.name:<22} {self.before:>4} -> {self.after:<4} equations  {self.seconds * 1e3:7.1f} ms  {self.did}"
        )


@dataclass(frozen=True, eq=False)
class Derived:
    """Equations derived from forward definitions, with every step kept.

    Attributes
    ----------
    kind : str
        backprop, vjp, hvp, gauss_newton, jacobian, hessian, or forward, where nothing is differentiated.
    name : str
        The display name, used for the emitted module.
    source : Program
        The definitions as they were read, nested reductions named: where the steps start.  What the author wrote, which the
        evidence is about, are the definitions of its outputs.
    program : Program
        All equations, forward then backward, in order, numbered from 1.
    wrt : tuple of Tensor
    results : tuple of (field, Tensor or {key: Tensor})
        What the compiled kernel returns, in order: ``("loss", T), ("grads", {"W": T}), ("outputs", {...})``.
    steps : tuple of Step
    facts : tuple of FactUse
    kinks : tuple of str
        The conventions used at points where a derivative does not exist.
    passes : tuple of PassReport
    """

    kind: str
    name: str
    source: Program
    program: Program
    wrt: tuple[Tensor, ...]
    results: Results
    steps: tuple[Step, ...] = ()
    facts: tuple[FactUse, ...] = ()
    kinks: tuple[str, ...] = ()
    passes: tuple[PassReport, ...] = ()
    seed: Tensor | None = None  # the cotangent input of a vjp
    network: tuple[Any, ...] | None = None  # (model, its losses) for a network of layers: numerics has references
    evidence: dict[int | str, Any] = field(default_factory=dict, repr=False)  # filled by check(): step id -> verdict
    directions: Mapping[str, Tensor] = field(default_factory=dict)  # of a product: what each tensor moves along
    between: Tensor | None = None  # of a Gauss-Newton product: the tensor whose Jacobian it is made of
    adjoints: tuple[tuple[str, Tensor], ...] = ()
    adjoint_equations: Mapping[str, Equation] = field(default_factory=dict, repr=False)

    def result(self, group: str) -> Any:
        """One entry of ``results`` by its field name: a tensor, or a dict of them by the name of what they belong to."""
        for found, value in self.results:
            if found == group:
                return value
        raise DeriveError(f"this {self.kind} has no {group!r}; it has {', '.join(n for n, _ in self.results)}")

    @property
    def loss(self) -> Tensor:
        """The differentiated tensor (of ``self.program``); of a program that only goes forward, its first result."""
        found = self.results[0][1]
        return found if isinstance(found, Tensor) else next(iter(found.values()))

    @property
    def gradients(self) -> Mapping[str, Tensor]:
        """The gradient of each tensor that was asked for, by its name."""
        if self.kind == "forward":
            raise DeriveError(
                f"{self.name} only goes forward: it has no gradients; dv.backprop(loss, wrt=...) derives them"
            )
        grads: Mapping[str, Tensor] = self.result("grads")
        return grads


def earlier(source: Program) -> tuple[Origin, ...]:
    """The derived programs that a program starts from, each once: of a Hessian, that of the gradients."""
    found = {id(e.tensor.origin): e.tensor.origin for e in source.equations if e.tensor.origin is not None}
    return tuple(found.values())
