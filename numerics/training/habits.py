"""Arguments that other libraries' fit, evaluate and predict take: told, with what to write here."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from derive.networks.elsewhere import Names, hint

P = ParamSpec("P")
R = TypeVar("R")

_NAMES = {"x": "X", "y": "Y", "data": "X", "train_data": "X", "generator": "X"}
_HOST = "batches are made on the host while the device computes; a DataLoader of torch brings its own workers"
_SHOWN = "nothing is shown while it runs; leave it out"
_GIVEN = "an iterable is gone through to its end: itertools.islice(batches, n) gives its first n"
_CALLS = "callbacks are told of fit, see nx.Callback"
FIT: Names = {
    **_NAMES,
    "n_epochs": "epochs",
    "num_epochs": "epochs",
    "max_epochs": "epochs",
    "callback": "callbacks",
    "sample_weights": "sample_weight",
    "class_weights": "class_weight",
    "validation": "validation_data",
    "val_data": "validation_data",
    "initial_epoch": "a second fit goes on where the first one ended, optimizer and all; after a break, fit(..., "
    "checkpoint='run/', resume=True) goes on to the bit",
    **dict.fromkeys(("workers", "num_workers", "max_queue_size", "use_multiprocessing", "prefetch"), _HOST),
    **dict.fromkeys(("validation_steps", "val_steps"), _GIVEN),
    "validation_freq": "held-out data is measured after every epoch; give fit fewer epochs, and call evaluate between",
    "validation_batch_size": "held-out data is measured in batches of the same size",
    **dict.fromkeys(
        ("lr", "learning_rate", "optimizer", "loss", "metrics", "clip_norm"),
        "it belongs to the trainer: nx.Trainer(model, loss, optax.adam, metrics, learning_rate=1e-3)",
    ),
    **dict.fromkeys(("shuffle_buffer", "buffer_size"), "shuffle=True takes every example once, in a seeded order"),
    "seed": "it belongs to the trainer: nx.Trainer(..., seed=0)",
    "log_interval": "a line is shown every so many seconds; a callback's on_step_end sees every step",
}
USE: Names = {
    **_NAMES,
    "sample_weights": "sample_weight",
    "verbose": _SHOWN,
    "steps": _GIVEN,
    "callbacks": _CALLS,
    "return_dict": "evaluate returns a dict",
    **{name: FIT[name] for name in ("workers", "max_queue_size", "use_multiprocessing")},
}
_DEVICE = "JAX chooses the device: JAX_PLATFORMS=cpu; mesh= spreads a run over several"
TRAINER: Names = {
    "lr": "learning_rate",
    "optim": "optimizer",
    "losses": "loss",
    "criterion": "loss",
    "metric": "metrics",
    "weighted_metrics": "metrics",
    "random_state": "seed",
    "net": "model",
    "network": "model",
    **dict.fromkeys(("clipnorm", "global_clipnorm", "max_norm", "gradient_clip_val"), "clip_norm"),
    "clipvalue": "optimizer=optax.chain(optax.clip(1.0), optax.adam(1e-3)) clips each number; clip_norm= their norm",
    **dict.fromkeys(("gradient_accumulation_steps", "accumulate_grad_batches", "accumulation_steps"), "accumulate"),
    **dict.fromkeys(
        ("batch_size", "epochs", "callbacks", "class_weight", "validation_data", "checkpoint", "augment", "verbose"),
        "it belongs to fit: t.fit(X, Y, batch_size=64, epochs=10)",
    ),
    **dict.fromkeys(("run_eagerly", "jit_compile", "jit", "compile"), "a step is always one compiled program"),
    "steps_per_execution": "steps are dispatched and not waited for; leave it out",
    **dict.fromkeys(("device", "devices", "accelerator", "distribute", "strategy"), _DEVICE),
    **dict.fromkeys(("amp", "dtype", "precision", "mixed_precision"), "training is float32"),
    "frozen": "t.freeze('dense_1') after it is made",
    "weight_decay": "optimizer=optax.adamw(1e-3, weight_decay=1e-2)",
    "params": "t.params = {...} after it is made",
}

_STEPS = "fit takes all batches, and a callback's on_step_end sees every step; trainer.advance(batch) takes one"
HERE = {
    "compile": "loss, optimizer and metrics are given when it is made, nx.Trainer(model, loss, optimizer, metrics)",
    "save_weights": "t.save('run/') writes everything",
    "load_weights": "t = nx.load('run/'), or t.params = {...} by name",
    "load": "t = nx.load('run/')",
    **dict.fromkeys(
        ("weights", "get_weights", "state_dict", "parameters", "trainable_variables", "variables"), "t.params, by name"
    ),
    **dict.fromkeys(("set_weights", "load_state_dict"), "t.params = {...}, by name"),
    **dict.fromkeys(("train", "fit_generator", "partial_fit"), "t.fit(X, Y), or t.fit(batches)"),
    **dict.fromkeys(("train_on_batch", "train_step"), _STEPS),
    **dict.fromkeys(("test_on_batch", "score"), "t.evaluate(X, Y)"),
    **dict.fromkeys(("predict_on_batch", "transform", "predict_generator"), "t.predict(X)"),
    "predict_classes": "t.predict(X).argmax(-1), and t.classes where labels were words",
    "predict_proba": "t.predict(X), softmaxed where the model ends in logits",
    "epochs": "t.epoch",
    "metrics_names": "t.metric_names()",
    **dict.fromkeys(("zero_grad", "backward"), "the gradients of the latest step are t.kernel(**t.inputs())"),
    "grad": "the gradients of the latest step are t.kernel(**t.inputs()); their equations t.derivation.gradient(name)",
    "reset_states": "an epoch begins with states of zero",
    **dict.fromkeys(("layers", "get_layer"), "t.model.layers, t.model.layer(name)"),
    "lr": "t.learning_rate, of a trainer that was made with learning_rate=",
    "plot": "nx.plots.curves(t.history)",
    "history_": "t.history",
    "generate": "nx.generate(t, prompt, length)",
    "trainable": "t.freeze('dense_1'), t.unfreeze('dense_1')",
}


def missing(name: str) -> AttributeError:
    """The error for an attribute that a trainer has not: what to write instead, where another library has it."""
    return AttributeError(f"Trainer has no {name!r}" + (f"; {HERE[name]}" if name in HERE else ""))


class Curves(dict[str, list[float]]):
    """What a fit returns: a dict of the columns of its epochs."""

    def __getattr__(self, name: str) -> list[float]:
        said = "; it is the dict itself, as in history['loss']" if name == "history" or name in self else ""
        raise AttributeError(f"the history of a fit is a dict, and has no attribute {name!r}{said}")


def told(names: Names) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function whose unknown arguments are answered by what is written instead."""

    def with_hints(function: Callable[P, R]) -> Callable[P, R]:
        taken = list(inspect.signature(function).parameters)

        @functools.wraps(function)
        def called(*values: P.args, **given: P.kwargs) -> R:
            unknown = [n for n in given if n not in taken]
            if unknown:
                where = function.__qualname__.removesuffix(".__init__")
                raise TypeError(
                    f"{where}() got an unexpected keyword argument {unknown[0]!r}{hint(unknown[0], taken, names)}"
                )
            return function(*values, **given)

        return called

    return with_hints
