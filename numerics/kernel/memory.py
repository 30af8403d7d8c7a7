"""Full Jacobians and Hessians that would not fit: said with their bytes before anything is computed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import reduce

from sympy import Integer

from derive.language.index import Size
from derive.program.derived import Derived
from numerics.errors import NumericsError


def physical_memory() -> int:
    """Bytes of this machine's memory; 8 GiB where it does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 8 << 30


def result_bytes(
    d: Derived, sizes: Mapping[str, int] | Mapping[Size, int], itemsize: int = 4
) -> dict[str | tuple[str, str], int]:
    """Bytes of every block of a Hessian or Jacobian whose sizes are known, by key.

    >>> import derive as dv
    >>> i = dv.index("i")
    >>> w = dv.tensor("w", i)
    >>> d = dv.hessian(dv.define("loss", (), dv.Sum(w[i]**2, i)), [w])
    >>> result_bytes(d, {"I": 1000})
    {('w', 'w'): 4000000}
    """
    found: dict[str | tuple[str, str], int] = {}
    known = {n if isinstance(n, Size) else Size(str(n)): Integer(v) for n, v in sizes.items()}
    for group, value in d.results:
        if group in ("hessian", "jacobian"):
            for key, t in value.items():
                axes = [a.xreplace(known) for a in t.axes]
                if all(a.is_number for a in axes):
                    found[key] = reduce(lambda n, a: n * int(a), axes, itemsize)
    return found


def check_results(d: Derived, sizes: Mapping[Size, int], itemsize: int = 4, limit: int | None = None) -> None:
    """Refuse results that take more than ``limit`` bytes, half of the machine's memory if not given.

    Raises
    ------
    numerics.NumericsError
        With the bytes, the largest block, and what would fit.
    """
    if d.kind not in ("hessian", "jacobian"):
        return
    blocks = result_bytes(d, sizes, itemsize)
    needed, limit = sum(blocks.values()), physical_memory() // 2 if limit is None else limit
    if needed <= limit:
        return
    key = max(blocks, key=lambda k: blocks[k])
    shown = f"[{', '.join(map(repr, key))}]" if isinstance(key, tuple) else f"[{key!r}]"
    instead = (
        (
            'Hessian-vector products, dv.hvp(loss, wrt), need no block; nx.compile(d, form="structured") returns the '
            "compact arrays of the equations"
        )
        if d.kind == "hessian"
        else "dv.vjp(y, wrt) needs no Jacobian"
    )
    raise NumericsError(
        f"{d.name}: the {'Hessian' if d.kind == 'hessian' else 'Jacobian'} takes {needed:,} bytes at these "
        f"sizes ({d.kind}{shown} alone {blocks[key]:,}), more than the {limit:,} that may be used; {instead}"
    )
