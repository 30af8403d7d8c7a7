r"""The text of a matrix formula -> its syntax tree; a grammar by precedence, and nothing is ever evaluated.

    formula      = {declaration (";" | newline)} [NAME "="] sum
    declaration  = NAME {"," NAME} ":" ("scalar" | "function" | size | size "x" size) {fact}
    fact         = "symmetric" | "positive" ["definite"] | "nonnegative" | "orthogonal" | "unit" | "simplex"
                 | "diagonal" | ("lower" | "upper") "triangular" | "toeplitz" | "free" | "with" sum "=" sum
    sum          = product {("+" | "-") product}
    product      = unary {("*" | "/" | "\\" | ".*" | "./") unary | power}
    unary        = "-" unary | power
    power        = postfix [("^" | ".^") unary]
    postfix      = atom {"'" | "^T" | "^-T"}
    atom         = NUMBER | NAME | NAME "(" value {"," value} ")" | "(" value ")" | "||" sum "||"
                 | NAME {"'"} "(" value ")", of a declared function
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
from typing import NoReturn, TypeAlias

from derive.language.errors import ParseError
from derive.language.unknown import KNOWN

from .equalities import ACCEPTED, fact_of
from .tree import APPLIED, CALLS, FUNCTION, INSTEAD, OF_SIZES, PRODUCTS, SIZES_TAKEN, Declaration, Formula, Parsed

TOKEN = re.compile(
    r"(?P<space>[ \t]+)|(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[^\W\d]\w*)|(?P<op>\.\*|\./|\.\^|\.'|\|\||[-+*/\\^'(),:=;>\n])"
)
FACT_WORDS = ("symmetric", "positive", "nonnegative", "orthogonal", "unit", "simplex", "diagonal", "toeplitz", "free")
PAIRS = {("positive", "definite"), ("lower", "triangular"), ("upper", "triangular")}  # facts of two words
DEEPEST = 100
SHOWN = 110  # characters of the line that an error shows
LONGEST_NUMBER, LARGEST_EXPONENT = 40, 300


Token: TypeAlias = tuple[str, str, int]  # number, name, op or end; its text; where it starts


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
        self.in_equality = False  # after "with", where a name may stand before =
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
        used = {f.text.partition("'")[0].partition("^")[0] for f in formula.nodes() if f.op in ("name", APPLIED)}
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
        dims, facts = [self.dimension()], []
        if dims in (["scalar"], [FUNCTION]):
            facts += dims[0:1] if dims == [FUNCTION] else []
            dims = []
        elif self.token[:2] == ("name", "x"):
            self.n += 1
            dims.append(self.dimension())
        while self.token[0] == "name":
            if facts == [FUNCTION]:
                self.fail(self.token[2], "an unknown function has no facts; write f: function")
            facts.append(self.fact([n for _, n, _ in names]))
        if not self.peek(";"):
            self.fail(self.token[2], "a declaration ends with ; or a new line, as in  X: m x n symmetric; tr(X)")
        for _, n, at in names:
            if n in declared:
                self.fail(at, f"{n} is declared twice")
            if facts == [FUNCTION] and n in (*CALLS, *KNOWN):
                self.fail(at, f"{n} is a function that is known already; give the unknown one another name")
            declared[n] = Declaration(tuple(dims), tuple(facts))

    def dimension(self) -> str:
        kind, text, at = self.next()
        if kind == "name" or (kind == "number" and text.isdigit() and int(text) > 0):
            return text
        return self.fail(at, f"expected a size, found {text!r}; sizes are names or whole numbers, as in  X: m x 3")

    def fact(self, names: list[str]) -> str:
        _, text, at = self.next()
        if (text, self.token[1]) in PAIRS:
            return f"{text}_{self.next()[1]}"
        if text == "with":
            return self.equality(names, at)
        if text in FACT_WORDS:
            return text
        return self.fail(
            at,
            f"{text!r} is not a fact; accepted are {', '.join(FACT_WORDS)}, positive definite, lower triangular, upper "
            "triangular, and equalities, as in  Q: n x n with Q'Q = eye(1)",
        )

    def equality(self, names: list[str], at: int) -> str:
        """What ``with Q'Q = eye(1)`` says of the one tensor that is declared; one that no rule uses is refused."""
        self.in_equality = True
        left = self.sum()
        self.take("=")
        right = self.sum()
        self.in_equality = False
        fact = fact_of(names[0], left, right) if len(names) == 1 else None
        if fact is None:
            of = f"{names[0]} alone" if len(names) == 1 else "one tensor; declare each by itself"
            self.fail(at, f"no rule uses the equality {left} = {right}; accepted are, of {of}: {ACCEPTED}")
        return fact

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
            return self.tokens[self.n + 1][1] not in (("=", ":") if not self.in_equality else (":",))
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

    def applied(self, name: str) -> Formula:
        """An unknown function or its derivative, ``f''(x)``, the name of which is read."""
        shown = name
        while self.peek("'"):
            self.n, shown = self.n + 1, shown + "'"
        ahead = [text for _, text, _ in self.tokens[self.n : self.n + 5]]
        if shown == name and ahead[:2] == ["^", "("] and ahead[2].isdigit() and ahead[3:] == [")", "("]:
            self.n, shown = self.n + 4, f"{name}^({ahead[2]})"
        if not self.peek("("):
            self.fail(self.token[2], f"{name} is a function, and stands before what it is applied to, as in {name}(x)")
        self.n += 1
        args = self.bracketed()
        if len(args) != 1:
            self.fail(self.token[2], f"{name} is a function of each element of one tensor, not of {len(args)}")
        return Formula(APPLIED, args, shown)

    def atom(self) -> Formula:
        kind, text, at = self.next()
        if kind == "name" and text in self.declared and self.declared[text].facts == (FUNCTION,):
            return self.applied(text)
        if kind == "number":
            if len(text) > LONGEST_NUMBER or abs(int(re.split("[eE]", text + "e0")[1])) > LARGEST_EXPONENT:
                self.fail(
                    at, f"numbers have at most {LONGEST_NUMBER} characters and exponents up to {LARGEST_EXPONENT}"
                )
            return Formula("number", text=text)
        if kind == "name" and self.peek("(") and (text in CALLS or self.token[2] == at + len(text)):  # else x (a + b)
            if text in INSTEAD:
                self.fail(at, f"{text} is no function here: {INSTEAD[text]}")
            if text not in CALLS:
                near = difflib.get_close_matches(text, CALLS, 1)
                self.fail(
                    at,
                    f"{text} is no function here{f' (did you mean {near[0]}?)' if near else ''}; accepted are "
                    f"{', '.join(sorted(CALLS))}; a product is written {text}*(...), an unknown function is declared, "
                    f"{text}: function",
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
