"""The worked example as a section of the document: small numbers, every equation evaluated, and a check by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from derive.language.facts import structure_of
from derive.language.tensor import Tensor
from derive.show.formulas.layout import Array, Element, Letter, Node, Num, Relation, Sum, width
from derive.show.formulas.layout import Fraction as Quotient

from .blocks import Block, Equations, Heading, Line, Mono, Para, Part, Sentence
from .example import SHOWN_VALUES, Example, NotOnPaper, Place, Value, evaluate, worked_example
from .formulas import Formulas

LONGEST_LINE = 44  # characters of an array of more than two axes, beyond which it stands in several lines


def worked(f: Formulas) -> list[Block]:
    """The section: inputs, every numbered value, and a difference quotient to compare a gradient with."""
    head = Heading(2, "A worked example")
    try:
        ex = worked_example(f.d.program)
    except NotOnPaper as reason:
        return [head, Para((f"There is none on paper for this program: {reason}.",))]
    sizes: list[Part] = []
    for s, n in sorted(ex.sizes.items(), key=lambda p: p[0].name):
        sizes += [*([", "] if sizes else []), Relation((Letter(s.name), Num(str(n))), ("==",))]
    rounding = "All numbers are exact." if ex.exact else "Decimals are rounded."
    left_out = [t for t in (*f.given(), *(e.tensor for e in f.d.program)) if t.name in ex.values and _long(ex, t.name)]
    wanted = set() if f.d.kind == "forward" else {t.name for _, v in f.d.results[1:] for t in v.values()}
    result = wanted - {e.name for e in f.d.source.equations}
    shown = [t for t in f.given() if t.name in ex.values and t not in left_out]
    lines = [line for t in shown for line in _written(f, ex, t)]
    parts: dict[str, list[Line]] = {"forward": [], "backward": [], "result": []}
    for e in f.d.program.equations:
        if e.tensor in left_out:
            continue
        back = e.name in f.adjoints or any(t.name in f.adjoints for t in e.tensors())
        part = "result" if e.name in result else "backward" if back else "forward"
        parts[part] += _written(f, ex, e.tensor, str(e.number))
        shown.append(e.tensor)
    said = (*(["With ", *sizes, ". "] if sizes else []), rounding, *_flat(ex, shown), *_left_out(f, left_out))
    out: list[Block] = [head, Para(said)]
    out += [Equations(tuple(lines))] if lines else []
    out += [Para(("Forward, by the numbered equations:",)), Equations(tuple(parts["forward"]))]
    if parts["backward"]:
        out += [Para(("Backward:",)), Equations(tuple(parts["backward"]))]
    out += _difference(f, ex)
    if parts["result"]:
        out += [Para(("So the result, in numbers:",)), Equations(tuple(parts["result"]), boxed=True)]
    return out


def _left_out(f: Formulas, tensors: Sequence[Tensor]) -> Sentence:
    """Which tensors are too long to be written out."""
    if not tensors:
        return ()
    named: list[Part] = []
    for n, t in enumerate(tensors):
        named += [", " if n < len(tensors) - 1 else " and "] if n else []
        named.append(f.names.name(t))
    return (f" Of more than {SHOWN_VALUES} numbers each, and so not written out: ", *named, ".")


def _long(ex: Example, name: str) -> bool:
    return math.prod(ex.shapes[name]) > SHOWN_VALUES


def _flat(ex: Example, tensors: Sequence[Tensor]) -> Sentence:
    """That axes of length 1 are left out, where some are."""
    some = any(len(_axes(ex, t.name)) < len(ex.shapes[t.name]) for t in tensors)
    return (" Of arrays with more than two axes, those of length 1 are not shown.",) if some else ()


def _axes(ex: Example, name: str) -> tuple[int, ...]:
    """The axes that are shown: of more than two, those that are longer than 1, and two at least."""
    shape = ex.shapes[name]
    out = list(range(len(shape)))
    for axis in range(len(shape)):
        if len(out) > 2 and shape[axis] == 1:
            out.remove(axis)
    return tuple(out)


def _written(f: Formulas, ex: Example, t: Tensor, label: str = "") -> list[Line]:
    """The numbers of a tensor: in one line, or where that is too long, in one for each place along the first axes."""
    axes, shape = _axes(ex, t.name), ex.shapes[t.name]
    whole = [0] * len(shape)

    def nested(left: tuple[int, ...], at: list[int]) -> Node:
        if not left:
            return value_node(ex.values[t.name][tuple(at)])
        places = ([*at[: left[0]], n, *at[left[0] + 1 :]] for n in range(shape[left[0]]))
        return Array(tuple(nested(left[1:], place) for place in places))

    def lines(left: tuple[int, ...], at: list[int], before: tuple[int, ...]) -> list[Line]:
        node = nested(left, at)
        if len(left) <= 2 or width(node) <= LONGEST_LINE:
            name = f.names.name(t)
            return [Line(Element(name, tuple(Num(str(n)) for n in before)) if before else name, node)]
        places = ([*at[: left[0]], n, *at[left[0] + 1 :]] for n in range(shape[left[0]]))
        return [x for n, place in enumerate(places) for x in lines(left[1:], place, (*before, n))]

    *first, last = lines(axes, whole, ())
    return [*first, replace(last, label=label)]


def value_node(v: Value) -> Node:
    """A number as it is written on paper: a whole number, a fraction, or a decimal of three places or digits."""
    if isinstance(v, float) and abs(v) < 1e-9:  # rounding noise
        return Num("0")
    node = _decimal(abs(v)) if isinstance(v, float) else _quotient(abs(Fraction(v)))
    return Sum(((-1, node),)) if v < 0 else node


def _decimal(v: float) -> Node:
    return Num(f"{v:.3f}" if 0.1 <= v < 1e6 else f"{v:#.3g}" if 1e-4 <= v < 0.1 else f"{v:.2e}")


def _signed(text: str) -> Node:
    return Sum(((-1, Num(text[1:])),)) if text.startswith("-") else Num(text)


def _quotient(v: Fraction) -> Node:
    return Num(str(v)) if v.denominator == 1 else Quotient(Num(str(v.numerator)), Num(str(v.denominator)))


def _difference(f: Formulas, ex: Example) -> list[Block]:
    """The reader's own check: move one entry of one parameter a little, and watch the loss."""
    if f.d.kind != "backprop" or ex.shapes[f.d.loss.name]:
        return []
    disagreed = False
    for name, place, slope in _steepest(f, ex):
        low, high = (_moved(f, ex, name, place, sign) for sign in (-1, 1))
        quotient = (high - low) / 0.002
        if abs(quotient - slope) <= 1e-3 * max(1.0, abs(slope)) or not f.d.kinks:
            at = ",".join(map(str, place))
            return [
                Para(
                    (
                        "A check without calculus: with 0.001 more in ",
                        Mono(f"{name}[{at}]" if place else name),
                        _elsewhere(f, ex, name, place),
                        " the loss is ",
                        _signed(f"{high:.6f}"),
                        ", with 0.001 less it is ",
                        _signed(f"{low:.6f}"),
                        "; the difference divided by 0.002 is ",
                        _signed(f"{quotient:.4f}"),
                        ", and the gradient says ",
                        _signed(f"{slope:.4f}"),
                        ".",
                    )
                )
            ]
        disagreed = True
    if not disagreed:
        return []
    kink = (
        "At these round numbers something stands exactly on a kink, where a difference quotient depends on the side "
        "from which it is taken; the values above follow the convention."
    )
    return [Para((kink,))]


def _steepest(f: Formulas, ex: Example) -> list[tuple[str, Place, float]]:
    """Entries of differentiated inputs by how much they matter, a few of each."""
    found: list[tuple[str, Place, float]] = []
    for name, t in dict(f.d.results).get("grads", {}).items():
        if name in ex.values and f.d.program.equation(name) is None:
            entries = sorted(ex.values[t.name].items(), key=lambda e: (-abs(float(e[1])), e[0]))[:4]
            found += [(name, place, float(v)) for place, v in entries if v]
    return sorted(found, key=lambda e: -abs(e[2]))


def _moved(f: Formulas, ex: Example, name: str, place: Place, sign: int) -> float:
    data = {i.name: dict(ex.values[i.name]) for i in f.d.program.inputs}
    for at in _places(f, ex, name, place):
        data[name][at] += Fraction(sign, 1000)
    try:
        return float(evaluate(f.d.program, ex.sizes, data).values[f.d.loss.name][()])
    except NotOnPaper:
        return float("nan")


def _places(f: Formulas, ex: Example, name: str, place: Place) -> list[Place]:
    """Where an entry stands: with a declared structure, at several places."""
    kind = next((structure_of(t) for t in f.d.wrt if t.name == name and t.is_input), None)
    if kind == "symmetric":
        return sorted({place, place[::-1]})
    if kind == "toeplitz":
        return [p for p in ex.values[name] if p[0] - p[1] == place[0] - place[1]]
    return [place]


def _elsewhere(f: Formulas, ex: Example, name: str, place: Place) -> str:
    others = [p for p in _places(f, ex, name, place) if p != place]
    return f", and so in {', '.join(f'[{i},{j}]' for i, j in others)}," if others else ""
