"""``dv.define``: give a name to a right-hand side, plain or recurrent."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from sympy import Basic, Eq, Expr, Piecewise, Rational
from sympy.logic.boolalg import Boolean

from .errors import DeriveError, IndexCaptureError, ShapeError, UnsupportedError
from .facts import missing_value
from .index import Index, as_sympy
from .matrices import Inverse, inherited
from .nodes import ArgMax, Reduction
from .tensor import Definition, Read, Recurrence, Tensor

Axes: TypeAlias = Index | Sequence[Index] | Sequence[tuple[Index, ...]]  # the last for coupled recurrences

DEEPEST = 64  # levels of a right-hand side: what reads and prints it goes down with a few calls a level
LONGEST_NUMBER = 1400  # bits of a whole number, a numerator or a denominator: 1e400 and more, a float has 1e308

_BLOCK: list[str] = []


@contextlib.contextmanager
def block(name: str) -> Iterator[None]:
    """Definitions made inside belong to the named block, such as one layer of a network."""
    _BLOCK.append(name)
    try:
        yield
    finally:
        _BLOCK.pop()


def define(name: str, axes: Axes, body: Expr | Tensor | Callable[..., Expr | Sequence[Expr]]) -> Tensor | Any:
    """Name a right-hand side: ``z = define("z", (b, k), Sum(x[b, i]*W[i, k], i) + c[k])``.

    Parameters
    ----------
    name : str
        One name, or several parted by blanks for coupled recurrences.
    axes : tuple of Index
        The free indices of the left-hand side, in order.  ``()`` makes a scalar.  Coupled recurrences of different axes
        take a list with a tuple for each name.
    body : sympy expression, or callable
        For a recurrence, a function of the tensor being defined: ``lambda h: tanh(h[t-1, b] + x[t, b])``; for coupled
        ones, of all of them, returning as many right-hand sides.  What the function defines on the way from the tensor
        belongs to the recurrence: the inside of a block that is read block after block.

    Returns
    -------
    Tensor, or a tuple of Tensors when several names are given.

    Raises
    ------
    IndexCaptureError
        A free index of the body that is not on the left, or an index that stands twice on the left.
    UnsupportedError
        A right-hand side that is not a scalar expression.

    >>> from derive import indices, tensor, Sum
    >>> b, i, k = indices("b i k")
    >>> x, W = tensor("x", b, i), tensor("W", i, k)
    >>> z = define("z", (b, k), Sum(x[b, i]*W[i, k], i))
    >>> z.axes
    (B, K)
    """
    if not callable(body) or isinstance(body, (Expr, Tensor)):
        return _plain(name, _axes(name, axes), body)
    names = name.replace(",", " ").split()
    if not names:
        raise DeriveError("define: give a name")
    letters = _letters(name, names, axes)
    recurrence = Recurrence()
    selves = [recurrence.stand_in(n, own) for n, own in zip(names, letters, strict=True)]
    bodies = body(*selves)
    bodies = bodies if isinstance(bodies, (tuple, list)) else (bodies,)
    if len(bodies) != len(names):
        raise DeriveError(
            f"define({name!r}): {len(names)} names but the function returned {len(bodies)} right-hand sides"
        )
    bodies = [_body(n, own, e) for n, own, e in zip(names, letters, bodies, strict=True)]
    made = [
        Tensor(n, s.axes, own, _dtype(e), None, "computed", definition=Definition(own, e), block=_block())
        for n, s, own, e in zip(names, selves, letters, bodies, strict=True)
    ]
    members = recurrence.close(made, selves)
    return members[0] if len(members) == 1 else members


def _letters(name: str, names: Sequence[str], axes: Axes) -> list[tuple[Index, ...]]:
    """The axes of each of several names: the same for all, or a list with a tuple for each."""
    if isinstance(axes, list) and all(isinstance(own, tuple) for own in axes):
        if len(axes) != len(names):
            raise ShapeError(f"define({name!r}): {len(names)} names but {len(axes)} tuples of axes")
        return [_axes(n, own) for n, own in zip(names, axes, strict=True)]
    return [_axes(name, axes)] * len(names)


def _plain(name: str, axes: tuple[Index, ...], body: Expr) -> Tensor:
    body = _body(name, axes, body)
    facts = inherited(body.body.tensor) if isinstance(body, Inverse) and isinstance(body.body, Read) else ()
    return Tensor(
        name,
        tuple(i.size for i in axes),
        axes,
        _dtype(body),
        _below(body),
        "computed",
        facts,
        definition=Definition(axes, body),
        block=_block(),
    )


def _below(body: Expr, excluded: Sequence[Boolean] = ()) -> Expr | None:
    """The range of an integer right-hand side, where it can be seen: argmax, a read, and choices among reads and 0."""
    if isinstance(body, ArgMax):
        return body.binders[0].size
    if isinstance(body, Read) and body.tensor.dtype == "int":
        none = missing_value(body.tensor)
        return body.tensor.below if none is None or Eq(body, none) in excluded else None
    if not isinstance(body, Piecewise):
        return None
    found, before = set(), list(excluded)
    for value, condition in body.args:
        if value != 0:  # 0 is in every range
            found.add(_below(value, before))
        before.append(condition)
    return found.pop() if len(found) == 1 else None


def _axes(name: str, axes: Axes) -> tuple[Index, ...]:
    if isinstance(axes, Index):
        axes = (axes,)
    axes = tuple(axes)
    for a in axes:
        if not isinstance(a, Index):
            raise ShapeError(
                f"define({name!r}, {axes}): {a!r} is not an index; the left-hand side is written with "
                f"indices made by dv.indices, as in define({name!r}, (b, k), ...)"
            )
    twice = [a for a in axes if axes.count(a) > 1]
    if twice:
        raise IndexCaptureError(
            f"define({name!r}, {axes}): index {twice[0]} is free twice on the left-hand side; give "
            f"each axis its own index, as in dv.indices('p q', size={str(twice[0].size)!r})"
        )
    return axes


def _body(name: str, axes: tuple[Index, ...], body: Expr) -> Expr:
    body = as_sympy(body, f"define({name!r})")
    if not isinstance(body, Expr) or body.is_Matrix:
        raise UnsupportedError(
            f"define({name!r}): the right-hand side is {type(body).__name__}, not a scalar SymPy "
            f"expression; a text goes through dv.parse, a condition into Piecewise"
        )
    _check_written(name, body)
    body = _scalars(body)
    left = f"{name}[{', '.join(map(str, axes))}]" if axes else name
    loose = sorted((s for s in body.free_symbols if isinstance(s, Index) and s not in axes), key=str)
    if loose:
        same = [a for a in axes if a.name == loose[0].name]
        hint = (
            f"an index {same[0]} of size {same[0].size} is on the left, but the one read has size {loose[0].size}"
            if same
            else f"put {loose[0]} on the left, or reduce over it, as in Sum(..., {loose[0]})"
        )
        raise IndexCaptureError(f"in {left} = {body}\n  index {loose[0]} is unbound: {hint}")
    for node in body.atoms(Reduction) if body.has(Reduction) else ():
        hit = [b for b in node.binders if b in axes]
        if hit:
            raise IndexCaptureError(
                f"in {left} = {body}\n  index {hit[0]} is free on the left and bound by "
                f"{type(node).__name__}; use another letter for one of the two"
            )
    return body


def _check_written(name: str, body: Expr) -> None:
    """Refuse what nobody can read, and no float can hold: formulas inside formulas without end, endless numbers."""
    level: list[Basic] = [body]
    height = 0
    while level:
        level = list(dict.fromkeys(a for e in level for a in e.args))
        height += bool(level)
        if height > DEEPEST:
            raise UnsupportedError(
                f"define({name!r}): the right-hand side is nested more than {DEEPEST} levels deep; give its inner parts "
                f"names of their own, as in u = dv.define('u', ...)"
            )
    for number in body.atoms(Rational):
        if max(abs(number.p), number.q).bit_length() > LONGEST_NUMBER:
            raise UnsupportedError(
                f"define({name!r}): a number of more than {int(LONGEST_NUMBER * 0.301)} digits, which no float holds"
            )


def _scalars(e: Basic) -> Basic:
    """A scalar tensor inside a SymPy function, as in ``exp(c)``, becomes its read; one with axes is refused."""
    if isinstance(e, Tensor):
        return e._sympy_()
    if isinstance(e, Read):
        return Read(e.tensor, *(_scalars(x) for x in e.idx))
    args = [_scalars(a) for a in e.args]
    return e.func(*args) if tuple(args) != e.args else e


def _dtype(body: Expr) -> str:
    """int for argmax, and for integer arithmetic on integer tensors and indices."""
    if isinstance(body, ArgMax):
        return "int"
    reads = body.atoms(Read)
    ints = reads and all(r.tensor.dtype == "int" for r in reads) and body.is_integer and not body.has(Reduction)
    return "int" if ints else "float"


def _block() -> str:
    return _BLOCK[-1] if _BLOCK else ""
