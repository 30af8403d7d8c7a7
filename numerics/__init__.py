"""Compiling, verifying and training derived programs with JAX; derive's definitions stay symbolic."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

# Importing this package loads neither JAX nor NumPy, so that writing source (nx.source) costs neither, also where they
# are not installed: a name is loaded from its module when it is first used.  Python asks __getattr__ below for it (PEP
# 562); type checkers do not run that, and read the imports that follow.
if TYPE_CHECKING:
    from . import minimize, pictures, plots
    from .checks.crosscheck import CrossReport, crosscheck
    from .checks.report import Report
    from .checks.verify import verify
    from .data import digits, load_idx, load_mnist, split
    from .emit.targets import source
    from .errors import InputError, NotFiniteError, NumericsError, SizeError
    from .kernel.compile import compile
    from .kernel.kernel import Kernel
    from .loaders import Loaded, Standardizer, load_csv, load_npz
    from .loaders_images import Augment, load_images
    from .minimize import NewtonError, NewtonResult, newton
    from .perceptron import Perceptron
    from .rbf import rbf_centres
    from .sequences import Vocabulary, lengths, pad, streams, windows
    from .training import Callback, EarlyStopping, Log, Player, Trainer, TrainingWarning, play, read_log, transfer
    from .training.init import init
    from .training.loading import load

NAMES = {
    # programs
    "emit.targets": ("source",),
    "kernel.compile": ("compile",),
    "kernel.kernel": ("Kernel",),
    # evidence
    "checks.verify": ("verify",),
    "checks.crosscheck": ("CrossReport", "crosscheck"),
    "checks.report": ("Report",),
    # training
    "training": (
        "Callback",
        "EarlyStopping",
        "Log",
        "Player",
        "Trainer",
        "TrainingWarning",
        "play",
        "read_log",
        "transfer",
    ),
    "training.init": ("init",),
    "training.loading": ("load",),
    # without gradients, and with second ones
    "perceptron": ("Perceptron",),
    "rbf": ("rbf_centres",),
    "minimize": ("NewtonError", "NewtonResult", "newton"),
    # data
    "data": ("digits", "load_idx", "load_mnist", "split"),
    "loaders": ("Loaded", "Standardizer", "load_csv", "load_npz"),
    "loaders_images": ("Augment", "load_images"),
    "sequences": ("Vocabulary", "lengths", "pad", "streams", "windows"),
    "errors": ("InputError", "NotFiniteError", "NumericsError", "SizeError"),
}
SPACES = {
    "minimize": "minimize",
    "pictures": "pictures",
    "plots": "plots",
}  # modules whose functions go by nx.plots.curves

_MODULE_OF = {name: module for module, names in NAMES.items() for name in names}
__all__ = sorted({*_MODULE_OF, *SPACES})  # noqa: PLE0605  made of the tables


def __getattr__(name: str):
    if name in SPACES:
        value = importlib.import_module(f"{__name__}.{SPACES[name]}")
    elif name in _MODULE_OF:
        value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value  # the next use does not come here
    return value


def __dir__() -> list[str]:
    return __all__
