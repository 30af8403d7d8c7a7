"""Options of XLA that programs run faster with, where the outermost ``jit`` can pass them.

XLA of jaxlib 0.10 hands most convolutions on CPUs to a library that writes out every patch first, several times slower than
its own.  Whether it does, and whether an option takes them back, is found by compiling a small one: in another version the
default may be another, and an option that XLA does not know is an error.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from numerics.errors import NumericsError

CONVOLVES = "lax.conv_general_dilated"  # what a module has to hold for the options to matter
OWN_CONVOLUTIONS = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}
NESTED = "top-level"  # of the sentence with which JAX refuses options inside another jit


def options(source: str, backend: str) -> dict[str, str] | None:
    """``compiler_options`` for a generated module, {} where nothing is to be set; None where XLA cannot be asked.

    None is said of modules with convolutions only: they go to a library, and no option that XLA knows takes them back.
    """
    return settings(backend) if CONVOLVES in source else {}


def default_backend() -> str:
    """The backend of JAX's default device, or a sentence on what is not there."""
    # a device, the name of a platform, or None
    device = jax.config.jax_default_device  # type: ignore[attr-defined]
    try:
        if isinstance(device, str):
            device = jax.local_devices(backend=device)[0]
        return jax.default_backend() if device is None else str(device.platform)
    except (AssertionError, RuntimeError) as error:
        said = str(error).splitlines()[0] if str(error) else "none was initialized"
        platforms = os.environ.get("JAX_PLATFORMS", "")
        asked = f"jax_default_device={device!r}" if device else f"JAX_PLATFORMS={platforms!r}"
        raise NumericsError(
            f"JAX finds no device of {asked} here, accepted is a platform that has one, such as cpu: {said}"
        ) from error


@functools.cache
def settings(backend: str) -> dict[str, str] | None:
    """The options for programs with convolutions, as :func:`options` says; found once in a process."""
    if backend != "cpu":
        return {}
    for tried in ({}, OWN_CONVOLUTIONS):
        if _own(tried, backend):
            return dict(tried)
    return None


def _own(tried: dict[str, str], backend: str) -> bool:
    """Whether XLA keeps a small convolution to itself; an option that it does not know is no error here."""
    x, kernel = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((2, 6, 6, 32), (3, 3, 32, 32)))

    def convolve(x: Any, kernel: Any) -> Any:
        return lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    try:
        with jax.default_device(jax.local_devices(backend=backend)[0]):
            text = jax.jit(convolve, compiler_options=tried).lower(x, kernel).compile().as_text()
    except (RuntimeError, ValueError):  # XLA's INVALID_ARGUMENT: No such compile option
        return False
    return text is not None and "fusion(" not in text


def outermost(f: Callable[..., Any], given: dict[str, str] | None, **how: Any) -> Callable[..., Any]:
    """``jax.jit(f)`` with compiler options; inside another ``jit``, which has the say there, without them.

    Parameters
    ----------
    f : callable
    given : dict or None
        The options, as :func:`options` says; XLA's errors about them name the option.
    how : Any
        Other arguments of ``jax.jit``.
    """
    plain = jax.jit(f, **how)
    if not given:
        return plain
    own = jax.jit(f, compiler_options=given, **how)

    @functools.wraps(f)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return own(*args, **kwargs)
        except ValueError as error:
            if NESTED not in str(error):
                raise
            return plain(*args, **kwargs)

    return run
