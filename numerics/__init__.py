"""Compiling, verifying and training derived programs with JAX; derive's definitions stay symbolic."""

from .checkpoint import load
from .crosscheck import CrossReport, crosscheck
from .errors import InputError, NumericsError, SizeError
from .init import init
from .kernel import Kernel, compile
from .newton import NewtonError, NewtonResult, newton
from .perceptron import Perceptron
from .rbf import rbf_centres
from .report import Report
from .sequences import Vocabulary, lengths, pad, streams, windows
from .training import Callback, EarlyStopping, Trainer
from .verify import verify
