"""The errors the library raises. All are ``ValueError`` s, so one ``except`` catches them.

Every message says the operation, the equation it stands in, the conflict, and what would be accepted.
"""


class DeriveError(ValueError):
    """Base of every error raised by :mod:`derive`; one about a text says where, ``line`` and ``column``."""

    line: int | None = None
    column: int | None = None


class ShapeError(DeriveError):
    """Sizes, axes or numbers of indices that do not fit together."""


class IndexCaptureError(DeriveError):
    """An index that is unbound, bound twice, or used twice as a free index."""


class UnsupportedError(DeriveError):
    """A construct outside the closed set; the message names it and what would be accepted."""


class DerivationError(DeriveError):
    """A derivation that cannot be made, or a step that the exact check refuted."""


class ParseError(DeriveError):
    """A text that is not in the language of :func:`derive.language.text.parse`; says line, column and what was expected."""
