"""Errors of the numeric side; all are ``ValueError`` s, like those of :mod:`derive.errors`."""


class NumericsError(ValueError):
    """Base of every error raised by :mod:`numerics`."""


class InputError(NumericsError):
    """Arrays that do not fit a kernel: missing, unknown, of the wrong shape, dtype or value."""


class SizeError(NumericsError):
    """A size that nothing fixes, or that two things fix differently."""
