"""Compiling, verifying and training derived programs with JAX; derive's definitions stay symbolic."""

from .checkpoint import load
from .crosscheck import CrossReport, crosscheck
from .errors import InputError, NumericsError, SizeError
from .init import init
from .kernel import Kernel, compile
from .newton import NewtonError, NewtonResult, newton
from .report import Report
from .sequences import Vocabulary, lengths, pad, streams
from .train import Trainer
from .verify import verify
