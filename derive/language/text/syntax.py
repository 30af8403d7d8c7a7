"""The text form, first half: tokens to a syntax tree.  The grammar stands in :mod:`derive.language.text.parse`.

A recursive-descent parser, written by hand.  Nothing here knows tensors; nothing is ever evaluated.
Chains (``a + b - c``, ``a*b/c``, ``p <= q <= r``) are one node each, so only real nesting uses the stack, and nesting
has a limit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from derive.language.errors import DeriveError
from derive.language.hints import did_you_mean

from .tokens import Text, Token, tokenize

DEPTH = 60  # levels of nesting; deeper expressions are named in pieces
DTYPES = ("float", "int", "bool", "function")
ROLE_WORDS = ("parameter", "data", "random", "state", "constant")
FACT_WORDS = (
    "positive", "nonnegative", "symmetric", "orthogonal", "unit", "sums", "missing", "diagonal", "lower", "upper",
    "toeplitz", "free",
)  # fmt: skip
SECOND_WORDS = {"positive": "definite", "lower": "triangular", "upper": "triangular"}  # of facts of two words
REDUCTIONS = ("sum", "mean", "max", "min", "argmax", "prod")
MATRICES = ("inverse", "inv", "det", "logdet", "logabsdet")
RESERVED = ("and", "or", "not")
COMPARISONS = ("<=", ">=", "==", "!=", "<", ">")

_INFIX = {
    "or": ("or", 1),
    "and": ("and", 2),
    **dict.fromkeys(COMPARISONS, ("compare", 3)),
    "+": ("sum", 4),
    "-": ("sum", 4),
    "*": ("product", 5),
    "/": ("product", 5),
    "//": ("product", 5),
    "^": ("power", 6),
}


@dataclass(frozen=True)
class Node:
    """One place in the tree: ``kind`` says what, ``token`` says where."""

    kind: str  # number name read reduce matrix call tuple sum product negative power compare and or not bracket
    token: Token
    args: tuple[Node, ...] = ()
    words: tuple[Token, ...] = ()  # operators of a chain, or the indices of a reduction


@dataclass(frozen=True)
class Declaration:
    """``x: float[b, i] < K  parameter  positive``."""

    name: Token
    dtype: str
    axes: tuple[Node, ...]
    below: Node | None
    role: str
    facts: tuple[FactWords, ...]


@dataclass(frozen=True)
class Property:
    """``positive``, ``symmetric``, ...: a fact that is one word."""

    word: Token


@dataclass(frozen=True)
class MissingValue:
    """``missing -100``."""

    word: Token
    value: Node


@dataclass(frozen=True)
class SumsTo:
    """``sums to 1 over k``."""

    word: Token
    value: Node
    over: Token


FactWords: TypeAlias = Property | MissingValue | SumsTo


@dataclass(frozen=True)
class Statement:
    """A definition, ``name[idx] = body``."""

    name: Token
    idx: tuple[Token, ...]
    body: Node


@dataclass(frozen=True)
class Letters:
    """``index p q : N``."""

    names: tuple[Token, ...]
    size: Node


@dataclass(frozen=True)
class SizeNames:
    """``size S P``."""

    names: tuple[Token, ...]


Line: TypeAlias = Declaration | Statement | Letters | SizeNames
T = TypeVar("T")


class Parser:
    """Recursive descent over the tokens; one method per line of the grammar."""

    def __init__(self, text: str) -> None:
        self.source = Text(text)
        self.error = self.source.error
        self.tokens = tokenize(text, self.source)
        self.at = 0
        self.depth = 0

    # -- small tools -------------------------------------------------------------------------------------------------

    @property
    def now(self) -> Token:
        return self.tokens[self.at]

    def peek(self, n: int = 1) -> Token:
        return self.tokens[min(self.at + n, len(self.tokens) - 1)]

    def take(self) -> Token:
        token = self.now
        self.at = min(self.at + 1, len(self.tokens) - 1)
        return token

    def is_op(self, *texts: str) -> bool:
        return self.now.kind == "op" and self.now.text in texts

    def is_word(self, *texts: str) -> bool:
        return self.now.kind == "name" and self.now.text in texts

    def wanted(self, what: str) -> DeriveError:
        return self.error(self.now, f"found {self.now}, expected {what}")

    def expect(self, text: str, what: str = "") -> Token:
        if not self.is_op(text):
            raise self.wanted(what or repr(text))
        return self.take()

    def name(self, what: str) -> Token:
        if self.now.kind != "name":
            raise self.wanted(what)
        if self.now.text in RESERVED:
            raise self.wanted(f"{what} ({self.now.text!r} is a word of the language)")
        return self.take()

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > DEPTH:
            raise self.error(self.now, f"nested more than {DEPTH} levels deep; give the inner parts names of their own")

    def listed(self, close: str, item: Callable[[], T]) -> tuple[T, ...]:
        """``item, item, ...`` up to the closing bracket, which is taken."""
        found: list[T] = []
        while not self.is_op(close):
            if found:
                self.expect(",", f"',' or {close!r}")
            found.append(item())
        self.take()
        return tuple(found)

    # -- statements --------------------------------------------------------------------------------------------------

    def program(self) -> list[Line]:
        found: list[Line] = []
        while self.now.kind != "end":
            if self.now.kind == "newline":
                self.take()
                continue
            found += self.statement()
            if self.now.kind not in ("newline", "end"):
                factor = self.now.kind in ("name", "number") or self.is_op("(", "[")
                hint = "; write * between factors" if factor else ""
                raise self.wanted(f"an operator, a new line or ';'{hint}")
        return found

    def statement(self) -> list[Line]:
        if self.is_word("index", "size") and self.peek().kind == "name":
            return [self.letters() if self.now.text == "index" else self.sizes()]
        name = self.name("a declaration (x: float[b]), a definition (y[b] = ...), 'index' or 'size'")
        if self.is_op(":"):
            found: list[Line] = [self.declaration(name)]
            while self.now.kind == "name" and self.peek().text == ":":
                found.append(self.declaration(self.take()))
            return found
        idx: tuple[Token, ...] = ()
        if self.is_op("["):
            self.take()
            idx = self.listed(
                "]",
                lambda: self.name("an index letter (an initial value is written where(t == 0, start[b], h[t - 1, b]))"),
            )
        self.expect("=", f"':' to declare {name.text} or '=' to define it" if not idx else "'='")
        return [Statement(name, idx, self.expression())]

    def letters(self) -> Letters:
        self.take()
        names = [self.name("an index letter")]
        while not self.is_op(":"):
            if self.is_op(","):
                self.take()
            names.append(self.name("another index letter, or ':' and the size"))
        self.take()
        return Letters(tuple(names), self.addition())

    def sizes(self) -> SizeNames:
        self.take()
        names = [self.name("the name of a size")]
        while self.now.kind == "name" or self.is_op(","):
            if self.is_op(","):
                self.take()
            names.append(self.name("the name of a size"))
        return SizeNames(tuple(names))

    def declaration(self, name: Token) -> Declaration:
        self.expect(":")
        if not self.is_word(*DTYPES):
            hint = did_you_mean(self.now.text, DTYPES) if self.now.kind == "name" else ""
            raise self.wanted(f"a type: float, int or bool{hint}")
        dtype, role = self.take().text, "data"
        axes: tuple[Node, ...] = ()
        below: Node | None = None
        facts: list[FactWords] = []
        if self.is_op("["):
            self.take()
            axes = self.listed("]", self.addition)
        if self.is_op("<"):
            self.take()
            below = self.addition()
        while self.now.kind == "name" and self.peek().text != ":":
            word = self.take()
            if word.text in ROLE_WORDS:
                role = word.text
            elif word.text == "sums":
                facts.append(self.sums_to(word))
            elif word.text == "missing":
                facts.append(MissingValue(word, self.addition()))
            elif (second := SECOND_WORDS.get(word.text)) and self.is_word(second):
                self.take()
                facts.append(Property(word._replace(text=f"{word.text} {second}")))
            elif word.text in ("lower", "upper"):
                raise self.wanted(f"'triangular', as in: {word.text} triangular")
            elif word.text in FACT_WORDS:
                facts.append(Property(word))
            else:
                raise self.error(
                    word,
                    f"found {word.text!r}, expected a role ({', '.join(ROLE_WORDS)}) or a fact "
                    f"(positive, nonnegative, symmetric, positive definite, orthogonal, unit, sums to 1 over k, missing -100, "
                    f"diagonal, lower triangular, upper triangular, toeplitz, free)"
                    + did_you_mean(word.text, ROLE_WORDS + FACT_WORDS),
                )
            if self.is_op(","):
                self.take()
        return Declaration(name, dtype, axes, below, role, tuple(facts))

    def sums_to(self, word: Token) -> SumsTo:
        if not self.is_word("to"):
            raise self.wanted("'to', as in: sums to 1 over k")
        self.take()
        value = self.addition()
        if not self.is_word("over"):
            raise self.wanted("'over' and an index, as in: sums to 1 over k")
        self.take()
        return SumsTo(word, value, self.name("the index that is summed"))

    # -- expressions: precedence climbing, one loop for all the binary operators ------------------------------------

    def expression(self, floor: int = 1) -> Node:
        """An expression whose operators bind at least as tightly as ``floor``."""
        left = self.prefix()
        while True:
            kind, level = _INFIX.get(self.now.text, ("", 0)) if self.now.kind in ("op", "name") else ("", 0)
            if level < max(floor, 1):
                return left
            if kind == "power":  # binds to the right: a^b^c is a^(b^c), and -a^b is -(a^b)
                left = Node(kind, self.take(), (left, self.nested(level)))
                continue
            parts, words = [left], []
            while _INFIX.get(self.now.text, ("",))[0] == kind and self.now.kind in ("op", "name"):
                words.append(self.take())
                parts.append(self.expression(level + 1))
            left = Node(kind, words[0], tuple(parts), tuple(words))

    def addition(self) -> Node:
        """An expression without comparisons or logic, such as a size."""
        return self.expression(_INFIX["+"][1])

    def nested(self, floor: int) -> Node:
        self.deeper()
        made = self.expression(floor)
        self.depth -= 1
        return made

    def prefix(self) -> Node:
        if self.is_op("-", "+"):
            token = self.take()
            inside = self.nested(_INFIX["^"][1])
            return Node("negative", token, (inside,)) if token.text == "-" else inside
        if self.is_word("not"):
            return Node("not", self.take(), (self.nested(_INFIX["<"][1]),))
        return self.atom()

    def atom(self) -> Node:
        self.deeper()
        if self.now.kind == "number":
            made = Node("number", self.take())
        elif self.now.kind == "name":
            made = self.named()
        elif self.is_op("("):
            made = self.parentheses()
        elif self.is_op("["):
            token = self.take()
            made = Node("bracket", token, (self.expression(),))
            self.expect("]", "']' after the condition")
        else:
            raise self.wanted("a number, a name, '(' or a condition in '[ ]'")
        self.depth -= 1
        return made

    def named(self) -> Node:
        name = self.name("a name")
        if self.is_op("("):
            self.take()
            args = self.listed(")", self.expression)
            return (
                Node("matrix", name, (*args, *self.element(name)))
                if name.text in MATRICES
                else Node("call", name, args)
            )
        if not self.is_op("["):
            return Node("name", name)
        self.take()
        args = self.listed("]", self.expression)
        if not (self.is_op("(") and name.text in (*REDUCTIONS, *MATRICES)):
            return Node("read", name, args)
        for a in args:
            if a.kind != "name":
                raise self.error(
                    a.token,
                    f"{name.text}[...] takes index letters; a condition goes inside, as in sum[q]([q <= p]*x[q])",
                )
        self.take()
        body = self.expression()
        self.expect(")", "')' or an operator")
        kind = "reduce" if name.text in REDUCTIONS else "matrix"
        return Node(kind, name, (body, *self.element(name)), tuple(a.token for a in args))

    def element(self, name: Token) -> tuple[Node, ...]:
        """The two positions that an inverse is read at; a determinant is a number."""
        if not name.text.startswith("inv"):
            return ()
        self.expect(
            "[", f"'[' and two indices: {name.text} is a matrix, read at an element, as in {name.text}(A)[i, j]"
        )
        return self.listed("]", self.expression)

    def parentheses(self) -> Node:
        token = self.take()
        first = self.expression()
        if not self.is_op(","):
            self.expect(")", "')' or an operator")
            return first
        self.take()
        return Node("tuple", token, (first, *self.listed(")", self.expression)))
