"""The choices of notation, the same for every format."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypedDict

from derive.language.errors import DeriveError
from derive.show.formulas.names import ADJOINT_STYLES

NOTATIONS = ("both", "index", "matrix")


@dataclass(frozen=True)
class Options:
    r"""How a derivation is shown.

    Attributes
    ----------
    notation : {"both", "index", "matrix"}
        Results in index notation, in matrix notation where there is one, or both.
    adjoint : {"d", "bar", "partial"}
        The adjoint of W as dW with an upright d, :math:`\overline W` or :math:`\partial L/\partial W`.  Plain text always
        writes dW.
    example : bool
        Whether to add the worked example.
    short : bool
        Only what every layer computes and hands back, one line each.
    """

    notation: str = "both"
    adjoint: str = "d"
    example: bool = True
    short: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (
            ("notation", NOTATIONS),
            ("adjoint", ADJOINT_STYLES),
            ("example", (True, False)),
            ("short", (True, False)),
        ):
            if getattr(self, name) not in allowed:
                raise DeriveError(f"{name}={getattr(self, name)!r}: choose one of {', '.join(map(repr, allowed))}")


class Choices(TypedDict, total=False):
    """The same as keyword arguments: ``d.to_html(notation="index", example=False)``."""

    notation: str
    adjoint: str
    example: bool
    short: bool


def read_options(given: Choices) -> Options:
    """Options from keyword arguments; an unknown one is refused by name."""
    known = [f.name for f in fields(Options)]
    for name in given:
        if name not in known:
            raise DeriveError(f"{name}= is not an option of a document; the options are {', '.join(known)}")
    return Options(**given)
