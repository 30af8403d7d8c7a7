"""The line of a backward pass at which it goes wrong: the first whose value, replaced by ours, makes a gradient right.

The function is run again from its own source, with a hook after every assignment; what the hook returns is assigned in the
place of the value.  A line is named only if with a tensor of the derivation there the whole gradient is right.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import itertools
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from derive.derivation.derivation import Derivation
from numerics.checks.answers import to_numpy
from numerics.checks.ground import float64

from .vjp_calls import Caller, Equations

NEAR = 1e-7  # of the largest entry, in float64: what is the same
NEAR_NARROW = 1e-3
TRIES = 60  # runs of the backward
DRAWS = 12  # at which a gradient may be wrong first
HOOK = "__derive_seen__"


@dataclass(frozen=True)
class Statement:
    """An assignment of a function: the n-th value that its hook sees."""

    line: int
    name: str
    text: str


class Instrumented:
    """A function with a hook after every assignment: ``swap`` maps the count of one to the value put there."""

    def __init__(self, f: Callable[..., Any]):
        source, first = inspect.getsourcelines(f)
        tree = ast.parse(textwrap.dedent("".join(source)))
        ast.increment_lineno(tree, first - 1)
        (own,) = (n for n in tree.body if isinstance(n, ast.FunctionDef))
        own.decorator_list = []
        self.lines = {first + n: text.strip() for n, text in enumerate(source)}
        self.file = Path(inspect.getsourcefile(f) or "").name
        self.returned = _returned(own)
        own.body = [x for s in own.body for x in _hooked(s)]
        outer = ast.parse(f"def outer({', '.join([HOOK, *f.__code__.co_freevars])}):\n    pass").body[0]
        assert isinstance(outer, ast.FunctionDef)
        outer.body = [own]
        ast.fix_missing_locations(outer)
        whole = compile(ast.Module([outer], []), inspect.getsourcefile(f) or "<source>", "exec")
        outer_code = next(c for c in whole.co_consts if isinstance(c, types.CodeType))
        code = next(c for c in outer_code.co_consts if isinstance(c, types.CodeType) and c.co_name == own.name)
        cells = dict(zip(f.__code__.co_freevars, f.__closure__ or (), strict=True)) | {HOOK: types.CellType(self._seen)}
        self.run = types.FunctionType(
            code, f.__globals__, f.__name__, f.__defaults__, tuple(cells[n] for n in code.co_freevars)
        )
        self.run.__kwdefaults__ = f.__kwdefaults__
        self.reset({})

    def reset(self, swap: Mapping[int, Any]) -> None:
        self.seen: list[tuple[Statement, Any]] = []
        self.swap = swap

    def _seen(self, line: int, name: str, value: Any) -> Any:
        n = len(self.seen)
        self.seen.append((Statement(line, name, self.lines.get(line, "")), value))
        return self.swap.get(n, value)


def _hooked(s: ast.stmt) -> list[ast.stmt]:
    """A statement, and for every name that it assigns the name again, through the hook."""
    for field in ("body", "orelse", "finalbody"):
        inner = getattr(s, field, None)
        if inner and not isinstance(s, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            setattr(s, field, [x for t in inner for x in _hooked(t)])
    targets = (
        s.targets if isinstance(s, ast.Assign) else [s.target] if isinstance(s, ast.AugAssign | ast.AnnAssign) else []
    )
    names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    extra = [ast.parse(f"{n} = {HOOK}({s.lineno}, {n!r}, {n})").body[0] for n in names]
    for e in extra:
        ast.increment_lineno(e, s.lineno - 1)
    return [s, *extra]


def _own(f: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function without those of functions inside it."""
    for n in ast.iter_child_nodes(f):
        yield n
        if not isinstance(n, ast.FunctionDef | ast.Lambda | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _own(n)


def _returned(f: ast.FunctionDef) -> list[tuple[int, str]]:
    """Line and name ("" of an expression) of each element of what is returned last."""
    returns = [n for n in _own(f) if isinstance(n, ast.Return) and n.value is not None]
    if not returns:
        return []
    value = returns[-1].value
    elements = (
        value.elts
        if isinstance(value, ast.Tuple | ast.List)
        else value.values
        if isinstance(value, ast.Dict)
        else [value]
    )
    return [(e.lineno, e.id if isinstance(e, ast.Name) else "") for e in elements if e is not None]


def located(call: Caller, kern: Equations, wrong: Sequence[str]) -> dict[str, str]:
    """For each wrong gradient the line of the backward where it goes wrong, as far as it can be told.

    Told is a line and the equation that makes the gradient right there, else the line that returns it.
    """
    told: dict[str, str] = {}
    if call.rule.code is None:
        return told
    try:
        code = Instrumented(call.rule.code)
    except (OSError, TypeError, ValueError, SyntaxError, AttributeError, StopIteration):
        return told  # no source: a lambda, a notebook cell that is gone, a builtin
    with contextlib.nullcontext() if call.narrow else float64(), np.errstate(all="ignore"):
        for given in call.history[:DRAWS]:
            left = [n for n in wrong if n not in told and n in call.compared]
            if left:
                told |= _Search(call, kern, code, given).found(left)
    return told


class _Search:
    def __init__(self, call: Caller, kern: Equations, code: Instrumented, given: dict[str, Any]):
        self.call, self.code, self.near = call, code, NEAR_NARROW if call.narrow or call.rule.wide else NEAR
        self.values = kern.values(**given)
        self.d: Derivation = kern.derivation
        self.right = {k: self.values[t.name] for k, t in dict(self.d.results)["grads"].items()}
        self.arrays, self.cotangents = call.positional(given)
        if call.narrow:
            self.arrays, self.cotangents = call.narrowed(self.arrays), call.narrowed(self.cotangents)

    def found(self, names: Sequence[str]) -> dict[str, str]:
        """Of the gradients that are wrong at these inputs."""
        told: dict[str, str] = {}
        grads = self._run({})
        if grads is None:
            return told
        left = wrong = [n for n in names if not self._same(grads.get(n), self.right[n])]
        statements = list(self.code.seen)
        for n, value, said in itertools.islice(self._candidates(statements), TRIES if wrong else 0):
            grads = (self._run({n: value}) if left else None) or {}
            for name in left:
                if self._same(grads.get(name), self.right[name]):
                    s = statements[n][0]
                    told[name] = f"{self.code.file}:{s.line}  {s.text}  (right with {said} for {s.name})"
            left = [n for n in left if n not in told]
        for name in left:
            told.update(self._returned(name))
        return told

    def _run(self, swap: Mapping[int, Any]) -> dict[str, Any] | None:
        self.code.reset(swap)
        try:
            with jax.disable_jit():  # loops are run, not compiled anew each time
                grads = self.call.rule.by(self.code.run, self.arrays, self.cotangents)
            return {n: None if g is None else to_numpy(g) for n, g in zip(self.call.forward.names, grads, strict=True)}
        except Exception:  # a value put in the place of another need not fit what follows
            return None

    def _candidates(self, statements: Sequence[tuple[Statement, Any]]) -> Iterator[tuple[int, Any, str]]:
        """Places, and what of ours may stand there: of the same shape up to axes of length 1 and an order of two axes."""
        for n, (_, value) in enumerate(statements):
            with contextlib.suppress(TypeError, ValueError, RuntimeError):
                theirs = to_numpy(value)
                if theirs.dtype.kind != "f" or isinstance(value, float):
                    continue
                for name, ours in self.values.items():
                    for array, how in ((ours, ""), (ours.T, " transposed")) if ours.ndim == 2 else ((ours, ""),):
                        e = self.d.program.equation(name)
                        if e is None or _bare(array.shape) != _bare(theirs.shape) or self._same(array, theirs):
                            continue
                        yield n, _like(array.reshape(theirs.shape), value), f"({e.number}) {name}{how}"

    def _same(self, a: Any, b: np.ndarray) -> bool:
        if a is None or _bare(np.shape(a)) != _bare(b.shape):
            return False
        a = np.reshape(np.asarray(a, float), b.shape)
        return bool(np.max(np.abs(a - b), initial=0.0) <= self.near * float(np.max(np.abs(b), initial=0.0)))

    def _returned(self, name: str) -> dict[str, str]:
        returned = self.code.returned
        n = self.call.forward.names.index(name)
        n = self.call.forward.args.owners[n] - (min(self.call.forward.args.owners) if len(returned) > 1 else 0)
        if n >= len(returned):
            return {}
        line, _ = returned[n]
        return {name: f"{self.code.file}:{line}  {self.code.lines.get(line, '')}"}


def _bare(shape: Sequence[int]) -> list[int]:
    return [n for n in shape if n != 1]


def _like(array: np.ndarray, value: Any) -> Any:
    """An array of the kind and precision of another."""
    if hasattr(value, "detach"):
        import torch

        return torch.as_tensor(np.array(array)).to(value.dtype)
    if isinstance(value, np.ndarray | np.generic):
        return array.astype(value.dtype)
    import jax.numpy as jnp

    return jnp.asarray(array, value.dtype)
