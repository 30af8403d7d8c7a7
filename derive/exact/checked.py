"""What the claims of steps and of second-order results ask of the check of a whole derivation, which makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

from derive.language.tensor import Tensor
from derive.program.derived import Derived
from derive.program.program import Equation

from .abstract import Element
from .case import Case, Cases, Directions
from .compile import Array
from .decide import Difference

ArrayClaim: TypeAlias = Callable[[Mapping[str, Array]], Difference | None]  # about the arrays of a final program


class Checked(Protocol):
    """A derivation under check; :class:`derive.exact.check.Checker` is the one there is."""

    d: Derived
    seed: int
    linear: frozenset[str]
    cases: Cases

    def truth(
        self, case: Case, y: Tensor, directions: Directions | None = None, second: Directions | None = None
    ) -> Sequence[Element]: ...
    def extended(self, case: Case, equations: Iterable[Equation]) -> dict[str, Array]: ...
    def either(self, case: Case, claim: ArrayClaim) -> Difference | None: ...
    def along(
        self,
        case: Case,
        arrays: Mapping[str, Array],
        gradients: Mapping[str, Tensor],
        wrt: Mapping[str, Tensor],
        tangent: Element,
    ) -> Difference | None: ...
