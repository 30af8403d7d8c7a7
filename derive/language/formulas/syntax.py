r"""The text of a matrix formula -> its syntax tree; a grammar by precedence, and nothing is ever evaluated.

    formula      = {declaration (";" | newline)} [NAME "="] sum
    declaration  = NAME {"," NAME} ":" ("scalar" | size | size "x" size) {fact}
    fact         = "symmetric" | "positive" ["definite"]
    sum          = product {("+" | "-") product}
    product      = unary {("*" | "/" | "\\" | ".*" | "./") unary | power}
    unary        = "-" unary | power
    power        = postfix [("^" | ".^") unary]
    postfix      = atom {"'" | "^T" | "^-T"}
    atom         = NUMBER | NAME | NAME "(" value {"," value} ")" | "(" value ")" | "||" sum "||"
    value        = sum [">" sum]

The notation is that of matrixcalculus.org: ``*`` is the matrix product (or a scaling), ``.*`` acts element by element,
``'`` transposes, functions of numbers act on each element.  As in books, a product may go without its sign (``2 X'X``),
``A\b`` is ``solve(A, b)``, ``||x||`` the norm, ``a^T`` a transpose, ``adj(X)`` the adjugate of a regular matrix, and
``(r > 0)`` one where that holds and zero elsewhere.

References: Laue, Mitterreiter, Giesen, *Computing Higher Order Derivatives of Matrix and Tensor Expressions*, 2018.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn, TypeAlias

from sympy import Expr

from derive.language.errors import ParseError
from derive.language.functions import FUNCTIONS

ELEMENTWISE = (*(f.text[0] for f in FUNCTIONS.values() if f.nargs == 1), "sqrt")
CALLS = {
    "inv": 1,
    "det": 1,
    "logdet": 1,
    "tr": 1,
    "trace": 1,
    "norm1": 1,
    "norm2": 1,
    "sum": 1,
    "diag": 1,
    "vector": 1,
    "matrix": 1,
    "eye": 1,
    "size": 1,
    "kron": 2,
    "solve": 2,
    "transpose": 1,
    "adj": 1,
    **dict.fromkeys(ELEMENTWISE, 1),
}
OF_SIZES = ("eye", "size")  # eye(n), eye(3); size(n) is the number n where it stands as a value
PRODUCTS = ("*", "/", ".*", "./")
TOKEN = re.compile(
    r"(?P<space>[ \t]+)|(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[^\W\d]\w*)|(?P<op>\.\*|\./|\.\^|\.'|\|\||[-+*/\\^'(),:=;>\n])"
)
SIZES_TAKEN = {
    "eye": "the size of the identity: a declared size as in eye(n), a number as in eye(3), or eye(1) for the size that "
    "fits; c times the identity is c*eye(1)",
    "size": "the name of a declared size, as in  X: m x n; size(n)*tr(X'*X)",
}
DEEPEST = 100
SHOWN = 110  # characters of the line that an error shows
LONGEST_NUMBER, LARGEST_EXPONENT = 40, 300


Token: TypeAlias = tuple[str, str, int]  # number, name, op or end; its text; where it starts


@dataclass(frozen=True)
class Formula:
    """One node: ``op`` is "number", "name", "+", "-", "*", ".*", "/", "./", "^", ".^", "'", "neg" or a function.

    ``text`` is the number or the name.
    """

    op: str
    args: tuple[Formula, ...] = ()
    text: str = ""

    def __str__(self) -> str:
        if self.op in ("number", "name"):
            return self.text
        plain = [str(a) for a in self.args]  # each once: a sum of n terms is n deep
        shown = [
            f"({text})" if a.op in ("+", "-", "neg") or (a.op in ("*", "/") and self.op in ("^", ".^", "'")) else text
            for a, text in zip(self.args, plain, strict=True)
        ]
        if self.op in ("+", "-"):
            return f"{plain[0]} {self.op} {shown[1]}"
        if self.op == "neg":
            return f"-{shown[0]}"
        if self.op == "'":
            return f"{shown[0]}'"
        if self.op == ">":
            return f"({plain[0]} > {plain[1]})"
        if len(self.args) == 2 and self.op not in CALLS:
            shown[1] = f"({shown[1]})" if self.args[1].op in PRODUCTS else shown[1]
            return f"{shown[0]}{self.op}{shown[1]}"
        return f"{self.op}({', '.join(plain)})"

    @property
    def is_size(self) -> bool:
        """Whether it can name a size: a name, or a positive whole number."""
        return self.op == "name" or (self.op == "number" and self.text.isdigit() and int(self.text) > 0)

    def names(self) -> list[str]:
        """The tensors named, in order of appearance; what :data:`OF_SIZES` take names a size."""
        if self.op in OF_SIZES:
            return []
        found = [self.text] if self.op == "name" else [n for a in self.args for n in a.names()]
        return list(dict.fromkeys(found))

    def nodes(self) -> Iterator[Formula]:
        """The node and all below it."""
        yield self
        for a in self.args:
            yield from a.nodes()


@dataclass(frozen=True)
class Declaration:
    """``X: m x n symmetric``: the sizes as written (of a SymPy matrix, as SymPy has them), and facts."""

    dims: tuple[str | int | Expr, ...]
    facts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parsed:
    """A name for the value, the formula, and what was declared."""

    name: str
    formula: Formula
    declared: dict[str, Declaration]


def parse_formula(text: str) -> Parsed:
    """Read a matrix formula; raises :class:`~derive.language.errors.ParseError` with the place and what was expected."""
    if not isinstance(text, str):
        raise ParseError(f"a matrix formula is a text, not {type(text).__name__}")
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, at = text, 0
        self.tokens: list[Token] = []
        while at < len(text):
            m = TOKEN.match(text, at)
            if m is None:
                self.fail(at, f"the character {text[at]!r} has no meaning here")
            if m.lastgroup != "space":
                self.tokens.append((str(m.lastgroup), ";" if m[0] == "\n" else "'" if m[0] == ".'" else m[0], at))
            at = m.end()
        self.tokens.append(("end", "", len(text)))
        self.n = self.depth = 0
        self.in_norm = False  # inside ||...||, where the next || ends it
        self.declared: dict[str, Declaration] = {}

    def fail(self, at: int, message: str) -> NoReturn:
        line = self.text.rfind("\n", 0, at) + 1
        end = self.text.find("\n", at)
        start = max(line, at - SHOWN // 2)
        shown = self.text[start : end if end >= 0 else None][:SHOWN]
        raise ParseError(
            f"matrix formula, line {self.text.count(chr(10), 0, at) + 1}, column {at - line + 1}: {message}\n"
            f"  {shown}\n  {' ' * (at - start)}^"
        )

    @property
    def token(self) -> Token:
        return self.tokens[self.n]

    def peek(self, *ops: str) -> bool:
        kind, text, _ = self.token
        return kind == "op" and text in ops

    def take(self, op: str) -> None:
        if not self.peek(op):
            kind, text, at = self.token
            self.fail(at, f"expected {op!r}, found {repr(text) if text else 'the end'}")
        self.n += 1

    def next(self) -> Token:
        self.n += 1
        return self.tokens[self.n - 1]

    # -- formula and declarations -----------------------------------------------------------------------------------

    def whole(self) -> Parsed:
        declared = self.declared
        while self.skip() or self._declares():
            if self._declares():
                self.declaration(declared)
        name = ""
        if self.token[0] == "name" and self.tokens[self.n + 1][1] == "=":
            name = self.next()[1]
            self.take("=")
        formula = self.sum()
        self.skip()
        if self.token[0] != "end":
            self.fail(self.token[2], f"expected an operator or the end, found {self.token[1]!r}")
        used = {f.text for f in formula.nodes() if f.op == "name"}
        unused = [n for n in declared if n not in used]
        if unused:
            self.fail(0, f"{unused[0]} is declared but does not occur in the formula")
        return Parsed(name, formula, declared)

    def skip(self) -> bool:
        start = self.n
        while self.peek(";"):
            self.n += 1
        return self.n > start

    def _declares(self) -> bool:
        n = self.n
        while self.tokens[n][0] == "name" and self.tokens[n + 1][1] == ",":
            n += 2
        return self.tokens[n][0] == "name" and self.tokens[n + 1][1] == ":"

    def declaration(self, declared: dict[str, Declaration]) -> None:
        names = [self.next()]
        while self.peek(","):
            self.n += 1
            names.append(self.next())
        self.take(":")
        dims = [self.dimension()]
        if dims == ["scalar"]:
            dims = []
        elif self.token[:2] == ("name", "x"):
            self.n += 1
            dims.append(self.dimension())
        facts = []
        while self.token[0] == "name":
            facts.append(self.fact())
        if not self.peek(";"):
            self.fail(self.token[2], "a declaration ends with ; or a new line, as in  X: m x n symmetric; tr(X)")
        for _, n, at in names:
            if n in declared:
                self.fail(at, f"{n} is declared twice")
            declared[n] = Declaration(tuple(dims), tuple(facts))

    def dimension(self) -> str:
        kind, text, at = self.next()
        if kind == "name" or (kind == "number" and text.isdigit() and int(text) > 0):
            return text
        return self.fail(at, f"expected a size, found {text!r}; sizes are names or whole numbers, as in  X: m x 3")

    def fact(self) -> str:
        _, text, at = self.next()
        if text == "positive" and self.token[:2] == ("name", "definite"):
            self.n += 1
            return "positive_definite"
        if text in ("symmetric", "positive", "nonnegative"):
            return text
        return self.fail(
            at, f"{text!r} is not a fact; accepted are symmetric, positive definite, positive, nonnegative"
        )

    # -- expressions ------------------------------------------------------------------------------------------------

    def sum(self) -> Formula:
        left = self.product()
        while self.peek("+", "-"):
            op = self.next()[1]
            left = Formula(op, (left, self.product()))
        return left

    def product(self) -> Formula:
        left = self.unary()
        while self.peek(*PRODUCTS, "\\") or self.begins_factor():
            op = self.next()[1] if self.peek(*PRODUCTS, "\\") else ""
            right = self.unary() if op else self.power()
            left = Formula("solve" if op == "\\" else op or "*", (left, right))
        return left

    def begins_factor(self) -> bool:
        """Whether a factor without a sign follows, as in ``2 X'X``; a second number in a row is a slip."""
        kind = self.token[0]
        if kind == "name":
            return self.tokens[self.n + 1][1] not in ("=", ":")
        return self.peek("(") or (self.peek("||") and not self.in_norm)

    def unary(self) -> Formula:
        self.depth += 1
        if self.depth > DEEPEST:
            self.fail(self.token[2], f"more than {DEEPEST} levels of brackets and signs")
        if self.peek("-"):
            self.n += 1
            found = Formula("neg", (self.unary(),))
        else:
            found = self.power()
        self.depth -= 1
        return found

    def power(self) -> Formula:
        base = self.postfix()
        if self.peek("^", ".^"):
            op = self.next()[1]
            if self.peek("'"):
                self.fail(self.token[2], "a transpose is written ' or ^T")
            return Formula(op, (base, self.unary()))
        return base

    def postfix(self) -> Formula:
        found = self.atom()
        primes = 0
        while (size := self.prime()) > 0:
            inverted = size == 3
            self.n, primes = self.n + size, primes + 1
            if primes > DEEPEST:
                self.fail(self.token[2], f"more than {DEEPEST} transposes in a row")
            found = Formula("'", (Formula("inv", (found,)) if inverted else found,))
        return found

    def prime(self) -> int:
        """How many tokens a transpose takes that stands here: ``'``, ``^T`` or ``^-T``; T may be a declared scalar."""
        if self.peek("'"):
            return 1
        ahead = [text for _, text, _ in self.tokens[self.n : self.n + 3]]
        if "T" in self.declared:
            return 0
        return 2 if ahead[:2] == ["^", "T"] else 3 if ahead == ["^", "-", "T"] else 0

    def bracketed(self, one: bool = False) -> tuple[Formula, ...]:
        """What stands in a bracket, which is open: values or comparisons, with commas between."""
        before, self.in_norm = self.in_norm, False
        args = [self.comparison()]
        while not one and self.peek(","):
            self.n += 1
            args.append(self.comparison())
        self.take(")")
        self.in_norm = before
        return tuple(args)

    def comparison(self) -> Formula:
        left = self.sum()
        if not self.peek(">"):
            return left
        self.n += 1
        return Formula(">", (left, self.sum()))

    def atom(self) -> Formula:
        kind, text, at = self.next()
        if kind == "number":
            if len(text) > LONGEST_NUMBER or abs(int(re.split("[eE]", text + "e0")[1])) > LARGEST_EXPONENT:
                self.fail(
                    at, f"numbers have at most {LONGEST_NUMBER} characters and exponents up to {LARGEST_EXPONENT}"
                )
            return Formula("number", text=text)
        if kind == "name" and self.peek("(") and (text in CALLS or self.token[2] == at + len(text)):  # else x (a + b)
            if text not in CALLS:
                near = difflib.get_close_matches(text, CALLS, 1)
                self.fail(
                    at,
                    f"{text} is no function here{f' (did you mean {near[0]}?)' if near else ''}; accepted are "
                    f"{', '.join(sorted(CALLS))}; a product is written {text}*(...)",
                )
            self.n += 1
            args = self.bracketed()
            if len(args) != CALLS[text]:
                self.fail(at, f"{text} takes {CALLS[text]} argument{'s' if CALLS[text] > 1 else ''}, not {len(args)}")
            if text in OF_SIZES and not args[0].is_size:
                self.fail(at, f"{text}({args[0]}): {text} takes {SIZES_TAKEN[text]}")
            if text == "adj":
                return Formula("*", (Formula("det", args), Formula("inv", args)))
            return Formula({"trace": "tr", "transpose": "'"}.get(text, text), args)
        if kind == "name":
            return Formula("name", text=text)
        if text == "(":
            return self.bracketed(one=True)[0]
        if text == "||" and not self.in_norm:
            self.in_norm = True
            inside = self.sum()
            self.in_norm = False
            self.take("||")
            return Formula("norm2", (inside,))
        return self.fail(at, f"expected a number, a name or a bracket, found {repr(text) if text else 'the end'}")
