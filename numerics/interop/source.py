"""Where an operation stands in its author's files, and what the author called it."""

from __future__ import annotations

import ast
import functools
import json
import linecache
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

_LIBRARIES = tuple({sysconfig.get_paths()[k] for k in ("purelib", "platlib", "stdlib")})
_HERE = str(Path(__file__).parent)
_ROWS = str(Path(__file__).parent / "aten")  # what torch's operations are in JAX
_SCOPE = "stands at "
_JAX = str(Path(jax.__file__).parent)


@dataclass(frozen=True)
class Frame:
    """A line of a file on the way to an operation; what it assigns is read there, or given as ``names``."""

    file: str
    line: int
    function: str
    names: tuple[str, ...] = ()
    library: bool = False

    @property
    def is_library(self) -> bool:
        return self.library or self.file.startswith((*_LIBRARIES, _ROWS))

    @property
    def is_row(self) -> bool:
        """Whether it is in the table of torch's operations, which names what a module's author cannot."""
        return self.file.startswith(_ROWS)

    @property
    def shown(self) -> str:
        return f"{Path(self.file).name}:{self.line}" if self.line else f"module {self.file.strip('<>')}"


def is_jax(file: str) -> bool:
    """Whether a file is one of JAX's."""
    return file.startswith(_JAX)


def frames_of(eqn: Any, outer: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """The frames of an operation, innermost first; of one inside a function that JAX traced once and kept, the caller's.

    What JAX keeps of a traced function are the lines of its first call, so that they count only within that function.
    """
    trace = eqn.source_info.traceback
    found = _frames(trace) if trace is not None else ()
    if not outer:
        return (*found, *_scoped(eqn))
    known = {(f.file, f.function) for f in outer}
    inner = []
    for f in found:
        if (f.file, f.function) in known:
            break
        inner.append(f)
        if any(f.file == file and f.function.startswith(f"{function}.<locals>.") for file, function in known):
            break  # a function that stands in one of them; what JAX keeps of a deep stack may end there
    else:
        inner = []
    return (*inner, *outer)


def standing(frames: Sequence[Frame]) -> Any:
    """A scope in which what JAX traces stands at these frames, those of a program that is no Python."""
    return jax.named_scope(_SCOPE + json.dumps([[f.file, f.line, f.function, f.names, f.library] for f in frames]))


def _scoped(eqn: Any) -> tuple[Frame, ...]:
    for scope in eqn.source_info.name_stack.stack:
        name = getattr(scope, "name", "")
        if name.startswith(_SCOPE):
            return _unpacked(name[len(_SCOPE) :])
    return ()


@functools.lru_cache(maxsize=4096)
def _unpacked(text: str) -> tuple[Frame, ...]:
    return tuple(Frame(file, line, f, tuple(names), library) for file, line, f, names, library in json.loads(text))


def _frames(trace: Any) -> tuple[Frame, ...]:
    out = []
    for f in trace.frames:
        name = f.file_name
        if name.startswith(_HERE) and not name.startswith(_ROWS):
            break
        if not name.startswith((_JAX, "<frozen")):
            out.append(Frame(name, f.line_num, f.function_name))
    return tuple(out)


@functools.lru_cache(maxsize=64)
def _statements(file: str) -> dict[int, tuple[int, tuple[str, ...]]]:
    """For every line of a file: the first line of the statement that it is part of, and the names it assigns."""
    text = "".join(linecache.getlines(file))
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return {}
    out: dict[int, tuple[int, tuple[str, ...]]] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt) or hasattr(node, "body"):
            continue
        names = _targets(node)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
            out[line] = (node.lineno, names)
    return out


def _targets(node: ast.stmt) -> tuple[str, ...]:
    if isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets: list[ast.expr] = [node.target]
    elif isinstance(node, ast.Assign):
        targets = [node.targets[0]]
    else:
        return ()
    found = targets[0].elts if isinstance(targets[0], ast.Tuple | ast.List) else targets
    return tuple(t.id if isinstance(t, ast.Name) else t.attr if isinstance(t, ast.Attribute) else "" for t in found)


def statement(frame: Frame) -> tuple[int, tuple[str, ...]]:
    """The first line of the statement at a frame, and the names that it assigns."""
    if frame.names:
        return frame.line, frame.names
    return _statements(frame.file).get(frame.line, (frame.line, ()))


def name_of(op: Any, n: int, readers: Sequence[Any], escapes: bool) -> tuple[str, bool]:
    """The name that a result of an operation was assigned to, and whether by the function's author.

    A statement names what is read outside of it: of ``h = relu(x @ W + b)`` the last value, not the product.
    """
    inside = ""
    frames = op.frames
    for depth, frame in enumerate(frames):
        first, names = statement(frame)
        if not names:
            continue
        outer = frames[depth + 1 :]
        outside = escapes or any(not within(r.frames, frame.file, first, outer) for r in readers)
        if not outside:
            continue
        name = names[n] if len(names) > n and len(op.outs) > 1 else names[0] if len(names) == 1 else ""
        if not name or not name.isidentifier():
            continue
        if frame.is_library:
            inside = inside or name
            continue
        return name, True
    return inside.strip("_"), False


def within(frames: tuple[Frame, ...], file: str, first: int, outer: tuple[Frame, ...]) -> bool:
    """Whether an operation stands in a statement, reached by the same calls."""
    if len(frames) <= len(outer) or (outer and frames[len(frames) - len(outer) :] != outer):
        return False
    at = frames[len(frames) - len(outer) - 1]
    return at.file == file and statement(at)[0] == first
