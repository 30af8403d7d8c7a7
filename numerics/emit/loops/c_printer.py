"""The text in C of a tree of loops."""

from __future__ import annotations

from . import tree
from .javascript import PREFIX, STRENGTH, Printer, folded
from .tree import Array, At, Call, Choose, Comment, Let, Lines, Loop, Minus, Num, Op, Put, Statement, Var


class CPrinter(Printer):
    """Text of a tree: numbers are REAL but where indices and sizes are counted.

    Attributes
    ----------
    integers : set of str
        The variables that are whole numbers.
    """

    def __init__(self, integers: set[str]):
        super().__init__()
        self.integers = integers
        self.counting = False

    # -- statements ------------------------------------------------------------------------------------------------

    def statement(self, s: Statement, depth: int) -> list[str]:
        pad = "  " * depth
        if isinstance(s, Lines):
            return [pad + line for line in s.text]
        if isinstance(s, Comment):
            return [f"{pad}// {s.text.replace(chr(92), '/')}"]  # a backslash at its end would join the next line to it
        if isinstance(s, Loop):
            self.integers.add(s.var)
            totals = f" reduction(+ : {', '.join(s.totals)})" if s.totals else ""
            return [*([f"{pad}#pragma omp simd{totals}"] if s.lanes else []), *super().statement(s, depth)]
        if isinstance(s, tree.If):
            inside = [line for inner in s.body for line in self.statement(inner, depth + 1)]
            return [*folded(f"{pad}if ({self.test(s.test)}) {{"), *inside, f"{pad}}}"]
        return super().statement(s, depth)

    def head(self, s: Loop) -> str:
        return f"for (long {s.var} = 0; {s.var} < {self.integer(s.stop, STRENGTH['<'] + 1)}; {s.var}++) {{"

    def line(self, s: Statement) -> str:
        if isinstance(s, Array):
            return f"REAL *restrict {s.name} = malloc(sizeof(REAL) * ({self.integer(s.length)}))"
        if isinstance(s, Let):
            if not s.changes and self.whole(s.value):
                self.integers.add(s.name)
                return f"const long {s.name} = {self.integer(s.value)}"
            return f"REAL {s.name} = {self.text(s.value)}"
        assert isinstance(s, Put)
        return f"{self.text(s.target)} {'+=' if s.adds else '='} {self.text(s.value)}"

    # -- expressions -----------------------------------------------------------------------------------------------

    def whole(self, e: tree.Expr) -> bool:
        """Whether an expression is one of indices and sizes."""
        if isinstance(e, Num):
            return isinstance(e.value, int)
        if isinstance(e, Var):
            return e.name in self.integers
        if isinstance(e, Minus):
            return self.whole(e.of)
        if isinstance(e, Call):
            quotient = e.args[0]
            return (
                e.name == "floor"
                and isinstance(quotient, Op)
                and self.whole(quotient.left)
                and self.whole(quotient.right)
            )
        return isinstance(e, Op) and e.op in "+-*" and self.whole(e.left) and self.whole(e.right)

    def integer(self, e: tree.Expr, least: int = 0) -> str:
        """The text of an expression of whole numbers; a quotient is one where it is exact or rounded down."""
        before, self.counting = self.counting, True
        try:
            return self.text(e, least)
        finally:
            self.counting = before

    def test(self, e: tree.Expr, least: int = 0) -> str:
        found, strength = self.condition(e)
        return f"({found})" if strength < least else found

    def condition(self, e: tree.Expr) -> tuple[str, int]:
        if isinstance(e, tree.Not):
            return f"!({self.test(e.of)})", PREFIX
        assert isinstance(e, Op)
        strength = STRENGTH[e.op]
        if e.op in ("and", "or"):
            op = {"and": "&&", "or": "||"}[e.op]
            return f"{self.test(e.left, strength)} {op} {self.test(e.right, strength + 1)}", strength
        write = self.integer if self.whole(e.left) and self.whole(e.right) else self.text
        return f"{write(e.left, strength)} {e.op} {write(e.right, strength + 1)}", strength

    def written(self, e: tree.Expr) -> tuple[str, int]:
        if isinstance(e, At):
            return f"{e.array}[{self.integer(e.place)}]", 10
        if self.counting:
            if isinstance(e, Call) and e.name == "floor":
                quotient = e.args[0]
                assert isinstance(quotient, Op)  # as whole() says
                return f"down({self.text(quotient.left)}, {self.text(quotient.right)})", 10
            return super().written(e)
        if isinstance(e, Num) or (self.whole(e) and not isinstance(e, Minus)):
            return f"(REAL){self.integer(e, 10)}", PREFIX
        if isinstance(e, Choose):
            return f"{self.test(e.test, 2)} ? {self.text(e.yes, 2)} : {self.text(e.no, 1)}", 1
        if isinstance(e, Call) and e.name in ("sqrt", "relu"):
            return f"{'root' if e.name == 'sqrt' else 'relu'}({self.text(e.args[0])})", 10
        if isinstance(e, Op) and e.op == "^":
            return f"power({self.text(e.left)}, {self.integer(e.right)})", 10
        if isinstance(e, Op) and e.op == "/" and self.whole(e.right):
            inverse = f"((REAL)1 / (REAL){self.integer(e.right, 10)})"
            return f"{self.text(e.left, STRENGTH['*'])} * {inverse}", STRENGTH["*"]
        return super().written(e)
