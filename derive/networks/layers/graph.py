"""The graph of a functional model: its inputs, which ``dv.Input`` makes, and its symbols in order.

A symbol only remembers its layer and what it was called on; definitions are made by :class:`derive.Model`, all at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from derive.language.errors import ShapeError

from .base import Node


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
    if None in shape or -1 in shape:
        raise ShapeError(
            f"Input: shape is {tuple(shape)!r}; give a usual length in place of None: where the layers allow it, evaluate, "
            f"predict and fit take any other"
        )
    return Node(None, (), {"shape": tuple(shape), "name": name, "dtype": dtype, "below": below})


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
