"""What people expect of a model who come from other libraries, and what they leave out: told, with what to write."""

from __future__ import annotations

import warnings

from derive.networks.layers import Dense
from derive.networks.layers.convolution import Convolution
from derive.networks.layers.pooling import Pool

from .network import Network

_TRAINS = "a model is definitions; nx.Trainer(model, loss=..., optimizer='adam') trains it: trainer.{}"
ELSEWHERE = {
    "fit": _TRAINS.format("fit(X, Y, epochs=10)"),
    "compile": _TRAINS.format("fit(X, Y, epochs=10)") + "; loss, optimizer and metrics are given to the Trainer",
    "evaluate": _TRAINS.format("evaluate(X, Y)"),
    "predict": _TRAINS.format("predict(X)"),
    "train_on_batch": _TRAINS.format("fit(X, Y)"),
    "save": _TRAINS.format("save('run/')") + ", and nx.load('run/') reads it",
    "save_weights": _TRAINS.format("save('run/')"),
    "load_weights": "nx.load('run/') gives the trainer that was saved",
    "get_weights": _TRAINS.format("params") + ", by name",
    "set_weights": _TRAINS.format("params = {...}") + ", by name",
    "state_dict": _TRAINS.format("params") + ", by name",
    "trainable_variables": "model.parameters has them by name, nx.init(model, seed=0) their first values",
    "weights": "model.parameters has them by name, nx.init(model, seed=0) their first values",
    "add": "layers are given at once: dv.Sequential([L.Dense(16), L.Dense(3)], input_shape=(13,))",
    "pop": "layers are given at once; model.with_head(layer) is the network with another end, nx.transfer keeps its weights",
    "count_params": "model.summary() says how many there are, of every layer",
    "get_config": "model.to_dict() is the network as plain data, dv.Model.from_dict(data) makes it again",
    "to_json": "model.to_dict() is the network as plain data, dv.Model.from_dict(data) makes it again",
    "cuda": "JAX chooses the device: JAX_PLATFORMS=cpu",
    "to": "JAX chooses the device: JAX_PLATFORMS=cpu",
    "append": "layers are given at once: dv.Sequential([L.Dense(16), L.Dense(3)], input_shape=(13,))",
    "get_layer": "model.layer(name) gives it",
    "apply": "kern = nx.compile(model.forward()) runs it, and trainer.predict(X)",
    "train": "the training definitions are model.training, those of use model.inference; nx.Trainer uses both",
    "eval": "the training definitions are model.training, those of use model.inference; nx.Trainer uses both",
}


class ModelWarning(UserWarning):
    """A model that is right as it stands, and looks as if something had been forgotten."""


def missing(model: object, name: str) -> AttributeError:
    """The error for an attribute that a model has not: what to write instead, where another library has it."""
    return AttributeError(
        f"{type(model).__name__} has no {name!r}" + (f"; {ELSEWHERE[name]}" if name in ELSEWHERE else "")
    )


def set_elsewhere(name: str) -> None:
    """Refuse what is no attribute here, and would change nothing."""
    if name == "trainable":
        raise AttributeError(
            "a model is definitions, and is not changed; trainer.freeze('dense_1') freezes a layer, "
            "L.Dense(64, trainable=False) from the start"
        )


def tell_unflattened(model: Network) -> None:
    """Warn of an image that a Dense layer reads pixel by pixel and gives as the output: ``Flatten`` was forgotten, mostly.

    Dense runs over the last axis, so that this is a network that classifies every pixel.  One that is meant to is spelled
    with ``Conv2D(units, 1)``, as elsewhere.
    """
    makers = {p.output.name: p for p in model.layers}
    for last in model.layers:
        if not isinstance(last.layer, Dense) or last.output.name not in {t.name for t in model.outputs.values()}:
            continue
        first, between = last, []
        while isinstance(first.layer, Dense) and first.of[0].name in makers:
            between.append(first.name)
            first = makers[first.of[0].name]
        if first.output.rank >= 4 and isinstance(first.layer, Convolution | Pool):
            shape = ", ".join(map(str, model.shape(first.output)))
            warnings.warn(
                ModelWarning(
                    f"{model.name}: {first.name} gives images ({shape}) and {between[-1]} runs over their channels alone, so "
                    f"that the output {last.name} is ({', '.join(map(str, model.shape(last.output)))}); for one answer an "
                    f"example, put L.Flatten() or L.GlobalAvgPool() before {between[-1]}; for one a pixel, write "
                    f"L.Conv2D({last.layer.units}, 1)"
                ),
                stacklevel=5,
            )
