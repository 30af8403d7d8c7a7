"""JavaScript of a tree of loops: a standalone ES module over flat arrays of doubles.

    import {lossAndGrads} from "./softmax_regression.js";
    lossAndGrads({x: {shape: [7, 5], data: new Float64Array(35)}, ...})    -> {loss: 1.2, grads: {W: {shape, data}}}

Nothing a user wrote enters it unmapped: variables come from :class:`~numerics.emit.source.names.Names`, names of inputs and
results are string literals (``__proto__`` as a computed key), equations stand in comments.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from derive.derivation.derivation import Derivation
from derive.language.index import Size

from .program import function
from .tree import (
    Array,
    At,
    Call,
    Choose,
    Comment,
    Constant,
    Expr,
    Fitting,
    Function,
    Gap,
    Given,
    If,
    Length,
    Let,
    Loop,
    Minus,
    Not,
    Num,
    Op,
    Put,
    Result,
    Returned,
    Statement,
    Var,
)

_WORDS = """
abstract arguments async await boolean break byte case catch char class const continue debugger default delete do double
else enum eval export extends false final finally float for function get global globalThis goto if implements import in
instanceof int interface let long native new null of package private protected public return set short static super
switch synchronized this throw throws transient true try typeof undefined var void volatile while with yield
NaN Infinity Math Number Array Object Float64Array Int32Array Error inputs window document self constructor prototype
"""
RESERVED = frozenset(_WORDS.split())

# what each scalar function is called; those without a dot are helpers
_AS_THEY_ARE = "exp log sign floor sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh sqrt log1p expm1"
FUNCTIONS = {
    **{n: f"Math.{n}" for n in _AS_THEY_ARE.split()},
    **{
        n: n
        for n in (
            "erf",
            "erfc",
            "erfinv",
            "ndtri",
            "digamma",
            "polygamma",
            "sigmoid",
            "softplus",
            "logaddexp",
            "log1mexp",
            "above",
            "inverse",
        )
    },
    "Abs": "Math.abs",
    "maximum": "Math.max",
    "minimum": "Math.min",
    "loggamma": "lgamma",
    "log_ndtr": "logNdtr",
    "det": "determinant",
    "logdet": "logDeterminant",
    "logabsdet": "logAbsDeterminant",
    "Mod": "modulo",
}
CONSTANTS = {"pi": "Math.PI", "e": "Math.E", "infinity": "Infinity"}
OPERATORS = {"==": "===", "!=": "!==", "and": "&&", "or": "||", "^": "**"}
STRENGTH = {
    "or": 2,
    "and": 3,
    "==": 4,
    "!=": 4,
    "<": 5,
    "<=": 5,
    ">": 5,
    ">=": 5,
    "+": 6,
    "-": 6,
    "*": 7,
    "/": 7,
    "^": 9,
}
CHOICE, PREFIX, ATOM = 1, 8, 10
WIDTH = 120


def javascript(d: Derivation, sizes: Mapping[Size, int], name: str | None = None) -> str:
    """The module of a derivation, some sizes fixed, under a title if one is given."""
    return Printer().module(function(d, sizes, name, frozenset({*RESERVED, *helpers()})))


class Printer:
    """Text of a tree; notes the helpers that it calls."""

    def __init__(self) -> None:
        self.called: set[str] = set()

    def module(self, f: Function) -> str:
        body = [line for s in f.body for line in self.statement(s, 1)]
        returned = self.returned(f.returned, 1)
        head = [f"// {line}" for line in f.about]
        text = [*head, f"export function {f.name}(inputs) {{", *body, f"  return {returned};", "}", ""]
        return "\n".join([*text, *self.helpers()])

    def helpers(self) -> Iterator[str]:
        """The helpers that are called, and those that these call, in the order of their file."""
        known, needed, todo = helpers(), set(), list(self.called)
        while todo:
            name = todo.pop()
            if name not in needed:
                needed.add(name)
                todo += [n for n in known if n != name and re.search(rf"\b{n}\b", known[name])]
        yield from dict.fromkeys(text for name, text in known.items() if name in needed)

    # -- statements ------------------------------------------------------------------------------------------------

    def statement(self, s: Statement, depth: int) -> list[str]:
        pad = "  " * depth
        if isinstance(s, Gap):
            return [""]
        if isinstance(s, Comment):
            return [f"{pad}// {s.text}"]
        if isinstance(s, Loop):
            return [pad + self.head(s), *self.block(s.body, depth + 1), f"{pad}}}"]
        if isinstance(s, If):
            return [*folded(f"{pad}if ({self.text(s.test)}) {{"), *self.block(s.body, depth + 1), f"{pad}}}"]
        return folded(f"{pad}{self.line(s)};")

    def block(self, body: Iterable[Statement], depth: int) -> list[str]:
        return [line for s in body for line in self.statement(s, depth)]

    def head(self, s: Loop) -> str:
        if s.backward:
            return f"for (let {s.var} = {self.text(Op('-', s.stop, Num(1)))}; {s.var} >= 0; {s.var}--) {{"
        return f"for (let {s.var} = 0; {s.var} < {self.text(s.stop, STRENGTH['<'] + 1)}; {s.var}++) {{"

    def line(self, s: Statement) -> str:
        if isinstance(s, Let):
            return f"{'let' if s.changes else 'const'} {s.name} = {self.text(s.value)}"
        if isinstance(s, Array):
            kind = "Float64Array" if s.dtype == "float" else "Int32Array"
            return f"const {s.name} = new {kind}({self.text(s.length)})"
        if isinstance(s, Put):
            return f"{self.text(s.target)} {'+=' if s.adds else '='} {self.text(s.value)}"
        if isinstance(s, Given):
            return f"const {s.name} = {self.call('given')}(inputs, {literal(s.of)}, {s.rank})"
        assert isinstance(s, Fitting)
        check = {"float": "floats", "int": "integers", "bool": "booleans"}[s.dtype]
        shape = f"[{', '.join(map(self.text, s.shape))}]"
        below = [] if s.below is None else [self.text(s.below)]
        missing = [] if s.missing is None else [*([] if below else ["undefined"]), str(s.missing)]
        return f"const {s.name} = {self.call(check)}({', '.join([s.given, literal(s.of), shape, *below, *missing])})"

    def returned(self, r: Returned, depth: int, alone: bool = True) -> str:
        """An object; a scalar is a number where it is a result by itself, and an array of one where it is one of several."""
        if isinstance(r, Result):
            shape = f"[{', '.join(map(self.text, r.shape))}]"
            if not r.shape and alone:
                return r.name
            return f"{{shape: {shape}, data: {r.name if r.shape else f'Float64Array.of({r.name})'}}}"
        inside = ", ".join(f"{key(k)}: {self.returned(v, depth + 1, alone and depth == 1)}" for k, v in r)
        if len(inside) + 2 * depth < WIDTH - 12:
            return f"{{{inside}}}"
        pad = "  " * (depth + 1)
        lines = [f"{pad}{key(k)}: {self.returned(v, depth + 1, alone and depth == 1)}," for k, v in r]
        return "\n".join(["{", *lines, f"{'  ' * depth}}}"])

    # -- expressions -----------------------------------------------------------------------------------------------

    def call(self, name: str) -> str:
        if "." not in name:
            self.called.add(name)
        return name

    def text(self, e: Expr, least: int = 0) -> str:
        """An expression, in brackets where it binds less tightly than ``least``."""
        found, strength = self.written(e)
        return f"({found})" if strength < least else found

    def written(self, e: Expr) -> tuple[str, int]:
        if isinstance(e, Num):
            return numeral(e.value), ATOM
        if isinstance(e, Var):
            return e.name, ATOM
        if isinstance(e, Constant):
            return CONSTANTS[e.name], ATOM
        if isinstance(e, At):
            return f"{e.array}[{self.text(e.place)}]", ATOM
        if isinstance(e, Length):
            return f"{e.given}.shape[{e.axis}]", ATOM
        if isinstance(e, Minus):
            return f"-{self.text(e.of, PREFIX + 1)}", PREFIX
        if isinstance(e, Not):
            return f"!{self.text(e.of, PREFIX + 1)}", PREFIX
        if isinstance(e, Choose):
            yes, no = self.text(e.yes, CHOICE + 1), self.text(e.no, CHOICE)
            return f"{self.text(e.test, CHOICE + 1)} ? {yes} : {no}", CHOICE
        if isinstance(e, Call):
            return self.called_text(e), ATOM
        assert isinstance(e, Op)
        strength = STRENGTH[e.op]
        left = self.text(e.left, ATOM if e.op == "^" else strength)
        right = self.text(e.right, strength + 1)
        return f"{left} {OPERATORS.get(e.op, e.op)} {right}", strength

    def called_text(self, e: Call) -> str:
        args = ", ".join(self.text(a) for a in e.args)
        return f"Math.max({args}, 0)" if e.name == "relu" else f"{self.call(FUNCTIONS[e.name])}({args})"


@functools.cache
def helpers() -> dict[str, str]:
    """The text of every helper by its name, its comment included."""
    text = (Path(__file__).parent / "helpers.js").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for part in re.split(r"\n\n(?=//|function|const)", text.strip()):
        name = re.search(r"^(?:function|const) (\w+)", part, re.MULTILINE)
        assert name is not None
        found[name[1]] = part + "\n"
        found |= {n: part + "\n" for n in re.findall(r"^const (\w+)", part, re.MULTILINE) if n not in found}
    return found


def folded(line: str) -> list[str]:
    """A line, broken before operators where it is long."""
    if len(line) <= WIDTH:
        return [line]
    pad = line[: len(line) - len(line.lstrip())] + "    "
    lines, rest = [], line
    while len(rest) > WIDTH:
        places = [
            m.start() for m in re.finditer(r" (?=[-+*/?:&|] |&& |\|\| )", rest) if len(pad) + 20 < m.start() <= WIDTH
        ]
        if not places:
            break
        lines.append(rest[: places[-1]])
        rest = pad + rest[places[-1] + 1 :]
    return [*lines, rest]


def numeral(value: int | float) -> str:
    return "Infinity" if value == math.inf else repr(value)


def literal(name: str) -> str:
    """A string literal of any name."""
    return json.dumps(name)


def key(name: str) -> str:
    """A key of an object literal: itself where it is a plain word; ``__proto__`` would set the prototype."""
    return name if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) else f"[{literal(name)}]"
