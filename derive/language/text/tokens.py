"""Characters to tokens, each with its place in the text; and the text itself, for messages that point into it."""

from __future__ import annotations

import re
from typing import NamedTuple

from derive.language.errors import DeriveError, ParseError

DIGITS = 60  # characters of a number

_TOKEN = re.compile(
    r"""
    (?P<blank>[ \t\r\f\v\u00a0]+ | \#[^\n]*)
  | (?P<newline>\n | ;)
  | (?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
  | (?P<name>[^\W\d]\w*'*)
  | (?P<op>\*\*|//|<=|>=|==|!=|[-+*/^<>=()\[\],:]|[≤≥≠·×−])
""",
    re.VERBOSE,
)
_SAME = {"≤": "<=", "≥": ">=", "≠": "!=", "·": "*", "×": "*", "−": "-", "**": "^"}


class Token(NamedTuple):
    kind: str  # name, number, op, newline, end
    text: str
    line: int
    column: int

    def __str__(self) -> str:
        if self.kind == "end":
            return "the end of the text"
        return (
            ("the end of the line" if self.text == "\n" else repr(self.text))
            if self.kind == "newline"
            else f"{self.kind} {self.text}"
            if self.kind in ("name", "number")
            else repr(self.text)
        )


class Text:
    """The text, for messages that point into it."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")

    def error(self, token: Token, message: str, kind: type[DeriveError] = ParseError) -> DeriveError:
        shown = self.lines[token.line - 1].rstrip("\r") if token.line <= len(self.lines) else ""
        start = max(0, token.column - 60)
        shown = shown[start : start + 110].replace("\t", " ")
        made = kind(
            f"line {token.line}, column {token.column}: {message}\n    {shown}\n    {' ' * (token.column - 1 - start)}^"
        )
        made.line, made.column = token.line, token.column
        return made


def tokenize(text: str, source: Text) -> list[Token]:
    """Tokens with their places; newlines inside brackets are dropped."""
    tokens: list[Token] = []
    open_: list[Token] = []
    at, line, start = 0, 1, 0
    while at < len(text):
        m = _TOKEN.match(text, at)
        place = Token("op", text[at], line, at - start + 1)
        if m is None:
            raise source.error(place, f"found the character {text[at]!r}, expected a name, a number or an operator")
        kind, found = str(m.lastgroup), m.group()
        if kind == "number":
            if len(found) > DIGITS:
                raise source.error(place, f"a number of {len(found)} characters; at most {DIGITS} are accepted")
            follows = text[m.end() : m.end() + 1]
            if follows.isalnum() or follows == "_" or follows == ".":
                raise source.error(place, f"{found}{follows} is neither a number nor a name; write * between factors")
        if kind == "op":
            found = _SAME.get(found, found)
            if found in "([":
                open_.append(place)
            elif found in ")]" and open_:
                open_.pop()
        if kind != "blank" and not (found == "\n" and open_):
            tokens.append(Token(kind, found, line, place.column))
        at = m.end()
        if found == "\n":
            line, start = line + 1, at
    if open_:
        raise source.error(
            open_[-1],
            f"this {open_[-1].text!r} is never closed; expected "
            f"{')' if open_[-1].text == '(' else ']'!r} before the end of the text",
        )
    tokens.append(Token("end", "", line, len(text) - start + 1))
    return tokens
