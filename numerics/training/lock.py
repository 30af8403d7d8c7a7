"""One writer at a time: a lock on a folder, which ends with the process that holds it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from numerics.errors import NumericsError

try:
    import fcntl
except ModuleNotFoundError:  # a system without flock: nothing is locked there
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder (made if need be) for writing; it is the folder itself that is locked, so nothing is left in it.

    Raises
    ------
    NumericsError
        Where somebody else holds it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NumericsError(f"{folder}: cannot be made a folder: {error.strerror or error}") from None
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NumericsError(
                f"{folder}: another run is writing to this folder; give another folder, or wait until it ends"
            ) from None
        except OSError:
            pass  # a file system that knows no locks
        yield
    finally:
        os.close(handle)  # and with it the lock
