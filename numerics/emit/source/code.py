"""The code tree: what emitters build, and what one printer writes.

    x @ W + c            Binary(Binary(Name("x"), "@", Name("W")), "+", Name("c"))
    h.sum(axis=1)        Call(Attribute(Name("h"), "sum"), (), (("axis", Number(1)),))

The nodes are closed and hold no text but names and literals: another target language is another printer.  How tightly an
operator binds, where brackets stand and where lines break is the printer's business; what a piece of code *is* (a
negation, a mask, a name) is asked of its node.

A difference or quotient leans to the left, as it is read: ``a - b + c`` is ``(a - b) + c``.  :func:`plus` and
:func:`times` build such chains, so that no brackets are needed that the eye does not need.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import EllipsisType

# -- expressions --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Code:
    """An expression; never made itself."""

    def children(self) -> Iterator[Code]:
        """The expressions directly inside, in reading order."""
        for f in dataclasses.fields(self):
            yield from _codes(getattr(self, f.name))

    def walk(self) -> Iterator[Code]:
        """The expression and all inside it, in reading order."""
        todo: list[Code] = [self]
        while todo:
            node = todo.pop()
            yield node
            todo += reversed(list(node.children()))

    # what emitters ask

    @property
    def is_operation(self) -> bool:
        """Whether it is written with operators: something of its own only in brackets."""
        return isinstance(self, Unary | Binary | Compare)

    @property
    def is_negated(self) -> bool:
        """Whether a minus stands in front: ``-a``, or ``-a * b / c``."""
        return isinstance(self.leading, Unary) and self.leading.op == "-"

    @property
    def leading(self) -> Code:
        """The first factor of a product or quotient; ``//`` rounds, so nothing is taken out of it."""
        node: Code = self
        while isinstance(node, Binary) and node.op in ("*", "/"):
            node = node.left
        return node

    @property
    def opposite(self) -> Code:
        """The negative: of ``-a * b`` it is ``a * b``, of ``a * b`` it is ``-a * b``."""
        if isinstance(self, Binary) and self.op in ("*", "/"):
            return Binary(self.left.opposite, self.op, self.right)
        return self.of if isinstance(self, Unary) and self.op == "-" else Unary("-", self)

    @property
    def is_masked(self) -> bool:
        """Whether it is ``jnp.where(...)``."""
        return isinstance(self, Call) and self.function == dotted("jnp.where")

    @property
    def is_conjunction(self) -> bool:
        """Whether it is ``a & b``."""
        return isinstance(self, Binary) and self.op == "&"

    @property
    def is_fractional(self) -> bool:
        """Whether a number written so is a float: a decimal, a quotient, or a constant such as ``jnp.inf``."""
        return any(
            (isinstance(n, Number) and isinstance(n.value, float))
            or (isinstance(n, Binary) and n.op == "/")
            or isinstance(n, Attribute)
            for n in self.walk()
        )

    @property
    def names(self) -> set[str]:
        """Every name that is read."""
        return {n.name for n in self.walk() if isinstance(n, Name)}


def _codes(value: object) -> Iterator[Code]:
    if isinstance(value, Code):
        yield value
    elif isinstance(value, tuple):
        for v in value:
            yield from _codes(v)


@dataclass(frozen=True)
class Name(Code):
    """An identifier."""

    name: str


@dataclass(frozen=True)
class Number(Code):
    """A number as it is written, hence no negative one: ``-3`` is ``Unary("-", Number(3))``, see :func:`number_of`."""

    value: int | float

    def __post_init__(self) -> None:
        if isinstance(self.value, bool) or not math.isfinite(self.value) or math.copysign(1, self.value) < 0:
            raise ValueError(f"Number({self.value!r}): a literal is finite and has no sign")


@dataclass(frozen=True)
class Text(Code):
    """A string literal."""

    value: str


@dataclass(frozen=True)
class Constant(Code):
    """``True``, ``False``, ``None`` or ``...``."""

    value: bool | EllipsisType | None


@dataclass(frozen=True)
class Attribute(Code):
    """``of.name``"""

    of: Code
    name: str


@dataclass(frozen=True)
class Call(Code):
    """``function(arguments, key=value)``"""

    function: Code
    arguments: tuple[Code, ...] = ()
    keywords: tuple[tuple[str, Code], ...] = ()


@dataclass(frozen=True)
class Unary(Code):
    """``-of`` or ``~of``"""

    op: str
    of: Code


@dataclass(frozen=True)
class Binary(Code):
    """``left op right`` of one of ``+ - * / // ** @ & |``"""

    left: Code
    op: str
    right: Code


@dataclass(frozen=True)
class Compare(Code):
    """``left op right`` of one of ``== != < <= > >=``"""

    left: Code
    op: str
    right: Code


@dataclass(frozen=True)
class Subscript(Code):
    """``of[parts]``"""

    of: Code
    parts: tuple[Code, ...]


@dataclass(frozen=True)
class Slice(Code):
    """``start:stop:step``, a part of a subscript."""

    start: Code | None = None
    stop: Code | None = None
    step: Code | None = None


@dataclass(frozen=True)
class Tuple(Code):
    """``(a, b)``; as a target or a returned value, without brackets."""

    items: tuple[Code, ...]


@dataclass(frozen=True)
class Dict(Code):
    """``{key: value}``"""

    items: tuple[tuple[Code, Code], ...]


@dataclass(frozen=True)
class Lambda(Code):
    """``lambda names: body``"""

    parameters: tuple[str, ...]
    body: Code


@dataclass(frozen=True)
class Each(Code):
    """``body for name in over``: in square brackets if ``listed``, else a generator."""

    body: Code
    name: str
    over: Code
    listed: bool


# -- statements ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Statement:
    """A statement; never made itself.  ``margin`` stands at its right: the numbers of its equations."""

    margin: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class Assign(Statement):
    """``target = value``"""

    target: Code
    value: Code


@dataclass(frozen=True)
class Return(Statement):
    """``return value``"""

    value: Code


@dataclass(frozen=True)
class FunctionDef(Statement):
    """``def name(parameters): body``; one inside another stands between empty lines."""

    name: str
    parameters: tuple[Code, ...]
    body: tuple[Statement, ...]
    decorators: tuple[Code, ...] = ()


@dataclass(frozen=True)
class Gap(Statement):
    """An empty line."""


# -- short ways to build them -------------------------------------------------------------------------------------


def dotted(path: str) -> Code:
    """``jnp.linalg.inv`` as nested attributes."""
    first, *rest = path.split(".")
    node: Code = Name(first)
    for name in rest:
        node = Attribute(node, name)
    return node


def call(path: str, *arguments: Code, **keywords: Code) -> Call:
    """A call of a named function, ``call("jnp.stack", a, axis=b)``."""
    return Call(dotted(path), arguments, tuple(keywords.items()))


def method(of: Code, name: str, *arguments: Code, **keywords: Code) -> Call:
    """``of.name(...)``"""
    return Call(Attribute(of, name), arguments, tuple(keywords.items()))


def number_of(value: int | float) -> Code:
    """A number with its sign.

    >>> number_of(-2)
    Unary(op='-', of=Number(value=2))
    """
    return Unary("-", Number(-value)) if value < 0 else Number(value)


def updated(of: Code, places: tuple[Code, ...], amount: Code) -> Call:
    """``of.at[places].add(amount)``"""
    return method(Subscript(Attribute(of, "at"), places), "add", amount)


def plus(left: Code, right: Code) -> Code:
    """``left + right``; ``a + (b - c)`` becomes ``(a + b) - c``, unless ``b`` has a minus of its own."""
    return _chain(left, right) if not _first_addend(right).is_negated else Binary(left, "+", right)


def _chain(left: Code, right: Code) -> Code:
    if isinstance(right, Binary) and right.op in ("+", "-"):
        return Binary(_chain(left, right.left), right.op, right.right)
    return Binary(left, "+", right)


def _first_addend(node: Code) -> Code:
    while isinstance(node, Binary) and node.op in ("+", "-"):
        node = node.left
    return node


def minus(left: Code, right: Code) -> Code:
    """``left - right``"""
    return Binary(left, "-", right)


def times(factors: list[Code]) -> Code:
    """``a * b * c``; a factor that is a product joins in, one that is a quotient keeps its brackets."""
    first, *rest = factors
    for f in rest:
        first = _joined(first, f) if _is_product(f) else Binary(first, "*", f)
    return first


def _is_product(node: Code) -> bool:
    while isinstance(node, Binary) and node.op == "*":
        node = node.left
    return not (isinstance(node, Binary) and node.op in ("/", "//"))


def _joined(left: Code, right: Code) -> Code:
    if isinstance(right, Binary) and right.op == "*":
        return Binary(_joined(left, right.left), "*", right.right)
    return Binary(left, "*", right)
