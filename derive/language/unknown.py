"""Functions that only have a name: ``f(x)``, with the derivatives ``f'(x)``, ``f''(x)``, of which nothing is known.

What is derived holds for every function that is as often differentiable; nothing can be computed with it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from sympy import Expr, Function, Integer
from sympy.core.function import ArgumentIndexError
from sympy.printing.printer import Printer

from .errors import DeriveError
from .functions import FUNCTIONS
from .index import as_sympy, check_name

PRIMES = 3  # derivatives of a higher order are written f^(4)


class Unknown(Function):
    """``Unknown(code, n, x)``: the n-th derivative of an unknown function at x; the code is its name as a whole number.

    All of its arguments are expressions, so that it is rewritten, keyed and evaluated as any function is.
    """

    nargs = 3
    is_real = True

    @property
    def called(self) -> str:
        """The name with its primes, as ``f''``."""
        n = int(self.args[1])
        return _decoded(int(self.args[0])) + ("'" * n if n <= PRIMES else f"^({n})")

    @property
    def name_only(self) -> str:
        return _decoded(int(self.args[0]))

    def fdiff(self, argindex: int = 1) -> Expr:
        if argindex != 3:
            raise ArgumentIndexError(self, argindex)
        code, n, x = self.args
        return Unknown(code, n + 1, x)

    def _sympystr(self, printer: Printer) -> str:
        return f"{self.called}({printer._print(self.args[2])})"


def function(name: str) -> Callable[[Expr], Expr]:
    """An unknown function of one number, by name: ``f = dv.function("f")``, then ``f(x[i])``.

    >>> import derive as dv
    >>> (i,) = dv.indices("i")
    >>> x, f = dv.tensor("x", i), dv.function("f")
    >>> print(dv.backprop(dv.define("loss", (), dv.Sum(f(x[i]) ** 2, i)), [x]).gradient(x))
    dx[i] = 2 f(x[i]) f'(x[i])
    """
    check_function(name)
    return partial(applied_function, name)


def check_function(name: str) -> None:
    """Refuse a name that cannot be one of an unknown function."""
    check_name(name, "function")
    if not name.isidentifier():
        raise DeriveError(
            f"function {name!r}: the name of an unknown function is a word, as f or phi; primes are derivatives"
        )
    if name in KNOWN:
        raise DeriveError(f"function {name!r}: {name} is known already; give the unknown function another name")


KNOWN = frozenset({n for f in FUNCTIONS.values() for n in f.text} | {"sqrt"})


def applied_function(name: str, x: Expr, order: int = 0) -> Expr:
    """The value of an unknown function, or of its derivative, at x."""
    x = x._sympy_() if hasattr(x, "_sympy_") else as_sympy(x, f"{name}(...)")
    return Unknown(Integer(int.from_bytes(name.encode(), "big")), Integer(order), x)


def _decoded(code: int) -> str:
    return code.to_bytes((code.bit_length() + 7) // 8, "big").decode()
