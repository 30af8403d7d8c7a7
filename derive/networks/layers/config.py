"""Layers as plain data, so that a network can be saved as JSON and made again; functions are refused, never pickled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from derive.language.errors import DeriveError
from derive.language.hints import did_you_mean
from derive.networks import activations, elsewhere

from .base import Function, Layer
from .penalty import Penalty
from .registry import LAYERS


def layer_config(layer: Layer | Callable, name: str | None, names: Mapping[Layer, str] | None = None) -> dict[str, Any]:
    """The class and the constructor's arguments of a layer, which stands under ``name``; a layer of ``names`` by its name.

    >>> layer_config(LAYERS["Dense"](3, activation="relu"), "dense_1")["activation"]
    'relu'
    """
    kind = type(layer).__name__
    if LAYERS.get(kind) is not type(layer):  # a subclass is not its parent
        kind = f"{type(layer).__module__}.{type(layer).__qualname__}"
    if not isinstance(layer, Layer) or isinstance(layer, Function):
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
        found[field] = _plain(getattr(layer, field), f"layer {name}: its {field}", names or {})
    if layer.penalties:
        found["penalties"] = {role: _penalty(one, name, role) for role, one in layer.penalties.items()}
    return {**found, "name": name}


def _penalty(one: Callable, name: str | None, role: str) -> dict[str, float]:
    if not isinstance(one, Penalty):
        raise DeriveError(
            f"layer {name}: the penalty of its {role} is a function of your own; code is not saved as data"
        )
    return one.config()


def _plain(value: Any, where: str, names: Mapping[Layer, str]) -> Any:
    """An argument as JSON has it: layers by their configurations, tuples as lists, NumPy's numbers as Python's."""
    if isinstance(value, activations.Activation):
        value = value.config() if value.built_in else value.rule
    if isinstance(value, Layer):
        return names.get(value) or layer_config(value, value.name, names)
    if callable(value):
        raise DeriveError(
            f"{where} is a function of your own; code is not saved as data, so build the network again from your own program"
        )
    if isinstance(value, tuple | list):
        return [_plain(v, where, names) for v in value]
    if isinstance(value, Mapping):
        return {str(k): _plain(v, where, names) for k, v in value.items()}
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return value.item()
    if value is None or isinstance(value, str | int | float):
        return value
    raise DeriveError(
        f"{where} is {type(value).__name__}, which is not saved as data; accepted are numbers, words, layers, and lists and "
        f"dicts of them, as array.tolist() makes them"
    )


def layer_from(config: Mapping[str, Any], layers: Sequence[type[Layer]] = ()) -> Layer:
    """The layer that :func:`layer_config` wrote; ``layers`` are classes of your own, which it may be one of."""
    given = dict(config)
    kind = _class(given.pop("class", None), layers)
    priced = {role: Penalty(**rates) for role, rates in given.pop("penalties", {}).items()}
    unknown = sorted(set(given) - set(kind.fields))
    if unknown:
        raise DeriveError(
            f"layer {kind.__name__}: unknown argument {unknown[0]!r}"
            f"{elsewhere.hint(unknown[0], kind.fields, elsewhere.OPTIONS)}; it takes {', '.join(kind.fields)}"
        )
    return kind(**{field: _made(v, layers) for field, v in given.items()}).penalize(**priced)


def _made(value: Any, layers: Sequence[type[Layer]]) -> Any:
    """An argument from what :func:`_plain` wrote."""
    if isinstance(value, dict):
        return layer_from(value, layers) if "class" in value else {k: _made(v, layers) for k, v in value.items()}
    return [_made(v, layers) for v in value] if isinstance(value, list) else value


def _class(kind: Any, layers: Sequence[type[Layer]]) -> type[Layer]:
    """The class of a name: of the catalogue, given, or imported already; what a file names is never imported."""
    if isinstance(layers, type):
        raise DeriveError(f"layers is {layers!r}; accepted is a list of subclasses of L.Layer, as in layers=[Mine]")
    for one in layers:
        if not (isinstance(one, type) and issubclass(one, Layer)):
            raise DeriveError(
                f"layers: {one!r} is no class of layers; accepted are subclasses of L.Layer, as in layers=[Mine]"
            )
    if kind in LAYERS:
        return LAYERS[kind]
    module, dot, name = str(kind).rpartition(".")
    if not dot:
        raise DeriveError(f"unknown layer {kind!r}{did_you_mean(kind, LAYERS)}; the catalogue has {', '.join(LAYERS)}")
    known = [c for c in _subclasses(Layer) if f"{c.__module__}.{c.__qualname__}" == kind]  # the last: a cell run again
    found = [c for c in layers if c.__name__ == name] or known
    if not found:
        raise DeriveError(
            f"the layer {kind} is of your own, and not imported here; a file's names are not imported by themselves: write "
            f"from {module} import {name} before loading, or give it, as in nx.load(path, layers=[{name}])"
        )
    return found[-1]


def _subclasses(of: type[Layer]) -> list[type[Layer]]:
    return [c for one in of.__subclasses__() for c in (one, *_subclasses(one))]
