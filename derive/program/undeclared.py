"""What a result keeps because it was not declared: sums over rows of data that a fact would have made a number."""

from __future__ import annotations

from collections.abc import Iterator

from derive.language.tensor import Read, Tensor

from .derived import Derived
from .graph import ancestors
from .program import Equation


def kept_sums(d: Derived) -> tuple[str, ...]:
    """A sentence for each derived sum ``sum_k y[b,k]`` of a row of an input, which ``dv.sums_to`` would make a number.

    >>> import sympy
    >>> from derive import indices, tensor, define, Sum, hessian
    >>> b, k = indices("b k")
    >>> z, y = tensor("z", b, k), tensor("y", b, k)
    >>> lse = define("lse", (b,), sympy.log(Sum(sympy.exp(z[b, k]), k)))
    >>> hessian(define("loss", (), Sum(y[b, k]*(lse[b] - z[b, k]), b, k)), [z]).facts[0].text
    'sum over k of y[b,k] is not declared; d_lse[b] keeps it (dv.sums_to(1, k) would make it 1)'
    """
    found: dict[tuple[str, str], str] = {}
    written = ancestors(d.source.equations, [d.loss])
    for e in d.program.equations:
        if e.name not in written:
            for sum_of in _row_sums(e, d.wrt):
                found.setdefault(
                    sum_of,
                    f"sum over {sum_of[1]} of {sum_of[0]} is not declared; {_shown(e)} keeps it "
                    f"(dv.sums_to(1, {sum_of[1]}) would make it 1)",
                )
    return tuple(found.values())


def _row_sums(e: Equation, wrt: tuple[Tensor, ...]) -> Iterator[tuple[str, str]]:
    """``(read, letter)`` of every sum over one axis of an input that other axes index too."""
    for t in e.terms:
        for b in t.bnd:
            held = [f for f in t.fac if b in f.free_symbols]
            y = held[0] if len(held) == 1 else None
            if (
                isinstance(y, Read)
                and y.tensor.is_input
                and y.tensor not in wrt
                and y.tensor.dtype == "float"
                and b in y.idx
                and len(y.idx) > 1
                and not any(b in r.free_symbols for r in t.rows)
                and not any(f.kind == "sums_to" for f in y.tensor.facts)
            ):
                yield _text(y), b.name


def _text(y: Read) -> str:
    return f"{y.tensor.name}[{','.join(map(str, y.idx))}]"


def _shown(e: Equation) -> str:
    return f"{e.name}[{','.join(i.name for i in e.idx)}]" if e.idx else e.name
