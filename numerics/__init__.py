"""Compiling, verifying and training derived programs with JAX; derive's definitions stay symbolic."""

from .checkpoint import load
from .crosscheck import CrossReport, crosscheck
from .errors import InputError, NotFiniteError, NumericsError, SizeError
from .init import init
from .kernel import Kernel, compile
from .loaders import Loaded, Standardizer, load_csv, load_npz
from .loaders_images import Augment, load_images
from .newton import NewtonError, NewtonResult, newton
from .perceptron import Perceptron
from .rbf import rbf_centres
from .report import Report
from .sequences import Vocabulary, lengths, pad, streams, windows
from .training import Callback, EarlyStopping, Log, Player, Trainer, TrainingWarning, play, read_log, transfer
from .verify import verify
