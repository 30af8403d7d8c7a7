"""Sizes that must be equal: two branches that meet, groups that divide, a reshape.

Each axis starts with a symbolic size of its own.  Where a network says that two of them are one (``Add`` of two
branches) or that one is a multiple (channels in 4 groups), the sizes are solved for, and the model is put together
again with the solution; so every read is in range by the sizes alone, and the derivation stays symbolic.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from sympy import Expr, Integer, Mul, expand, floor

from derive.language.index import Index, Size


def quotient(e: Expr, n: int) -> Expr:
    """``floor(e/n)``, with nested floors made one: ``floor(floor(a/2)/2) = floor(a/4)``.

    >>> from derive import size
    >>> quotient(quotient(size("H"), 2), 2)
    floor(H/4)
    """
    for f in e.atoms(floor):
        rest = expand(e - f)
        if not rest.has(floor):
            e = f.args[0] + rest
            break
    return floor(e / n)


def solve(equations: Iterable[tuple[Expr, Expr]], sizes: dict[str, int]) -> dict[Size, Expr]:
    """A substitution of sizes that makes every pair of expressions equal (their numbers are equal already)."""
    found: dict[Size, Expr] = {}
    for a, b in equations:
        a, b = expand(a.xreplace(found)), expand(b.xreplace(found))
        if expand(a - b) == 0:
            continue
        made = _one(a, b, {**sizes, **numbers(found, sizes)})
        found = {s: e.xreplace(made) for s, e in found.items()} | made
    return found


def _common(a: Expr, b: Expr, sizes: Mapping[str, int]) -> dict[Size, Expr]:
    """``3*g = 2*h`` solved by what both are multiples of: ``g = 2*g_2``, ``h = 3*g_2``."""
    (m, g), (n, h) = a.as_coeff_Mul(), b.as_coeff_Mul()
    if not (isinstance(g, Size) and isinstance(h, Size)) or g == h:
        return {}
    shared = math.gcd(int(m), int(n))
    m, n = int(m) // shared, int(n) // shared
    part = Size(f"{g.name}_{n}")
    return {g: n * part, h: m * part} if sizes[g.name] % n == 0 and part.name not in sizes else {}


def numbers(found: Mapping[Size, Expr], sizes: Mapping[str, int]) -> dict[str, int]:
    """The numbers of sizes that a substitution brought in, such as ``H_2``."""
    out = {}
    for s, e in found.items():
        coefficient, rest = e.as_coeff_Mul()
        if isinstance(rest, Size) and rest.name not in sizes and s.name in sizes:
            out[rest.name] = sizes[s.name] // int(coefficient)
    return out


def _one(a: Expr, b: Expr, sizes: Mapping[str, int]) -> dict[Size, Expr]:
    order = list(sizes)
    alone = [(one, other) for one, other in ((a, b), (b, a)) if isinstance(one, Size) and one not in other.free_symbols]
    if alone:  # the later one goes
        one, other = max(alone, key=lambda pair: order.index(pair[0].name) if pair[0].name in order else -1)
        return {one: other}
    made = _multiple(b, a) or _multiple(a, b) or _common(a, b, sizes)
    if made:
        return made
    for s in sorted(a.free_symbols | b.free_symbols, key=str):
        for n in (2, 4, 8, 16, 32, 64):
            made = {s: n * Size(f"{s.name}_{n}")}
            if sizes[s.name] % n == 0 and expand(a.xreplace(made) - b.xreplace(made)) == 0:
                return made
    return {s: Integer(sizes[s.name]) for s in sorted(a.free_symbols | b.free_symbols, key=str)}


def _multiple(one: Expr, other: Expr) -> dict[Size, Expr]:
    """``4*g = C*2`` solved for a size that stands alone with a number: ``g = C/2`` if that is whole, else nothing."""
    coefficient, rest = one.as_coeff_Mul()
    if isinstance(rest, Size) and rest not in other.free_symbols:
        solved = expand(other / coefficient)
        if all(c.is_Integer for c in solved.as_coefficients_dict().values()):
            return {rest: solved}
    return {}


def number(e: Expr, sizes: dict[str, int]) -> Expr:
    """An expression of sizes with numbers put in."""
    return expand(e.xreplace({s: Integer(sizes[s.name]) for s in e.free_symbols if s.name in sizes}))


def product(letters: Iterable[Index]) -> Expr:
    return Mul(*(i.size for i in letters))


def radix(letters: Iterable[Index]) -> Expr:
    """The position of an element in row-major order: ``(u*V + v)*C + c``."""
    total = Integer(0)
    for i in letters:
        total = expand(total * i.size) + i
    return expand(total)
