"""Errors of the numeric side; all are ``ValueError`` s, like those of :mod:`derive.language.errors`."""

from __future__ import annotations

from typing import Any


class NumericsError(ValueError):
    """Base of every error raised by :mod:`numerics`."""


class InputError(NumericsError):
    """Arrays that do not fit a kernel: missing, unknown, of the wrong shape, dtype or value."""


class NotFiniteError(NumericsError):
    """A loss or gradient became NaN or infinite while training; ``diagnosis`` says in which equation, and why."""

    def __init__(self, message: str, diagnosis: Any = None) -> None:  # a Diagnosis, of a room above
        super().__init__(message)
        self.diagnosis = diagnosis


class SizeError(NumericsError):
    """A size that nothing fixes, or that two things fix differently."""
