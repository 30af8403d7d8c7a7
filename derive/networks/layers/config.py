"""Layers as plain data, so that a network can be saved as JSON and made again; functions are refused, never pickled."""

from __future__ import annotations

from derive.language.errors import DeriveError
from derive.language.hints import did_you_mean
from derive.networks import activations

from .activation import Activation
from .bag import EmbeddingBag
from .base import Layer
from .convolution import Conv1D, Conv2D, Conv2DTranspose, Conv3D, DepthwiseConv2D, SeparableConv2D
from .dense import Dense
from .dropout import Dropout, SpatialDropout
from .embedding import Embedding
from .learned import Maxout, PReLU
from .merging import Add, Concatenate, Multiply
from .normalization import BatchNorm, GroupNorm, LayerNorm, LocalResponseNorm
from .penalty import Penalty
from .pooling import AvgPool1D, AvgPool2D, AvgPool3D, GlobalAvgPool, GlobalMaxPool, MaxPool1D, MaxPool2D, MaxPool3D
from .radial import RBF
from .recurrent import GRU, LSTM, FinalState, SimpleRNN
from .reshaping import Flatten, Reshape
from .resizing import UpSampling1D, UpSampling2D, UpSampling3D, ZeroPadding1D, ZeroPadding2D, ZeroPadding3D
from .wrappers import Bidirectional, TimeDistributed

LAYERS: dict[str, type[Layer]] = {
    c.__name__: c
    for c in (
        Activation,
        Dense,
        PReLU,
        Maxout,
        RBF,
        Conv1D,
        Conv2D,
        Conv3D,
        DepthwiseConv2D,
        SeparableConv2D,
        Conv2DTranspose,
        MaxPool1D,
        MaxPool2D,
        MaxPool3D,
        AvgPool1D,
        AvgPool2D,
        AvgPool3D,
        GlobalMaxPool,
        GlobalAvgPool,
        ZeroPadding1D,
        ZeroPadding2D,
        ZeroPadding3D,
        UpSampling1D,
        UpSampling2D,
        UpSampling3D,
        Flatten,
        Reshape,
        BatchNorm,
        LayerNorm,
        GroupNorm,
        LocalResponseNorm,
        Dropout,
        SpatialDropout,
        Add,
        Multiply,
        Concatenate,
        Embedding,
        EmbeddingBag,
        SimpleRNN,
        LSTM,
        GRU,
        FinalState,
        Bidirectional,
        TimeDistributed,
    )
}


def layer_config(layer, name: str) -> dict:
    """The class and the constructor's arguments of a layer, which stands under ``name``.

    >>> layer_config(Dense(3, activation="relu"), "dense_1")["activation"]
    'relu'
    """
    kind = type(layer).__name__
    if LAYERS.get(kind) is not type(layer):
        raise DeriveError(
            f"layer {name} is {layer!r}, not of the catalogue ({', '.join(LAYERS)}); code is not saved "
            f"as data, so build the network again from your own program"
        )
    found = {"layer": kind}
    for field in layer.fields:
        value = getattr(layer, field)
        if isinstance(value, activations.Activation):
            value = value.config() if value.built_in else value.rule
        if isinstance(value, Layer):
            value = layer_config(value, value.name)
        if callable(value):
            raise DeriveError(
                f"layer {name}: its {field} is a function of your own; code is not saved as data, so "
                f"build the network again from your own program"
            )
        found[field] = _plain(value)
    if layer.penalties:
        found["penalties"] = {role: _penalty(one, name, role) for role, one in layer.penalties.items()}
    return {**found, "name": name}


def _penalty(one, name: str, role: str) -> dict:
    if not isinstance(one, Penalty):
        raise DeriveError(
            f"layer {name}: the penalty of its {role} is a function of your own; code is not saved as data"
        )
    return one.config()


def _plain(value):
    """Tuples as lists, as JSON has them."""
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value


def layer_from(config: dict) -> Layer:
    """The layer that :func:`layer_config` wrote."""
    given = dict(config)
    kind = given.pop("layer", None)
    priced = {role: Penalty(**rates) for role, rates in given.pop("penalties", {}).items()}
    if kind not in LAYERS:
        raise DeriveError(f"unknown layer {kind!r}{did_you_mean(kind, LAYERS)}; the catalogue has {', '.join(LAYERS)}")
    unknown = sorted(set(given) - set(LAYERS[kind].fields))
    if unknown:
        fields = LAYERS[kind].fields
        raise DeriveError(
            f"layer {kind}: unknown argument {unknown[0]!r}{did_you_mean(unknown[0], fields)}; it takes "
            f"{', '.join(fields)}"
        )
    inside = {field: layer_from(v) for field, v in given.items() if isinstance(v, dict) and "layer" in v}
    return LAYERS[kind](**{**given, **inside}).penalize(**priced)
