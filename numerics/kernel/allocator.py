"""How the C library gives memory back: a switch for programs whose arrays are tens of megabytes, on Linux with glibc."""

from __future__ import annotations

import ctypes
import warnings

TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8  # of glibc's malloc.h
KEEP = 2**31 - 1
_PINNED: list[bool] = []


def pin_allocator() -> bool:
    """Keep freed memory in this process instead of giving it back to the system; call it before the first JAX computation.

    glibc maps arrays of more than 32 MiB anew at each step and gives them back after it, so that every page of them is a fault
    each time.  With mappings off, trimming off and one arena, a step gets the pages that the step before had.  What is gained,
    and lost, stands in ``docs/performance.md``; it is off unless called, for the process keeps the most memory it ever held.

    Returns
    -------
    bool
        Whether it is in force.  Elsewhere than on glibc (musl, macOS, Windows) nothing is changed, which a warning says.

    Examples
    --------
    >>> import numerics as nx
    >>> in_force = nx.pin_allocator()  # doctest: +SKIP
    """
    if _PINNED:
        return True
    library = _glibc()
    if library is None:
        warnings.warn("pin_allocator: the C library here is not glibc; nothing is changed", stacklevel=2)
        return False
    done = [library.mallopt(what, to) for what, to in ((MMAP_MAX, 0), (TRIM_THRESHOLD, KEEP), (ARENA_MAX, 1))]
    if not all(done):
        warnings.warn("pin_allocator: glibc refused an option of mallopt; the rest is in force", stacklevel=2)
    _PINNED.append(True)
    return True


def pinned() -> bool:
    """Whether :func:`pin_allocator` is in force."""
    return bool(_PINNED)


def _glibc() -> ctypes.CDLL | None:
    """The C library of this process, if it is glibc."""
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  musl and macOS have none
        library.mallopt  # noqa: B018
    except (OSError, TypeError, AttributeError):  # TypeError: Windows has no library without a name
        return None
    return library
