"""Symbols of a functional model: what ``dv.Input`` makes and what a layer gives when it is called on symbols.

A node only remembers its layer and what it was called on; definitions are made by :class:`derive.Model`, all at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from derive.language.errors import DeriveError, ShapeError


class Node:
    """A place in the graph of a model: an input, or a layer called on other nodes.

    Attributes
    ----------
    layer : Layer, or None for an input
    of : tuple of Node
        What the layer was called on.
    """

    def __init__(self, layer, of: tuple[Node, ...] = (), given: dict | None = None):
        self.layer, self.of, self.given = layer, of, given

    def __repr__(self):
        return f"<input {self.given['name']}>" if self.layer is None else f"<output of {type(self.layer).__name__}>"


def Input(shape: Sequence[int], name: str = "x", dtype: str = "float", below: int | None = None) -> Node:  # noqa: N802
    """An input of a functional model.

    Parameters
    ----------
    shape : tuple of int
        The shape of one example, without the batch axis: ``(64,)``, or ``(28, 28, 1)`` for an image (NHWC).
    name : str
        The name of the array in the kernel's call; each input of a model has its own.
    dtype : {"float", "int"}
    below : int, optional
        For integers, the declared range ``0 <= value < below``.

    >>> from derive import Model, layers as L
    >>> x = Input((4,), name="x")
    >>> h = L.Dense(4, activation="tanh")(x)
    >>> Model(x, L.Add()([x, h])).shape_of("x")
    (4,)
    """
    if isinstance(shape, str) or not isinstance(shape, Sequence) or not shape:
        raise ShapeError(
            f"Input: shape is {shape!r}; give the shape of one example without the batch axis, as in "
            f"(64,) or (28, 28, 1)"
        )
    return Node(None, (), {"shape": tuple(shape), "name": name, "dtype": dtype, "below": below})


def call(layer, on) -> Node:
    """A layer called on one symbol, or, for a merging layer, on a list of symbols."""
    what = type(layer).__name__
    many = isinstance(on, list | tuple)
    if many != layer.merges:
        needs = f"a list of symbols, as in {layer.called}" if layer.merges else "one symbol, as in L.Dense(10)(h)"
        raise DeriveError(f"{what} is called on {needs}; it was given {on!r}")
    of = tuple(on) if many else (on,)
    for node in of:
        if not isinstance(node, Node):
            raise DeriveError(
                f"{what} was called on {node!r}; layers are called on symbols, made by dv.Input(shape) "
                f"or by other layers; arrays go to the compiled kernel"
            )
    if layer.merges and len(of) < 2:
        raise DeriveError(f"{what} merges at least two symbols; it was given {len(of)}")
    return Node(layer, of)


def ordered(outputs: Sequence[Node]) -> list[Node]:
    """The outputs and all that they need, each after what it is called on; not recursive, so that depth is free."""
    done: dict[Node, None] = {}
    stack = [(node, False) for node in reversed(outputs)]
    while stack:
        node, ready = stack.pop()
        if node in done:
            continue
        if ready or not node.of:
            done[node] = None
            continue
        stack.append((node, True))
        stack += [(other, False) for other in reversed(node.of)]
    return list(done)
