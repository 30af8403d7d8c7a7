"""Compiling, verifying and training derived programs with JAX; derive's definitions stay symbolic."""

from .errors import InputError, NumericsError, SizeError
from .kernel import Kernel, compile
