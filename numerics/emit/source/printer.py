"""The one printer of the code tree: Python text, with brackets, line breaks and the column of equation numbers.

Precedence is known here and nowhere else: an operand gets brackets where it binds less tightly than its place asks for.
Two habits of the house are looser than Python's grammar: a matrix product is set apart from ``*`` and ``/`` by brackets,
``(x @ W) * c``, and so is a conjunction from a comparison.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from .code import (
    Assign,
    Attribute,
    Binary,
    Call,
    Code,
    Compare,
    Constant,
    Dict,
    Each,
    FunctionDef,
    Gap,
    Lambda,
    Name,
    Number,
    Return,
    Slice,
    Statement,
    Subscript,
    Text,
    Tuple,
    Unary,
)
from .names import comment, literal

MARGIN = 76  # equation numbers stand in one column, unless a line is longer than this
WIDTH = 112  # of a statement inside the function

# Python's precedences, tightest first; MATMUL stands apart from MUL so that (x @ W) * c keeps its brackets
ATOM, POW, UNARY, MUL, MATMUL, ADD, AND, OR, COMPARE, LOOSE = 100, 90, 80, 70, 65, 60, 50, 45, 40, 0
PRECEDENCE = {"**": POW, "*": MUL, "/": MUL, "//": MUL, "@": MATMUL, "+": ADD, "-": ADD, "&": AND, "|": OR}

# -- expressions --------------------------------------------------------------------------------------------------


def expression(node: Code) -> str:
    """The text of an expression.

    >>> from .code import Binary, Name, Number, Unary
    >>> third = Binary(Unary("-", Number(1)), "/", Number(3))
    >>> expression(Binary(Name("x"), "**", third))
    'x ** (-1 / 3)'
    """
    return _printed(node)[0]


def _within(node: Code, precedence: int) -> str:
    """The text, in brackets unless it binds at least as tightly as ``precedence``."""
    text, own = _printed(node)
    return text if own >= precedence else f"({text})"


def _printed(node: Code) -> tuple[str, int]:
    """The text, and how tightly it binds."""
    match node:
        case Name(name):
            return name, ATOM
        case Number(value):
            return repr(value), ATOM
        case Text(value):
            return literal(value), ATOM
        case Constant(value):
            return ("..." if value is ... else str(value)), ATOM
        case Attribute(of, name):
            return f"{_owner(of)}.{name}", ATOM
        case Call(function, arguments, keywords):
            return f"{_owner(function)}({_arguments(arguments, keywords)})", ATOM
        case Subscript(of, parts):
            return f"{_owner(of)}[{', '.join(_part(p) for p in parts)}]", ATOM
        case Tuple(items):
            return f"({_bare(items)})", ATOM
        case Dict(items):
            return "{" + ", ".join(f"{_item(k)}: {_item(v)}" for k, v in items) + "}", ATOM
        case Unary(op, of):
            return f"{op}{_within(of, UNARY)}", UNARY
        case Binary():
            return _binary(node)
        case Compare(left, op, right):
            return f"{_within(left, COMPARE + 1)} {op} {_within(right, COMPARE + 1)}", COMPARE
        case Lambda(parameters, body):
            return f"lambda {', '.join(parameters)}: {_item(body)}", LOOSE
        case Each(body, name, over, listed):
            text = f"{_item(body)} for {name} in {_within(over, COMPARE)}"
            return (f"[{text}]", ATOM) if listed else (f"({text})", ATOM)
        case Slice():
            return _part(node), LOOSE
    raise TypeError(f"{type(node).__name__} is not a node of the code tree")


def _owner(node: Code) -> str:
    """What a dot, a call or a subscript follows; ``2.shape`` would be read as a decimal."""
    return f"({expression(node)})" if isinstance(node, Number) else _within(node, ATOM)


def _item(node: Code) -> str:
    """One of several things between commas or colons."""
    return _within(node, LOOSE + 1)


def _bare(items: Sequence[Code]) -> str:
    return ", ".join(map(_item, items)) + ("," if len(items) == 1 else "")


def _arguments(arguments: Sequence[Code], keywords: Sequence[tuple[str, Code]]) -> str:
    if len(arguments) == 1 and not keywords and isinstance(arguments[0], Each) and not arguments[0].listed:
        return expression(arguments[0])[1:-1]  # a generator alone needs no brackets of its own
    return ", ".join([*map(expression, arguments), *(f"{key}={expression(value)}" for key, value in keywords)])


def _part(node: Code) -> str:
    """One part of a subscript."""
    if not isinstance(node, Slice):
        return _item(node)
    start, stop = (_item(p) if p is not None else "" for p in (node.start, node.stop))
    return f"{start}:{stop}" + (f":{_item(node.step)}" if node.step is not None else "")


def _binary(node: Binary) -> tuple[str, int]:
    """A chain of operators of one precedence leans to the left: it is written in a loop, not by recursion."""
    own = PRECEDENCE[node.op]
    if node.op == "**":
        return f"{_within(node.left, POW + 1)} ** {_within(node.right, UNARY)}", POW
    chain: list[tuple[str, Code]] = []
    left: Code = node
    while isinstance(left, Binary) and PRECEDENCE[left.op] == own:
        chain.append((left.op, left.right))
        left = left.left
    tightest = ATOM if own == MATMUL else own + 1
    text = _within(left, ATOM if own == MATMUL else own)
    for op, right in reversed(chain):
        text += f" {op} {_within(right, tightest)}"
    return text, own


# -- statements ---------------------------------------------------------------------------------------------------


def function(f: FunctionDef, docstring: str = "") -> str:
    """The text of the function of a module; the docstring is laid out already."""
    start = f"def {f.name}("
    head = f"{start}{', '.join(map(_item, f.parameters))}):"
    lines = [line for d in f.decorators for line in wrapped("@", expression(d), 119)]
    lines += textwrap.wrap(head, 119, subsequent_indent=" " * len(start), break_long_words=False)
    return "\n".join([*lines, *([docstring] if docstring else []), laid_out(f.body)])


def laid_out(body: Sequence[Statement]) -> str:
    """The statements of a function's body on their lines, equation numbers in one column."""
    lines = [
        (f"    {line}", margin if n == 0 else "")
        for head, code, margin in _statements(body)
        for n, line in enumerate(wrapped(head, code, WIDTH))
    ]
    short = [len(line) for line, margin in lines if margin and len(line) <= MARGIN]
    column = max([40, *short]) + 2
    out: list[str] = []
    for line, margin in lines:
        if not line.strip():
            out += [""] if out and out[-1] else []
            continue
        out.append((f"{line:<{column - 2}}  # {comment(margin)}" if margin else line).rstrip())
    return "\n".join(out)


def _statements(body: Sequence[Statement]) -> Iterator[tuple[str, str, str]]:
    """``(head, text, margin)`` of every line before it is folded; the head is what stands before an assigned value."""
    for s in body:
        match s:
            case Gap():
                yield "", "", ""
            case Assign(target, value):
                yield f"{_open(target)} = ", _open(value), s.margin
            case Return(value):
                yield "", f"return {_open(value)}", s.margin
            case FunctionDef(name, parameters, inner):
                yield "", "", ""
                yield "", f"def {name}({', '.join(map(_item, parameters))}):", s.margin
                for head, text, margin in _statements(inner):
                    yield (f"    {head}", text, margin) if head else ("", f"    {text}" if text else "", margin)
                yield "", "", ""
            case _:
                raise TypeError(f"{type(s).__name__} is not a statement of the code tree")


def _open(node: Code) -> str:
    """An expression that stands alone: a tuple needs no brackets there."""
    return _bare(node.items) if isinstance(node, Tuple) and node.items else expression(node)


# -- line breaks --------------------------------------------------------------------------------------------------


def wrapped(head: str, text: str, width: int) -> list[str]:
    """A long statement on several lines, broken inside brackets, at the shallowest place that fits.

    A value that can be broken between its own addends gets brackets of its own.
    """
    if len(head) + len(text) <= width:
        return [head + text]
    if head and any(depth == 0 and len(head) + n <= width for depth, n in _breaks(text)):
        text = f"({text})"
    begin, code = len(head), head + text
    spots = [(depth, begin + n) for depth, n in _breaks(text) if depth > 0]
    indent = " " * (len(code) - len(code.lstrip()) + 4)
    lines: list[str] = []
    start, room = 0, width
    while len(code) - start > room:
        here = [(depth, n) for depth, n in spots if start + 24 < n <= start + room]
        if not here:
            break
        shallow = min(depth for depth, _ in here)
        cut = max(n for depth, n in here if depth == shallow)
        lines.append(code[start:cut].strip() if lines else code[:cut].rstrip())
        start, room = cut, width - len(indent)
    lines.append(code[start:].strip() if lines else code)
    return [lines[0], *(indent + line for line in lines[1:])]


def _breaks(text: str) -> list[tuple[int, int]]:
    """``(bracket depth, position)`` where a line may be broken: before an operator, after a comma; never in a string."""
    depth, n = 0, 0
    spots: list[tuple[int, int]] = []
    while n < len(text):
        ch = text[n]
        if ch in "\"'":
            n = _end_of_string(text, n)
        elif ch in "([{":
            depth += 1
        elif ch in ")]}":
            depth -= 1
        elif ch == " " and (text[n - 1] == "," or text[n : n + 3] in (" + ", " - ", " & ", " * ", " @ ", " / ")):
            spots.append((depth, n))
        n += 1
    return spots


def _end_of_string(text: str, begin: int) -> int:
    """The position of the quote that ends the string whose first quote stands at ``begin``."""
    n = begin + 1
    while text[n] != text[begin]:
        n += 2 if text[n] == "\\" else 1
    return n
