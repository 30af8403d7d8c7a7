"""What ``derive train`` trains: a kind of network that fits the data, a network of the catalogue, or your own."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from derive.language.errors import DeriveError
from derive.language.hints import did_you_mean
from derive.networks import layers as L
from derive.networks.examples.networks import NETWORKS, digits_cnn, keras_mnist
from derive.networks.model import Model, Sequential
from numerics.errors import NumericsError
from numerics.subject.find import network

from .dataset import DataSet

KINDS = ("linear", "mlp", "cnn", "lstm")
SMALL = 16  # pixels up to which an image gets the small convolutional network


def build(kind: str, data: DataSet, hidden: str | None = None, dropout: float = 0.0) -> Model:
    """A network for a data set.

    Parameters
    ----------
    kind : str
        "linear", "mlp", "cnn", "lstm" (images row by row), a name of :mod:`derive.networks.examples.networks`,
        ``FILE.py:NAME``, or a folder that training left.
    hidden : str, optional
        Of an mlp: the units of the hidden layers, as "128,64"; of an lstm: its units.

    Raises
    ------
    NumericsError
        For an unknown kind, or one that does not fit the data.
    """
    name = f"{data.name}_{kind}"
    if kind == "linear":
        return Sequential([*_flat(data), L.Dense(data.outputs)], input_shape=data.x.shape[1:], name=name)
    if kind == "mlp":
        layers: list = _flat(data)
        for count in units(hidden or "128,64"):
            layers += [L.Dense(count, activation="relu"), *([L.Dropout(dropout)] if dropout else [])]
        return Sequential([*layers, L.Dense(data.outputs)], input_shape=data.x.shape[1:], name=name)
    if kind == "cnn":
        return _convolutional(data, name)
    if kind == "lstm":
        height, width, channels = _image(data, kind)
        return Sequential(
            [L.LSTM(units(hidden or "64")[0]), L.Dense(data.outputs)], input_shape=(height, width * channels), name=name
        )
    if kind in NETWORKS:
        wants = "classes" in inspect.signature(NETWORKS[kind]).parameters
        make: Callable[..., Model] = NETWORKS[kind]
        return make(classes=data.outputs) if wants else make()
    return _own(kind)


def units(hidden: str) -> tuple[int, ...]:
    """The option ``--hidden``: whole numbers above 0, parted by commas."""
    try:
        found = tuple(int(part) for part in hidden.split(","))
    except ValueError:
        raise NumericsError(f"--hidden {hidden}: whole numbers parted by commas are expected, as in 128,64") from None
    if min(found) < 1:
        raise NumericsError(f"--hidden {hidden}: a layer has at least one unit")
    return found


def _flat(data: DataSet) -> list:
    return [L.Flatten()] if data.x.ndim > 2 else []


def _image(data: DataSet, kind: str) -> tuple[int, int, int]:
    if data.image is None:
        raise NumericsError(
            f"--model {kind}: {data.name} has examples of shape {data.x.shape[1:]}, which are no images"
        )
    return data.image


def _convolutional(data: DataSet, name: str) -> Model:
    shape = _image(data, "cnn")
    made = (digits_cnn if max(shape[:2]) <= SMALL else keras_mnist)(classes=data.outputs)
    return Sequential([p.layer for p in made.layers], input_shape=shape, name=name)


def _own(kind: str) -> Model:
    try:
        return network(kind)
    except DeriveError as error:
        if ".py:" in kind or "/" in kind or kind.endswith(".json"):
            raise
        known = [*KINDS, *NETWORKS]
        raise NumericsError(
            f"--model {kind}: there is no such network{did_you_mean(kind, known)}\n  accepted are "
            f"{', '.join(known)}, FILE.py:NAME, or a folder that training left"
        ) from error
