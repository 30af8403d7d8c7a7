"""Layers as plain data, so that a network can be saved as JSON and made again; functions are refused, never pickled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from derive.language.errors import DeriveError
from derive.language.hints import did_you_mean
from derive.networks import activations, elsewhere

from .base import Layer
from .penalty import Penalty
from .registry import LAYERS


def layer_config(layer: Layer | Callable, name: str | None) -> dict[str, Any]:
    """The class and the constructor's arguments of a layer, which stands under ``name``.

    >>> layer_config(LAYERS["Dense"](3, activation="relu"), "dense_1")["activation"]
    'relu'
    """
    kind = type(layer).__name__
    if not isinstance(layer, Layer) or LAYERS.get(kind) is not type(layer):  # a subclass is not its parent
        raise DeriveError(
            f"layer {name} is {layer!r}, not of the catalogue ({', '.join(LAYERS)}); code is not saved "
            f"as data, so build the network again from your own program"
        )
    found: dict[str, Any] = {"class": kind}
    for field in layer.fields:
        if not hasattr(layer, field):
            raise DeriveError(
                f"layer {name}: {kind} takes {field!r} and does not keep it; write self.{field} = {field} in its "
                f"__init__, which saving reads"
            )
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


def _penalty(one: Callable, name: str | None, role: str) -> dict[str, float]:
    if not isinstance(one, Penalty):
        raise DeriveError(
            f"layer {name}: the penalty of its {role} is a function of your own; code is not saved as data"
        )
    return one.config()


def _plain(value: Any) -> Any:
    """Tuples as lists, as JSON has them."""
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value


def layer_from(config: Mapping[str, Any]) -> Layer:
    """The layer that :func:`layer_config` wrote."""
    given = dict(config)
    kind = given.pop("class", None)
    priced = {role: Penalty(**rates) for role, rates in given.pop("penalties", {}).items()}
    if kind not in LAYERS:
        raise DeriveError(f"unknown layer {kind!r}{did_you_mean(kind, LAYERS)}; the catalogue has {', '.join(LAYERS)}")
    unknown = sorted(set(given) - set(LAYERS[kind].fields))
    if unknown:
        fields = LAYERS[kind].fields
        raise DeriveError(
            f"layer {kind}: unknown argument {unknown[0]!r}{elsewhere.hint(unknown[0], fields, elsewhere.OPTIONS)}; it takes "
            f"{', '.join(fields)}"
        )
    inside = {field: layer_from(v) for field, v in given.items() if isinstance(v, dict) and "class" in v}
    return LAYERS[kind](**{**given, **inside}).penalize(**priced)
