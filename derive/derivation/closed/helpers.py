"""Names for what a closed form would repeat: ``R = inv(X'C X)``."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import replace
from typing import TypeAlias

from derive.language.errors import DeriveError
from derive.language.formulas.shapes import shapes
from derive.language.formulas.syntax import parse_formula
from derive.language.formulas.tree import CALLS, Declaration, Formula

from .printing import plain

Helper: TypeAlias = tuple[str, Formula]
LONG = 7  # characters of what is worth a name
MATRICES, VECTORS = "RSTUVZ", "rstuvz"


def named_parts(f: Formula, declared: Mapping[str, Declaration]) -> tuple[Formula, tuple[Helper, ...]]:
    """The formula with its repeated parts by names, and what these are, each in those before it; longest parts first."""
    taken = {*f.names(), *declared, *CALLS, "T", *(str(d) for t in declared.values() for d in t.dims)}
    helpers: list[Helper] = []
    while True:
        whole = [f, *(value for _, value in helpers)]
        counts = Counter(g for part in whole for g in part.nodes() if _worth(g))
        found = sorted((g for g, n in counts.items() if n > 1), key=lambda g: (-len(plain(g)), plain(g)))
        made = next(((g, name) for g in found if (name := _name(g, declared, helpers, taken)) is not None), None)
        if made is None:
            return f, tuple(helpers)
        part, name = made
        taken.add(name)
        lone = Formula("name", text=name)
        f = _put(f, part, lone)
        helpers = [(name, part), *((n, _put(value, part, lone)) for n, value in helpers)]


def _worth(f: Formula) -> bool:
    return f.op not in ("name", "number", "()", "neg", "vector", "matrix", "eye", "size") and len(plain(f)) >= LONG


def _name(part: Formula, declared: Mapping[str, Declaration], helpers: list[Helper], taken: Set[str]) -> str | None:
    """A free letter, a capital for a matrix; None of what has no shape of its own, as a product with ``vector(1)``."""
    for name, value in helpers:
        part = _put(part, Formula("name", text=name), value)
    try:
        read = parse_formula(plain(part)).formula
        _, nodes, sizes = shapes(read, declared)
    except DeriveError:
        return None
    rows, columns = nodes[id(read)]
    letters = VECTORS if sizes.find(columns) == 1 else MATRICES
    numbered = (f"{letters[0]}{k}" for k in itertools.count(2))
    return next(n for n in itertools.chain(letters, numbered) if n not in taken)


def _put(f: Formula, part: Formula, lone: Formula) -> Formula:
    if f == part:
        return lone
    return replace(f, args=tuple(_put(a, part, lone) for a in f.args))
