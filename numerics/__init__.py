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

# what those who know other libraries look for; what stands in derive is found there
_FIT = "t = nx.Trainer(model, loss, optimizer, metrics); t.fit(X, Y)"
_SAVED = "trainer.fit(..., checkpoint='run/') writes the run after every epoch, resume=True goes on"
_RATE = "Trainer(..., optimizer=optax.adam, learning_rate=optax.cosine_decay_schedule(1e-3, 1000))"
_LOGGED = "callbacks=[nx.Log('run/log.tsv')] writes a line an epoch"
_TURNED = "t.fit(..., augment=nx.Augment(shift=2)), or a function (x, rng) -> x of your own"
ELSEWHERE = {
    **dict.fromkeys(("ModelCheckpoint", "BackupAndRestore", "Checkpoint"), _SAVED),
    **dict.fromkeys(("CSVLogger", "SummaryWriter"), _LOGGED),
    "TensorBoard": _LOGGED + ", nx.plots.curves draws it",
    "ReduceLROnPlateau": "optimizer=optax.chain(optax.adam(1e-3), optax.contrib.reduce_on_plateau()), or learning_rate=",
    **dict.fromkeys(("LearningRateScheduler", "CosineDecay", "ExponentialDecay"), _RATE),
    "TerminateOnNaN": "fit ends by itself where the loss is not finite, and says the step, the layer and the equation",
    "LambdaCallback": "a subclass of nx.Callback, with on_epoch_end(self, trainer, row)",
    "History": "history = t.fit(...) is a dict of lists, and so is t.history",
    "load_model": "nx.load('run/') reads what trainer.save('run/') wrote",
    "load_weights": "nx.load('run/') gives the trainer that was saved; nx.transfer takes single layers from it",
    "save_model": "trainer.save('run/') writes it, nx.load('run/') reads it",
    **dict.fromkeys(
        ("Adam", "AdamW", "SGD", "RMSprop", "optimizers", "optim"), "optimizer='adam', or optax.adam(1e-3)"
    ),
    "callbacks": "nx.EarlyStopping, nx.Log and subclasses of nx.Callback",
    "metrics": "they have names: nx.Trainer(..., metrics=['accuracy'])",
    "losses": "they have names: nx.Trainer(model, 'sparse_softmax_cross_entropy'); options by dv.losses.loss(name, ...)",
    "CrossEntropyLoss": "it is the loss 'sparse_softmax_cross_entropy', by name",
    "models": "dv.Sequential, dv.Model and dv.examples",
    **dict.fromkeys(("StandardScaler", "Normalization", "Scaler"), "it is nx.Standardizer.fit(X)"),
    "MinMaxScaler": "X / 255 for pictures, nx.Standardizer.fit(X) for features",
    **dict.fromkeys(("train_test_split", "random_split"), "it is nx.split(X, Y, ...)"),
    **dict.fromkeys(
        ("to_categorical", "one_hot"), "labels are integers here, and words are numbered by fit; np.eye(K)[Y]"
    ),
    **dict.fromkeys(("pad_sequences", "pad_sequence"), "it is nx.pad(texts)"),
    **dict.fromkeys(
        ("Tokenizer", "TextVectorization"), "it is nx.WordVocabulary(texts), or nx.Vocabulary(text) of letters"
    ),
    **dict.fromkeys(
        ("DataLoader", "Dataset", "TensorDataset"), "fit takes arrays, or any iterable of batches, torch's too"
    ),
    **dict.fromkeys(("ImageDataGenerator", "RandomFlip", "RandomCrop"), _TURNED),
    **dict.fromkeys(("mnist", "datasets"), "nx.load_mnist(folder) reads the four files; nx.digits() needs none"),
    "plot_model": "model.summary(), and nx.pictures draws a derivation",
    **dict.fromkeys(("set_seed", "set_random_seed", "PRNGKey"), "nx.Trainer(..., seed=0), nx.init(model, seed=0)"),
    **dict.fromkeys(("fit", "train", "evaluate", "predict"), _FIT),
    "grad": "nx.value_and_grad(loss_fn) derives the gradients of a function in JAX",
    "jit": "nx.compile(d) makes a compiled program of a derivation",
    "no_grad": "nothing is recorded while a program runs; trainer.predict(X) is the forward pass",
}

_MODULE_OF = {name: module for module, names in NAMES.items() for name in names.split()}
__all__ = list({**_MODULE_OF, **SPACES})


def __getattr__(name: str):
    if name in SPACES:
        value = importlib.import_module(f"{__name__}.{SPACES[name]}")
    elif name in _MODULE_OF:
        value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{'' if name[0] == '_' else _hint(name)}")
    globals()[name] = value  # the next use does not come here
    return value


def _hint(name: str) -> str:
    derive = importlib.import_module("derive")  # when a name is wrong: source alone needs no more than it did
    if name in derive.__all__:
        return f"; it is dv.{name}, after import derive as dv"
    if name in derive.layers.LAYERS:
        return f"; it is L.{name}, after from derive import layers as L"
    return str(derive.networks.elsewhere.hint(name, __all__, ELSEWHERE))


def __dir__() -> list[str]:
    return sorted(__all__)
