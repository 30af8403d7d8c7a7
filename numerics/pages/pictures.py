"""What a trained network has learned, as pictures: filters, feature maps, saliency, gradients through time, what it makes.

Each function returns a matplotlib ``Figure``; ``numerics.pages.plots.save(figure, path)`` writes it.  The numbers come from
derived programs: a saliency map is the derived gradient of a class's score by the image, the norms through time are
those of the derived adjoints of a recurrent layer's state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

import derive as dv
from derive.networks.model import Model
from derive.program.derived import Derived
from derive.program.schedule import Scan, schedule
from numerics.errors import InputError, NumericsError
from numerics.kernel.compile import compile

if TYPE_CHECKING:  # matplotlib is optional and slow to load
    from matplotlib.figure import Figure

Params: TypeAlias = Mapping[str, ArrayLike]  # by name, such as ``trainer.params``

MOST = 64  # panels of one figure


def filters(params: Params, name: str, columns: int = 8) -> Figure:
    """The kernel of a convolution, one panel a filter.

    Parameters
    ----------
    params : dict of str to array
        Such as ``trainer.params``.
    name : str
        A kernel (R, Q, C, O), or its layer.
    columns : int

    Returns
    -------
    matplotlib.figure.Figure
        Of at most 64 filters: in colour where C is 3, else the mean over the C input channels; grey is zero.

    Raises
    ------
    InputError
        For a name that is no kernel of a 2-D convolution, with those that are.
    """
    kernels = {n: np.asarray(a) for n, a in params.items() if np.ndim(a) == 4}
    found = kernels.get(name, kernels.get(f"{name}_kernel"))
    if found is None:
        raise InputError(
            f"filters: {name!r} is no kernel of a 2-D convolution; there is {', '.join(kernels) or 'none'}"
        )
    most = np.abs(found).max() or 1.0
    panels = [
        0.5 + found[..., o] / (2 * most) if found.shape[2] == 3 else found[..., o].mean(axis=2)
        for o in range(min(found.shape[3], MOST))
    ]
    return _panels(panels, columns, [""] * len(panels), None if found.shape[2] == 3 else np.abs(panels).max())


def rows(images: Mapping[str, ArrayLike], columns: int = 12) -> Figure:
    """Pictures in rows, each with a name: what went in, what came out, what was made.

    Parameters
    ----------
    images : dict of str to array (N, H, W), (N, H, W, 1), (N, H, W, 3), or (N, H * H) of square pictures
        Values in [0, 1]; the first ``columns`` of each are drawn, ink dark where there is one channel.
    columns : int

    Raises
    ------
    InputError
        For an array that is no pictures.

    >>> len(rows({"made": np.zeros((3, 16))}, columns=3).axes)
    3
    """
    if not images:
        raise InputError("rows: there are no pictures; give a dict of a name to an array")
    panels = {name: _as_pictures(name, np.asarray(a)[:columns]) for name, a in images.items()}
    figure = _figure(columns * 0.6 + 0.8, len(panels) * 0.66)
    grid = figure.subplots(len(panels), columns, squeeze=False)
    for axes, (name, found) in zip(grid, panels.items(), strict=True):
        for axis, panel in zip(axes, found, strict=False):
            axis.imshow(panel, cmap="gray_r", vmin=0, vmax=1)
        for axis in axes:
            axis.set(xticks=[], yticks=[])
        axes[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    return figure


def _as_pictures(name: str, a: np.ndarray) -> np.ndarray:
    if a.ndim == 2 and math.isqrt(a.shape[1]) ** 2 == a.shape[1]:
        return a.reshape(len(a), math.isqrt(a.shape[1]), -1)
    if a.ndim == 4 and a.shape[-1] == 1:
        return a[..., 0]
    if a.ndim == 3 or a.ndim == 4 and a.shape[-1] == 3:
        return np.clip(a, 0, 1)
    raise InputError(
        f"rows: {name} has shape {a.shape}; accepted are (N, H, W), (N, H, W, 1), (N, H, W, 3), or (N, H * H) of square "
        f"pictures"
    )


def feature_maps(model: Model, params: Params, x: ArrayLike, layer: str | None = None, columns: int = 8) -> Figure:
    """What the layers make of one image: the channels of each, or of one layer.

    Parameters
    ----------
    model : derive.Model
        With one input of images.
    params : dict of str to array
    x : array (H, W, C)
    layer : str, optional
        One layer, with all its channels; without it, the first eight channels of every layer of images.

    Returns
    -------
    matplotlib.figure.Figure
    """
    shown = [p.name for p in model.layers if p.output.rank == 4]
    if layer is not None and layer not in shown:
        raise InputError(f"feature_maps: no layer {layer!r} of images; there is {', '.join(shown) or 'none'}")
    wanted = [layer] if layer else shown
    if not wanted:
        raise InputError(f"feature_maps: {model.name} has no layer of images")
    values = layer_values(model, params, x, wanted)
    rows = [(n, np.moveaxis(values[n][0], -1, 0)) for n in wanted]
    if layer:
        maps = rows[0][1][:MOST]
        return _panels(list(maps), columns, [""] * len(maps))
    panels = [m for _, maps in rows for m in [*maps[:columns], *[None] * (columns - len(maps))]]
    titles = [name if k == 0 else "" for name, _ in rows for k in range(columns)]
    return _panels(panels, columns, titles)


def layer_values(model: Model, params: Params, x: ArrayLike, layers: Sequence[str]) -> dict[str, np.ndarray]:
    """The outputs of layers for one example, by layer name, from the derived forward program."""
    d = model.forward(layers)
    given = {**params, model.input.name: np.asarray(x, np.float32)[None]}
    kern = compile(d, sizes=_unfixed(d, model.sizes))
    found = kern.fn(*[given[t.name] for t in kern.inputs])
    outputs = found if len(d.results) == 1 else found[0]  # the rest are the states that are carried on
    return {n: np.asarray(a) for n, a in outputs.items()}


def saliency(model: Model, params: Params, x: ArrayLike, label: int) -> Figure:
    """Which pixels a class's score depends on: the image, and the size of the derived gradient of the score by it.

    .. math:: S_{uv} = \\max_c \\left| \\frac{\\partial z_{label}}{\\partial x_{uvc}} \\right|

    Parameters
    ----------
    model : derive.Model
        With one input of images and one output of logits.
    params : dict of str to array
    x : array (H, W, C)
    label : int

    Returns
    -------
    matplotlib.figure.Figure

    References
    ----------
    Simonyan, Vedaldi, Zisserman, *Deep inside convolutional networks*, arXiv:1312.6034 (2013).
    """
    x = np.asarray(x, np.float32)
    gradient = np.abs(score_gradient(model, params, x, label)).max(axis=-1)
    figure = _figure(5.2, 2.8)
    left, right = figure.subplots(1, 2)
    left.imshow(x[..., 0] if x.shape[-1] == 1 else np.clip(x, 0, 1), cmap="gray")
    right.imshow(gradient, cmap="magma")
    for axes, title in ((left, "image"), (right, f"|gradient of score {label}|")):
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    return figure


def score_gradient(model: Model, params: Params, x: ArrayLike, label: int) -> np.ndarray:
    """The derived gradient of the score of a class by one input x, of the shape of x."""
    graph = model.inference
    output, given = next(iter(graph.outputs.values())), next(iter(graph.inputs.values()))
    if len(graph.inputs) > 1 or len(graph.outputs) > 1 or output.rank != 2 or given.dtype != "float":
        raise NumericsError(f"saliency: {model.name} must have one input of numbers, and one output of logits (B, K)")
    classes = model.shape(output)[-1]
    if not 0 <= int(label) < classes:
        raise InputError(f"saliency: label {label}; accepted is 0 to {classes - 1}")
    b = dv.index("b", output.axes[0])
    which = dv.tensor("label", b, dtype="int", below=output.axes[-1])
    d = dv.backprop(dv.define("score", (), dv.Sum(output[b, which[b]], b)), wrt=[given])
    kern = compile(d, sizes=_unfixed(d, model.sizes))
    arrays = {**params, given.name: np.asarray(x, np.float32)[None], "label": np.array([label], np.int32)}
    return np.asarray(kern.fn(*[arrays[t.name] for t in kern.inputs])[1][given.name])[0]


def state_gradients(
    model: Model, params: Params, X: ArrayLike, Y: ArrayLike, loss: str | dv.Loss, layer: str
) -> np.ndarray:
    """``|dL/dh_t|`` for every step of a recurrent layer, from the derived adjoint of its state; shape (T,)."""
    model.layer(layer)
    total = model.loss(loss)
    source = model.backprop(loss).source
    found = [
        (e.tensor, g.axis[e.name])
        for g in schedule(source)
        if isinstance(g, Scan)
        for e in g.equations
        if e.tensor.block == layer and e.tensor.definition is not None and e.name.startswith("h")
    ]
    if not found:
        raise InputError(f"gradient_norms: layer {layer!r} is not recurrent")
    (h, axis), *_ = found
    d = dv.backprop(total, wrt=[h])
    kern = compile(d, sizes=_unfixed(d, model.sizes))
    arrays = {**params, model.input.name: np.asarray(X), model.target(loss).name: np.asarray(Y)}
    gradient = np.asarray(kern.fn(*[arrays[t.name] for t in kern.inputs])[1][h.name], np.float64)
    return np.sqrt((np.moveaxis(gradient, axis, 0) ** 2).reshape(gradient.shape[axis], -1).sum(axis=1))


def gradient_norms(norms: Mapping[str, Sequence[float] | np.ndarray], title: str = "") -> Figure:
    """How much of the gradient reaches each step: norms through time on a logarithmic scale.

    Parameters
    ----------
    norms : dict of str to array (T,)
        By the name of the network, as :func:`state_gradients` measures them.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = _figure(5.6, 3.4)
    axes = figure.subplots()
    for name, values in norms.items():
        axes.semilogy(np.arange(1, len(values) + 1), values, label=name, marker=".", markersize=3)
    axes.set_xlabel("step t")
    axes.set_ylabel(r"$\|\partial L/\partial h_t\|$")
    axes.legend()
    if title:
        axes.set_title(title, fontsize=10)
    return figure


def _unfixed(d: Derived, sizes: Mapping[str, int]) -> dict[str, int]:
    axes = {a for t in d.program.inputs for a in t.axes}
    return {s.name: sizes[s.name] for s in d.program.sizes() if s.name in sizes and s not in axes}


def _figure(wide: float, high: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(wide, high), layout="constrained")


def _panels(
    panels: Sequence[np.ndarray | None], columns: int, titles: Sequence[str], most: float | None = None
) -> Figure:
    rows = -(-len(panels) // columns)
    figure = _figure(1.1 * columns, 1.15 * rows + 0.1)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, panel, title in zip(grid, panels, titles, strict=False):
        if panel is not None:
            axes.imshow(panel, cmap="gray", **({} if most is None else {"vmin": -most, "vmax": most}))
        if title:
            axes.set_title(title, fontsize=7, loc="left")
    return figure
