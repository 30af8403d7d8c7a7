"""Functions that generated modules may hold: their text is copied, so that a module runs alone.

They stand in ``helpers/`` beside this file, as Python to be read by people: the emitter never imports them (they are
JAX, and it makes text only) but splits their text into functions.  What a function needs of its file, other functions
and imports, is what its text names.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "helpers"
FILES = ("shapes", "native", "parts", "grams", "windows")  # the order in which their functions are written
ALWAYS = ("jax", "jnp", "lax")  # imported by the generated module itself


@dataclass(frozen=True)
class Helper:
    """One function: its text, the functions that it calls, and the import statements that it needs."""

    text: str
    calls: frozenset[str]
    imports: tuple[str, ...]
    reads: frozenset[str]


@functools.cache
def helpers() -> dict[str, Helper]:
    """Every function by name, in the order of :data:`FILES` and within a file as it stands there."""
    found: dict[str, Helper] = {}
    for file in FILES:
        found |= functions_of((FOLDER / f"{file}.py").read_text(encoding="utf-8"))
    return found


def functions_of(source: str) -> dict[str, Helper]:
    """The functions at the top of a module's text.

    >>> functions_of("import math\\ndef root(x): return math.sqrt(x)\\ndef twice(x): return 2 * root(x)")["twice"].calls
    frozenset({'root'})
    """
    tree, lines = ast.parse(source), source.splitlines()
    imported = {
        alias.asname or alias.name: ast.unparse(node)
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    nodes = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    found = {}
    for name, node in nodes.items():
        read = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        used = read - {name} - _bound_in(node)
        needed = tuple(line for n, line in imported.items() if n in used and n not in ALWAYS)
        found[name] = Helper(
            "\n".join(lines[node.lineno - 1 : node.end_lineno]), frozenset(used & set(nodes)), needed, frozenset(read)
        )
    return found


def _bound_in(node: ast.FunctionDef) -> set[str]:
    """The arguments and variables of a function: a variable ``total`` is no call of the function ``total``."""
    found = {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
    return found | {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def names() -> tuple[str, ...]:
    """The names of all functions, which nothing else in a generated module may have."""
    return tuple(helpers())


def _with_calls(wanted: Iterable[str]) -> list[Helper]:
    """Functions and those they call, each once, in order."""
    known, needed, todo = helpers(), set(), list(wanted)
    while todo:
        name = todo.pop()
        if name not in needed:
            needed.add(name)
            todo += known[name].calls
    return [helper for name, helper in known.items() if name in needed]


def sources(wanted: Iterable[str]) -> list[str]:
    """The text of functions and of those they call, each once, in the order of :func:`helpers`."""
    return [helper.text for helper in _with_calls(wanted)]


def reads(wanted: Iterable[str], name: str) -> bool:
    """Whether the text of these functions reads a name."""
    return any(name in helper.reads for helper in _with_calls(wanted))


def imports(wanted: Iterable[str]) -> list[str]:
    """The import statements that the text of these functions needs beside those of JAX."""
    found = {line for helper in _with_calls(wanted) for line in helper.imports}
    return sorted(found, key=lambda line: (line.startswith("from"), line))
