"""Compiling, verifying and training derived programs with JAX; derive's definitions stay symbolic."""

from __future__ import annotations

import importlib

# Importing this package loads neither JAX nor NumPy, so that writing source (nx.source) costs neither, also where they
# are not installed: a name is loaded from its module when it is first used, which is when Python asks __getattr__ below
# for it (PEP 562).  Type checkers do not run that; they read __init__.pyi.
NAMES = {
    # programs
    "emit.targets": "source",
    "kernel.allocator": "pin_allocator",
    "kernel.compile": "compile",
    "kernel.kernel": "Kernel",
    # functions that exist already
    "interop.model": "JaxModel from_jax",
    "interop.torch_model": "TorchModel from_torch",
    "interop.gradients": "value_and_grad",
    # evidence
    "checks.verify": "verify",
    "checks.crosscheck": "CrossReport crosscheck",
    "checks.report": "Report",
    "interop.vjp": "assert_gradients check_vjp",
    "interop.vjp_report": "VjpReport",
    # training
    "training": "Callback EarlyStopping Log Player Trainer TrainingWarning play read_log transfer",
    "training.generate": "generate",
    "training.init": "init",
    "training.loading": "load",
    # without gradients, and with second ones
    "training.samples": "sample_scores",
    "training.perceptron": "Perceptron",
    "data.centres": "rbf_centres",
    "minimize": "NewtonError NewtonResult newton",
    # data
    "data.examples": "digits load_idx load_mnist split",
    "data.files": "Loaded Standardizer load_csv load_npz",
    "data.images": "Augment load_images",
    "data.sequences": "Vocabulary lengths pad streams windows",
    "data.words": "WordVocabulary load_pairs",
    "errors": "InputError NotFiniteError NumericsError SizeError",
}
# modules whose functions go by the module's name, as in nx.plots.curves
SPACES = {"minimize": "minimize", "pictures": "pages.pictures", "plots": "pages.plots"}

# what those who know Keras look for
ELSEWHERE = {
    "ModelCheckpoint": "; trainer.fit(..., checkpoint='run/') writes the run after every epoch, resume=True goes on",
    "CSVLogger": "; callbacks=[nx.Log('run/log.tsv')] writes a line an epoch",
    "TensorBoard": "; callbacks=[nx.Log('run/log.tsv')] writes a line an epoch, nx.plots.curves draws it",
    "ReduceLROnPlateau": "; optimizer=optax.chain(optax.adam(1e-3), optax.contrib.reduce_on_plateau()), or learning_rate=",
    "LearningRateScheduler": "; Trainer(..., optimizer=optax.adam, learning_rate=optax.cosine_decay_schedule(1e-3, 1000))",
    "load_model": "; nx.load('run/') reads what trainer.save('run/') wrote",
}

_MODULE_OF = {name: module for module, names in NAMES.items() for name in names.split()}
__all__ = list({**_MODULE_OF, **SPACES})


def __getattr__(name: str):
    if name in SPACES:
        value = importlib.import_module(f"{__name__}.{SPACES[name]}")
    elif name in _MODULE_OF:
        value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{ELSEWHERE.get(name, '')}")
    globals()[name] = value  # the next use does not come here
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
