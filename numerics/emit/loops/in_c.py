"""What values, sizes and conditions are in C, whatever loops they stand in."""

from __future__ import annotations

import sympy
from sympy import Expr, Rational, floor

from derive.language.index import Size
from derive.program.program import Term

from . import tree
from .equations import Equations
from .tree import Call, Choose, Num, Op, joined


class InC(Equations):
    """Equations whose sizes are counted in whole numbers."""

    def value(self, e: Expr) -> tree.Expr:
        """A value; a size that is rounded, or has parts that are no whole numbers, as one quotient."""
        inside = e.args[0] if isinstance(e, floor) else e
        broken = isinstance(e, floor) or (e.is_Add and any(not q.is_Integer for q in e.atoms(Rational)))
        if broken and all(isinstance(s, Size) for s in e.free_symbols):
            top, bottom = sympy.together(inside).as_numer_denom()
            if bottom == 1:
                return super().value(sympy.expand(top))
            found = Op("/", super().value(sympy.expand(top)), super().value(bottom))
            return Call("floor", (found,)) if isinstance(e, floor) else found
        return super().value(e)

    def guarded(self, t: Term, value: tree.Expr) -> tree.Expr:
        """A value where the conditions of its term hold, and 0 elsewhere."""
        tests = [self.condition(r.condition) for r in t.rows]
        return Choose(joined("and", tests), value, Num(0)) if tests else value

    def plain(self, terms: list[Term]) -> tree.Expr:
        """Terms that sum over nothing."""
        parts = []
        for t in terms:
            negative = t.coef.could_extract_minus_sign()
            parts.append((negative, self.guarded(t, self.product([-t.coef if negative else t.coef, *t.fac]))))
        return tree.summed(parts)
