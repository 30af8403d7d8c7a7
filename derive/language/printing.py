"""How an object of the language is shown, without the language knowing how: functions that call what is registered.

A record calls down into here from ``__str__`` and ``_repr_latex_``; :mod:`derive.show.text` and
:mod:`derive.show.latex` register what they write for each kind of object.  So records need no printer, and printers may
read every record.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatch
from html import escape


@singledispatch
def line(x: object) -> str:
    """One readable line, such as ``dW[i,k] = sum_b x[b,i] dz[b,k]``."""
    raise TypeError(f"no printer is registered for {type(x).__name__}")


@singledispatch
def latex(x: object) -> str:
    """LaTeX without dollar signs."""
    raise TypeError(f"no LaTeX is registered for {type(x).__name__}")


@singledispatch
def html(x: object) -> str:
    """One element of HTML, for a notebook."""
    raise TypeError(f"no HTML is registered for {type(x).__name__}")


def html_table(
    head: Iterable[str], rows: Iterable[Iterable[object]], caption: str = "", below: Iterable[str] = ()
) -> str:
    """A table of texts as one element of HTML, with a line over it and lines under it.

    >>> html_table(["tensor"], [["dW"]], "a < b")
    '<div><p><b>a &lt; b</b></p><table><thead><tr><th>tensor</th></tr></thead><tbody><tr><td>dW</td></tr></tbody></table></div>'
    """
    titles = "".join(f"<th>{escape(h)}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(c))}</td>" for c in row) + "</tr>" for row in rows)
    over = f"<p><b>{escape(caption)}</b></p>" if caption else ""
    under = "".join(f"<p>{escape(text)}</p>" for text in below)
    return f"<div>{over}<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>{under}</div>"
