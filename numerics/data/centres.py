"""Centres and widths of Gaussian units from the data, by k-means."""

from __future__ import annotations

import warnings

import numpy as np

from derive.language.hints import did_you_mean
from derive.networks.layers import RBF
from numerics.errors import InputError

from . import examples as data

NEAREST = 2  # Moody and Darken's P


def rbf_centres(model, X, seed: int = 0, layer: str | None = None, overlap: float = 1.0) -> dict[str, np.ndarray]:
    r"""Centres and widths for an RBF layer: ``t.params |= nx.rbf_centres(model, X)``.

    Centres are the k-means of the data; the width of a unit is the root mean square distance of its centre to the two
    nearest others, times ``overlap``.

    Parameters
    ----------
    model : derive.Model
    X : array (N, I)
        What the layer reads: the training examples, where it is the first layer.
    seed : int
        Of k-means, which is run ten times.
    layer : str, optional
        Which RBF layer, where there are several.
    overlap : float

    Returns
    -------
    dict of str to array
        ``<layer>_centres`` (J, I) and ``<layer>_widths`` (J,), float32.

    Raises
    ------
    InputError
        Where the model has no such layer, the data does not fit it, or has fewer distinct rows than there are units.

    References
    ----------
    Moody, Darken, *Fast learning in networks of locally-tuned processing units*, Neural Computation 1 (1989).
    Lloyd, *Least squares quantization in PCM*, IEEE Transactions on Information Theory 28 (1982).

    >>> import derive as dv
    >>> from derive import layers as L
    >>> model = dv.Sequential([L.RBF(2), L.Dense(1)], input_shape=(1,))
    >>> found = rbf_centres(model, np.array([[0.0], [1.0], [9.0], [10.0]]))
    >>> sorted(found["rbf_1_centres"].ravel().tolist()), found["rbf_1_widths"].tolist()
    ([0.5, 9.5], [9.0, 9.0])
    """
    try:
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning
    except ModuleNotFoundError:
        raise InputError("k-means comes with scikit-learn: pip install 'derive-numerics[train]'") from None
    name, units, width = _layer(model, layer)
    x = data.check_examples(X, (width,), "X", np.float64)
    distinct = len(np.unique(x, axis=0))
    if distinct < units:
        raise InputError(
            f"rbf_centres: layer {name} has {units} units, but X has {distinct} distinct rows; accepted are at "
            f"most as many units"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # distinct rows are counted above
        centres = KMeans(units, n_init=10, random_state=seed).fit(x).cluster_centers_
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    near = np.sort(apart, axis=1)[:, 1 : 1 + NEAREST]
    widths = np.sqrt((near**2).mean(axis=1)) if units > 1 else np.array([np.sqrt(((x - centres) ** 2).sum(-1).mean())])
    widths = np.where(widths > 0, widths, 1.0) * overlap
    return {f"{name}_centres": centres.astype(np.float32), f"{name}_widths": widths.astype(np.float32)}


def _layer(model, wanted: str | None) -> tuple[str, int, int]:
    found = {p.name: p for p in model.layers if isinstance(p.layer, RBF) and not p.shared}
    if wanted is None and len(found) != 1:
        raise InputError(
            f"rbf_centres: {model.name} has {len(found)} RBF layers"
            + (f"; name one, as in layer={next(iter(found))!r}" if found else "; add L.RBF(units)")
        )
    name = wanted if wanted is not None else next(iter(found))
    if name not in found:
        raise InputError(
            f"rbf_centres: {model.name} has no RBF layer {name!r}{did_you_mean(name, found)}; it has {', '.join(found)}"
        )
    units, width = model.parameters[f"{name}_centres"].shape
    return name, units, width
