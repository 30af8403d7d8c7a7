"""The catalogue of layers: each class is put into it where it is written."""

from __future__ import annotations

from typing import TypeVar

from derive.language.errors import DeriveError

from .base import Layer

L = TypeVar("L", bound=type[Layer])

LAYERS: dict[str, type[Layer]] = {}  # by the names of their classes, which is what saved networks call them


def in_catalogue(cls: L) -> L:
    """Put the class below into the catalogue: saving, messages and the pages of the documentation read that.

    A class of your own needs it not: it is a layer as it stands.  A subclass of a layer of the catalogue is not in it by
    that, so that nothing takes it for its parent.

    Raises
    ------
    DeriveError
        Naming what was forgotten, or whose name it has.
    """
    said = f"layer {cls.__name__} of {cls.__module__}"
    if "kind" not in vars(cls):
        raise DeriveError(f"{said} has no kind of its own; write kind = 'dense', which its automatic names count")
    if not vars(cls).get("__doc__"):
        raise DeriveError(f"{said} has no docstring; it begins with the layer's formula")
    if cls.connect is Layer.connect:
        raise DeriveError(f"{said} has no connect(x, new) -> tensor, its forward definition")
    for other in LAYERS.values():
        for what in ("__name__", "kind"):
            if getattr(cls, what) == getattr(other, what):
                raise DeriveError(f"{said}: its {what.strip('_')} is that of {other.__name__} of {other.__module__}")
    LAYERS[cls.__name__] = cls
    return cls
