"""Identifiers and text that are safe in generated source.

A tensor may have any name (``lambda``, ``jnp``, ``x; import os``), so nothing a user wrote enters the source unmapped:
identifiers come from :class:`Names`, dictionary keys from :func:`literal`, header lines from :func:`comment`.
"""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Hashable, Iterable

RESERVED = (
    frozenset(keyword.kwlist)
    | frozenset(keyword.softkwlist)
    | frozenset(dir(builtins))
    | {"jax", "jnp", "lax", "math", "np", "numpy", "self", "cls"}
)

LONGEST = 48  # characters of an identifier: one that fits no line is not readable, nor can a line be broken inside it

GREEK = {
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "ε": "eps",
    "ζ": "zeta",
    "η": "eta",
    "θ": "theta",
    "κ": "kappa",
    "λ": "lam",
    "μ": "mu",
    "ν": "nu",
    "ξ": "xi",
    "π": "pi",
    "ρ": "rho",
    "σ": "sigma",
    "τ": "tau",
    "φ": "phi",
    "χ": "chi",
    "ψ": "psi",
    "ω": "omega",
    "'": "_prime",
    "′": "_prime",
    "∂": "d",
    "∇": "grad_",
}


def identifier(name: str) -> str:
    """A readable identifier for any name (not yet unique).

    >>> identifier("dW"), identifier("dγ"), identifier("lambda"), identifier("x; import os"), identifier("2nd")
    ('dW', 'd_gamma', 'lambda_', 'x_import_os', 'v_2nd')
    """
    text = "".join(GREEK.get(ch, ch) for ch in re.sub(r"^d(?=[α-ω])", "d_", name))  # dγ is the adjoint d_gamma
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    text = re.sub(r"\W+", "_", text)[:LONGEST].strip("_") or "v"
    text = f"v_{text}" if text[0].isdigit() else text
    return f"{text}_" if text in RESERVED else text


class Names:
    """Unique identifiers for one generated function; the same key always gets the same one."""

    def __init__(self, taken: Iterable[str] = ()):
        self.taken = set(taken)
        self.given: dict[Hashable, str] = {}

    def of(self, key: Hashable, *hints: str) -> str:
        """The identifier of ``key``: the first free hint, else the last one with a number."""
        if key not in self.given:
            self.given[key] = self.fresh(*hints)
        return self.given[key]

    def fresh(self, *hints: str) -> str:
        wanted = [identifier(h) for h in hints]
        for name in wanted:
            if name not in self.taken:
                break
        else:
            base = wanted[-1] if wanted[-1][-1] != "_" else wanted[-1][:-1]
            base += "_" if base[-1].isdigit() else ""
            name = next(f"{base}{n}" for n in range(2, 10**6) if f"{base}{n}" not in self.taken)
        self.taken.add(name)
        return name


def literal(name: str | tuple[str, ...]) -> str:
    """A Python literal of a name or a tuple of names, in double quotes where that needs no escape."""
    if isinstance(name, tuple):
        return f"({', '.join(map(literal, name))})"
    text = ascii(name)
    return f'"{text[1:-1]}"' if text[0] == "'" and '"' not in text else text


def comment(text: str) -> str:
    r"""Text on one line that can neither end a docstring or a comment nor escape from it.

    >>> comment("one" + chr(10) + "two" + 3 * chr(34))
    "one two'''"
    """
    text = "".join(ch if ch.isprintable() else " " for ch in text)
    return text.replace("\\", "\\\\").replace('"""', "'''")
