"""Compiling, verifying and training derived programs with JAX; derive's definitions stay symbolic."""

from .training.loading import load
from .checks.crosscheck import CrossReport, assert_gradients, crosscheck
from .errors import InputError, NotFiniteError, NumericsError, SizeError
from .training.init import init
from .kernel import Kernel, compile
from .data.files import Loaded, Standardizer, load_csv, load_npz
from .data.images import Augment, load_images
from .newton import NewtonError, NewtonResult, newton
from .training.perceptron import Perceptron
from .data.centres import rbf_centres
from .checks.report import Report
from .data.sequences import Vocabulary, lengths, pad, streams, windows
from .training import Callback, EarlyStopping, Log, Player, Trainer, TrainingWarning, play, read_log, transfer
from .checks.verify import verify
