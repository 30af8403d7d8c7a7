"""Which values of a traced function are definitions, and what they are called.

A definition is what an author would have written as a line: ``z = x W + b`` before the function that reads it, a query
before the contraction.  Names are the author's; what a library computes is called by the module that it belongs to (the
path of its parameters, or the scope it runs in), the variables of the library's files come last.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any, TypeAlias

from sympy import Add, Expr

from derive.language.nodes import Reduction
from derive.language.tensor import Read

from .flat import Block, Op, Var
from .source import Frame, name_of, statement, within
from .table import VIEWS
from .value import is_heavy

Stand: TypeAlias = "tuple[str, int, tuple[Frame, ...]]"  # a statement, reached by these calls
LINEAR = ("add", "sub", "add_any")
KINKED = ("max", "min", "clamp")
NAMED = ("norm", "logsumexp", "softmax", "log_softmax", "var", "std", "gelu", "silu", "elu", "softplus", "sigmoid")


class Titles:
    """Names for the values of a function's blocks."""

    def __init__(self) -> None:
        self.modules: set[str] = set()  # paths of the modules that own parameters
        self.scopes: dict[str, str] = {}  # of a library's variables, where each was met first
        self.readers: dict[Var, list[Op]] = {}
        self.made: dict[Stand, list[Op]] = {}  # by each statement, the operations whose results are read outside of it

    def parameter(self, name: str) -> None:
        """Enter the modules on the path of a parameter."""
        parts = name.split("_")
        self.modules |= {"_".join(parts[:n]) for n in range(1, len(parts)) if not parts[n].isdigit()}

    def enter(self, block: Block) -> None:
        """Enter who reads what, and what each statement hands on."""
        for op in reversed(block.ops):
            for v in op.ins:
                self.readers.setdefault(v, []).append(op)
        for op in block.ops:
            if len(op.outs) != 1 or op.name in VIEWS:
                continue
            readers = self.readers.get(op.outs[0], ())
            for depth, frame in enumerate(op.frames):
                first, names = statement(frame)
                outer = op.frames[depth + 1 :]
                if names and any(not within(r.frames, frame.file, first, outer) for r in readers):
                    self.made.setdefault((frame.file, first, outer), []).append(op)

    def of(self, op: Op, n: int, body: Any, escapes: bool, reserved: Container[str]) -> tuple[str, bool]:
        """The name of a result, and whether its author gave it; none where no line assigns it."""
        name, own = name_of(op, n, self.readers.get(op.outs[n], []), escapes)
        part = self._part(op)
        if part is not None and (not own or not part[1]):
            name, own = part[0], not part[1]
        if own or not name:
            return name, own
        path = self.path(body)
        if path:
            return path, False
        scope = self.scope(op)
        again = self.scopes.setdefault(name, scope) == scope and name not in reserved
        return (name if again or not scope else f"{scope}_{name}"), False

    def _part(self, op: Op) -> tuple[str, bool] | None:
        """The name that an operation has as a part of ``mean, var = ...``, and whether a library's line gives it."""
        for depth, frame in enumerate(op.frames):
            first, names = statement(frame)
            made = self.made.get((frame.file, first, op.frames[depth + 1 :]), [])
            if op not in made:
                continue
            if len(names) == len(made) > 1 and names[made.index(op)].isidentifier():
                return names[made.index(op)], frame.is_library
            if len(made) == 1:
                return None
        return None

    def path(self, body: Any) -> str:
        """The module whose parameters, and no other's, a value reads beside what goes in."""
        reads = body.atoms(Read) if isinstance(body, Expr) else ()
        found = {r.tensor.name for r in reads if r.tensor.role == "parameter"}
        if not found or all(r.tensor.role == "parameter" and r.tensor.is_input for r in reads):
            return ""
        owners = [m for m in self.modules if all(name.startswith(f"{m}_") for name in found)]
        return max(owners, key=len, default="")

    def function(self, op: Op) -> str:
        """The function of the author's that returns a result, ``layer_norm``, or the function of JAX that is called."""
        for depth, frame in enumerate(op.frames[:-1]):
            if frame.is_library:
                continue
            name, outer = frame.function.rpartition(".")[2], op.frames[depth + 1 :]
            inside = [_is_inside(r.frames, frame, outer) for v in op.outs for r in self.effective(v)]
            returned = not statement(frame)[1] and not any(inside) and name.isidentifier()
            if returned and name not in ("forward", "__call__"):
                return name
            break
        return op.called if op.called in NAMED else ""

    def scope(self, op: Op) -> str:
        """The module in which an operation runs, as the library's named scopes tell."""
        parts = op.scope.split("/")
        spans = ("_".join(parts[low:high]) for low in range(len(parts)) for high in range(len(parts), low, -1))
        return next((s for s in spans if s in self.modules), "")

    def effective(self, var: Var) -> Iterator[Op]:
        """The operations that read a value, through changes of how it is read."""
        for r in self.readers.get(var, ()):
            if r.name in VIEWS:
                for out in r.outs:
                    yield from self.effective(out)
            else:
                yield r

    def flows(self, op: Op, var: Var) -> bool:
        """Whether a value is a term of one sum that its module, or its author's line, goes on with."""
        readers = list(self.effective(var))
        if len(readers) != 1 or readers[0].name not in LINEAR:
            return False
        (reader,) = readers
        return (
            self.scope(reader) == self.scope(op)
            and bool(reader.frames and op.frames)
            and (reader.frames[0].function == op.frames[0].function)
        )

    def is_line(self, op: Op, value: Any, var: Var) -> bool:
        """Whether a sum with a bias is one that an author writes a line for: a function or a contraction reads it."""
        body = value.body
        if op.name in KINKED:
            return is_heavy(body) and len({r.tensor for r in body.atoms(Read)}) > 1
        if op.name not in LINEAR or not isinstance(body, Add) or not is_heavy(body):
            return False
        terms = [t for t in body.args if t.has(Read)]
        rank = sum(i.size != 1 for a in value.axes for i in a)
        sums = [t for t in terms if t.has(Reduction)]
        biased = any(_is_bias(t, rank, bool(sums)) for t in terms)
        if len(terms) < 2 or not biased:
            return False
        return any(r.name not in LINEAR for r in self.effective(var))


def _is_inside(frames: tuple[Frame, ...], frame: Frame, outer: tuple[Frame, ...]) -> bool:
    """Whether an operation stands in the same call of a function."""
    at = len(frames) - len(outer) - 1
    return (
        at >= 0 and frames[at + 1 :] == outer and (frames[at].file, frames[at].function) == (frame.file, frame.function)
    )


def _is_bias(term: Expr, rank: int, of_sum: bool) -> bool:
    """Whether a term is a parameter that is broadcast, or one beside a contraction."""
    read = term.as_coeff_Mul()[1]
    return isinstance(read, Read) and read.tensor.role == "parameter" and (read.tensor.rank < rank or of_sum)
