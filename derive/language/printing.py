"""How an object of the language is shown, without the language knowing how: two functions that call what is registered.

A record calls down into here from ``__str__`` and ``_repr_latex_``; :mod:`derive.show.text` and
:mod:`derive.show.latex` register what they write for each kind of object.  So records need no printer, and printers may
read every record.
"""

from __future__ import annotations

from functools import singledispatch


@singledispatch
def line(x: object) -> str:
    """One readable line, such as ``dW[i,k] = sum_b x[b,i] dz[b,k]``."""
    raise TypeError(f"no printer is registered for {type(x).__name__}")


@singledispatch
def latex(x: object) -> str:
    """LaTeX without dollar signs."""
    raise TypeError(f"no LaTeX is registered for {type(x).__name__}")
