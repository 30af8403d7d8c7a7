"""The languages that programs are written in, and ``nx.source``, which writes one without running it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from derive.derivation.derivation import Derivation
from derive.language.index import Size
from derive.language.tensor import Tensor
from numerics.errors import NumericsError

from .loops.javascript import javascript
from .request import Request

TARGETS: dict[str, Callable[[Request], str]] = {
    "jax": lambda request: request.module().source,
    "javascript": lambda request: javascript(request.written, request.sizes, request.name),
}


def source(
    d: Derivation | Tensor | Sequence[Tensor],
    target: str = "jax",
    backend: str | None = None,
    sizes: Mapping[str | Size, int] | None = None,
    dense: bool = False,
    name: str | None = None,
    patterns: Mapping[str, str] | None = None,
    form: str = "dense",
    checkpoint_every: int | None = None,
) -> str:
    """The source of a derivation's program, or of definitions alone; needs neither JAX nor NumPy.

    Parameters
    ----------
    d : Derivation, Tensor or sequence of Tensors
        From ``dv.backprop``, ``dv.vjp`` and their kin; or definitions, as :func:`numerics.compile` takes them.
    target : str
        The language: "jax"; or "javascript", a standalone ES module of loops over flat arrays of doubles, without any
        library: ``lossAndGrads({x: {shape: [7, 5], data: new Float64Array(35)}, ...})`` is
        ``{loss, grads: {W: {shape, data}}}``.
    backend : str, optional
        "cpu" (the default), "gpu" or "tpu": where the program is to run, which decides between emissions.
    sizes, dense, name, patterns, form, checkpoint_every
        As in :func:`numerics.compile`, whose ``kern.source`` this is.

    Raises
    ------
    numerics.NumericsError
        For a target that there is not; and as :func:`numerics.compile` does.
    derive.UnsupportedError
        For a construct that no emission knows.

    Examples
    --------
    >>> import derive as dv, numerics as nx
    >>> i = dv.index("i")
    >>> w = dv.tensor("w", i)
    >>> d = dv.backprop(dv.define("loss", (), dv.Sum(w[i]**2, i)), wrt=[w])
    >>> print(nx.source(d).splitlines()[-1])
        return loss, {"w": dw}
    """
    if target != "jax" and target in TARGETS and (backend or dense or patterns or checkpoint_every is not None):
        raise NumericsError(
            f"nx.source(target={target!r}): backend, dense, patterns and checkpoint_every choose among emissions for JAX; "
            f"loops have one form"
        )
    if target not in TARGETS:
        raise NumericsError(f"nx.source(target={target!r}): give one of {', '.join(map(repr, TARGETS))}")
    request = Request.of("nx.source", d, sizes, dense, name, patterns, form, checkpoint_every, backend or "cpu")
    return TARGETS[target](request)
