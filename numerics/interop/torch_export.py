"""``torch.export`` without what it prints, and with the lines of an author's own functions."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from .source import Frame
from .torch_checks import refuse_export


def exported(module: Any, args: Sequence[Any], specs: Any) -> Any:
    """The module exported, before decomposition.

    Raises
    ------
    InputError, UnsupportedError
        Where torch cannot, with what it says.
    """
    import torch

    before = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)  # torch prints what it raises
        try:
            with _lines_of_functions():
                return torch.export.export(module, tuple(args), dynamic_shapes={"args": tuple(specs)}, strict=False)
        except Exception as error:
            refuse_export(error)
        finally:
            logging.disable(before)


class _Authors:
    """Of (file, function): those that are of no library."""

    def __contains__(self, place: tuple[str, str]) -> bool:
        return not Frame(place[0], 0, place[1]).is_library

    def add(self, place: tuple[str, str]) -> None:
        """Every function of an author's counts."""


@contextlib.contextmanager
def _lines_of_functions() -> Iterator[None]:
    """torch keeps only the lines of functions called ``forward``, and of those registered: here the author's all are."""
    from torch.fx import proxy as tracing

    proxy: Any = tracing
    before = getattr(proxy, "_STACK_TRACE_ANCHORS", None)
    if before is None:  # another version of torch: without the lines of losses and helpers
        yield
        return
    proxy._STACK_TRACE_ANCHORS = _Authors()
    try:
        yield
    finally:
        proxy._STACK_TRACE_ANCHORS = before
