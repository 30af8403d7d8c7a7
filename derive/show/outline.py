"""The outline of a derivation's document: one list of blocks, from which every format is drawn, so that they agree."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from ..derivation import Derivation
from ..tensor import Tensor
from .blocks import Bullets, Drawing, Equations, Fold, Heading, Line, Mono, Para, Table
from .chapters import chapters
from .example import Example, NotOnPaper, evaluate, worked_example
from .formulas import Formulas
from .graph import network
from .layout import Array, Fence, Name, Node, Num, Ones, Sum, Transposed, Words, children
from .layout import Fraction as Quotient
from .matrix import matrix_layout
from .options import Options

ROLES = {"parameter": "parameter", "data": "data", "random": "random", "state": "state", "constant": "constant"}
SHOWN_VALUES = 24  # entries of a tensor, beyond which a worked example only gives its shape


def outline(d: Derivation, options: Options, flat: bool = False) -> list:
    """Title and question, network, inputs, definitions, chapters, result, conditions, example, evidence.

    ``flat`` is for plain text, where nothing is raised or lowered and an adjoint is written dW.
    """
    options = replace(options, adjoint="d") if flat else options
    f = Formulas(d, options)
    opening = [*_network(d), *_inputs(f), *_definitions(f), *_asked(f)]
    derivation = [Heading(2, "The derivation"), *chapters(f), *_result(f)]
    closing = [*_conditions(f), *(_example(f) if options.example else []), *_evidence(f)]
    return [
        Heading(1, title(d)),
        Para(_question(f)),
        *opening,
        *_legend(f, opening + derivation, flat),
        *derivation,
        *closing,
    ]


def title(d: Derivation) -> str:
    what = {
        "backprop": "the gradient of {}",
        "vjp": "the vector-Jacobian product of {}",
        "hvp": "a Hessian-vector product",
    }.get(d.kind, d.kind + " of {}").format(d.loss.name)
    return what[:1].upper() + what[1:] if d.name in what else f"{d.name}: {what}"


def _question(f: Formulas) -> tuple:
    d = f.d
    wanted = _names(f, d.wrt)
    target = f.names.name(d.loss)
    steps = f"{len(d.steps)} steps" if len(d.steps) != 1 else "one step"
    if d.kind == "backprop":
        asked = ("How does ", target, " change with ", *wanted, "? ")
    elif d.kind == "vjp":
        seed = f.names.name(d.seed) if d.seed is not None else "a cotangent"
        asked = (
            "Given ",
            seed,
            ", the rate at which something changes with ",
            target,
            ": how does it change with ",
            *wanted,
            "? ",
        )
    else:
        asked = ("How does the gradient of a loss with respect to ", *wanted, " change along a direction? ")
    return (
        *asked,
        f"What follows derives the answer from {len(d.source)} definitions in {steps}; nothing about "
        "derivatives is taken from a catalogue but those of scalar functions.",
    )


def _names(f: Formulas, tensors) -> list:
    out: list = []
    for n, t in enumerate(tensors):
        out += ([", " if n < len(tensors) - 1 else " and "] if n else []) + [f.names.name(t)]
    return out


def _network(d: Derivation) -> list:
    return [Heading(2, "The network"), Drawing(network(d.source, {t.name for t in d.wrt}))]


def _inputs(f: Formulas) -> list:
    wrt = {t.name for t in f.d.wrt}
    rows = []
    for t in _given(f.d):
        role = "parameter" if t.name in wrt else ROLES.get(t.role, t.role)
        facts = [x.text(t) for x in t.facts]
        if t.below is not None:
            facts.append(f"0 <= {t.name} < {t.below}")
        rows.append(
            ((f.names.name(t),), (Mono(t.name),), (_shape(t),), (t.dtype,), (role,), ("; ".join(facts) or "–",))
        )
    if not rows:
        return []
    return [Heading(2, "What is given"), Table(("", "name", "shape", "type", "role", "known facts"), tuple(rows))]


def _given(d: Derivation) -> list[Tensor]:
    """All inputs: data before parameters, each in the order of first use."""
    known = {t.name: t for t in (*d.source.inputs, *d.program.inputs)}
    used = [r.name for e in (*d.source.equations, *d.program.equations) for r in e.tensors() if r.name in known]
    wrt = [t.name for t in d.wrt]
    order = dict.fromkeys(
        [n for n in used if n not in wrt] + [n for n in known if n not in used and n not in wrt] + wrt
    )
    return [known[n] for n in order if n in known]


def _shape(t: Tensor) -> str:
    return "scalar" if not t.rank else "(" + ", ".join(str(a) for a in t.axes) + ")"


def _definitions(f: Formulas) -> list:
    lines = tuple(f.line(e) for e in f.d.source.equations)
    primed = any(line.label.endswith("′") for line in lines)
    note = (
        [
            Para(
                (
                    "A primed number marks a definition that the program computes in another form, given below under the "
                    "same number.",
                )
            )
        ]
        if primed
        else []
    )
    return [Heading(2, "The definitions"), *note, Equations(lines)]


def _asked(f: Formulas) -> list:
    d = f.d
    items = []
    for name, t in d.gradients.items():
        primal = f.tensors.get(name)
        items.append(
            (
                f.names.name(t),
                " = the derivative of ",
                f.names.name(d.loss),
                " with respect to ",
                f.names.name(primal) if primal is not None else name,
                f", of shape {_shape(t)}",
            )
        )
    for group, value in d.results[1:]:
        if group != "grads":
            for name, t in value.items():
                items.append((f.names.name(t), f", of shape {_shape(t)} ({group}, {name})"))
    return [Heading(2, "What is asked for"), Bullets(tuple(items))]


def _result(f: Formulas) -> list:
    d = f.d
    wanted = {t.name for group, v in d.results[1:] for t in v.values()}
    forward = {e.name for e in d.source.equations}
    adjoints = [e for e in d.program.equations if e.name in f.names.adjoints or e.name in wanted]
    first = min((e.number for e in adjoints), default=0)
    backward = [e for e in d.program.equations if e.number >= first and e.name not in forward]
    made = [e for e in d.program.equations if e.number < first]
    out = [Heading(2, "The result")]
    if any(e.name not in forward or not f.same(e, d.source.equation(e.name)) for e in made):
        out += [
            Para(("Forward, as it is computed:",)),
            Equations(tuple(f.line(e, aside=False) for e in made)),
            Para(("Backward:",)),
        ]
    return [*out, Equations(tuple(f.line(e) for e in backward), boxed=True)]


def _legend(f: Formulas, body, flat) -> list:
    """Only what the reader of this document needs to be told."""
    nodes = list(_nodes(body))
    matrix = any(matrix_layout(e, f.names) for e in f.d.program.equations) and f.options.notation != "index"
    items = []
    marked = {"bar": "A bar marks the derivative of ", "d": "A leading d marks the derivative of "}
    if f.names.adjoints and f.options.adjoint in marked:
        example = f.names.name(next(iter(f.d.gradients.values())))
        primal = f.name(next(iter(f.d.gradients)))
        known_as = () if flat else (" is called ", Mono(example.raw), " in the program and")
        items.append(
            (
                marked[f.options.adjoint],
                f.names.name(f.d.loss),
                " with respect to what the rest names: ",
                example,
                *known_as,
                " has the shape of ",
                primal,
                ".",
            )
        )
    if any(isinstance(n, Fence) and n.kind == "iverson" for n in nodes):
        items.append(("A condition in square brackets is 1 where it holds and 0 elsewhere.",))
    if not flat and any(isinstance(n, Name) and n.label for n in nodes):
        items.append(("Subscripts are indices; a raised label, as in (1), belongs to the name.",))
    if _shifted(f):
        items.append(("What is read outside an array is 0.",))
    if matrix and any(isinstance(n, (Ones, Transposed)) for n in nodes):
        dot = "*" if flat else "a dot in a circle"
        items.append(
            (
                f"In matrix form vectors are columns, 1 is a vector of ones, {dot} is the elementwise product, and "
                "functions apply to each element.",
            )
        )
    items.append(_ranges(f))
    return [Heading(2, "How to read it"), Bullets(tuple(items))] if items else []


def _ranges(f: Formulas) -> tuple:
    """Over what the letters run."""
    sizes: dict[str, list[str]] = {}
    for e in (*f.d.source.equations, *f.d.program.equations):
        for i in (*e.idx, *e.over, *(b for t in e.terms for b in t.bnd)):
            letters = sizes.setdefault(str(i.size), [])
            if i.name.rstrip("'") not in letters:
                letters.append(i.name.rstrip("'"))
    if all(letters == [size.lower()] for size, letters in sizes.items()):
        return ("Indices count from 0, and each runs over the size that its capital letter names.",)
    runs = "; ".join(f"{', '.join(sorted(letters))} < {size}" for size, letters in sorted(sizes.items()))
    return (f"Indices count from 0, and a prime marks another index with the same range: {runs}.",)


def _shifted(f: Formulas) -> bool:
    return any(i.is_Add for e in f.d.program.equations for r in e.reads() for i in r.idx)


def _nodes(value):
    """Every layout node of a list of blocks."""
    if isinstance(value, Node):
        yield value
        for c in children(value):
            yield from _nodes(c)
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from _nodes(v)
    elif isinstance(value, (Equations, Line, Para, Bullets, Table, Fold)):
        for v in vars(value).values():
            yield from _nodes(v)


def _conditions(f: Formulas) -> list:
    items = [(str(u),) for u in f.d.facts]
    items += [(f"Convention where the derivative does not exist: {k}",) for k in f.d.kinks]
    if not items:
        items = [
            ("No declared fact was used, and no convention was needed: every function involved is differentiable.",)
        ]
    return [Heading(2, "Facts used and conventions"), Bullets(tuple(items))]


# --- the worked example ------------------------------------------------------------------------------------------------


def _example(f: Formulas) -> list:
    head = [Heading(2, "A worked example")]
    try:
        ex = worked_example(f.d.program)
    except NotOnPaper as reason:
        return [*head, Para((f"There is none on paper for this program: {reason}.",))]
    sizes = ", ".join(f"{s.name} = {n}" for s, n in sorted(ex.sizes.items(), key=lambda p: p[0].name))
    rounding = "All numbers are exact." if ex.exact else "Decimals are rounded to three places."
    lines = [Line(f.names.name(t), _numbers(ex, t.name)) for t in _given(f.d) if t.name in ex.values]
    forward, backward = [], []
    wanted = {t.name for _, v in f.d.results[1:] for t in v.values()}
    for e in f.d.program.equations:
        target = backward if e.name in f.names.adjoints or e.name in wanted or backward else forward
        target.append(Line(f.names.name(e.tensor), _numbers(ex, e.name), str(e.number)))
    out = [
        *head,
        Para((f"With {sizes}. {rounding}" if sizes else rounding,)),
        Equations(tuple(lines)),
        Para(("Forward, by the numbered equations:",)),
        Equations(tuple(forward)),
        Para(("Backward:",)),
        Equations(tuple(backward)),
    ]
    return out + _difference(f, ex)


def _numbers(ex: Example, name: str) -> Node:
    shape = ex.shapes[name]
    count = 1
    for n in shape:
        count *= n
    if count > (SHOWN_VALUES if len(shape) < 3 else SHOWN_VALUES // 2):
        return Words(f"{' × '.join(map(str, shape))} numbers")

    def nested(v):
        return Array(tuple(nested(x) for x in v)) if isinstance(v, tuple) else value_node(v)

    return nested(ex.nested(name))


def value_node(v) -> Node:
    """A number as it is written on paper: a whole number, a fraction, or a decimal of three places."""
    negative = v < 0
    if isinstance(v, float):
        v, negative = (0.0, False) if abs(v) < 1e-9 else (v, negative)  # rounding noise
        node: Node = Num(f"{abs(v):.3f}" if 0.0005 <= abs(v) < 1e6 else "0" if v == 0 else f"{abs(v):.2e}")
    else:
        v = abs(Fraction(v))
        node = Num(str(v)) if v.denominator == 1 else Quotient(Num(str(v.numerator)), Num(str(v.denominator)))
    return Sum(((-1, node),)) if negative else node


def _difference(f: Formulas, ex: Example) -> list:
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
                        f" the loss is {high:.6f}, with 0.001 less it is {low:.6f}; the difference divided by 0.002 is "
                        f"{quotient:.4f}, and the gradient says {slope:.4f}.",
                    )
                )
            ]
        disagreed = True
    return (
        [
            Para(
                (
                    "At these round numbers something stands exactly on a kink, where a difference quotient depends on the "
                    "side from which it is taken; the values above follow the convention.",
                )
            )
        ]
        if disagreed
        else []
    )


def _steepest(f: Formulas, ex: Example):
    """Entries of differentiated inputs by how much they matter, a few of each."""
    found = []
    for name, t in f.d.gradients.items():
        if name in ex.values and f.d.program.equation(name) is None:
            entries = sorted(ex.values[t.name].items(), key=lambda e: (-abs(e[1]), e[0]))[:4]
            found += [(name, place, float(v)) for place, v in entries if v]
    return found


def _moved(f: Formulas, ex: Example, name: str, place, sign: int) -> float:
    data = {i.name: dict(ex.values[i.name]) for i in f.d.program.inputs}
    data[name][place] += Fraction(sign, 1000)
    try:
        return float(evaluate(f.d.program, ex.sizes, data).values[f.d.loss.name][()])
    except NotOnPaper:
        return float("nan")


# --- evidence ------------------------------------------------------------------------------------------------------------


def _evidence(f: Formulas) -> list:
    found = f.d.evidence
    head = [Heading(2, "The evidence")]
    if not found:
        return [*head, Para(("The exact check was not run on this derivation; d.check() runs it.",))]
    steps = {k: v for k, v in found.items() if isinstance(k, int)}
    rows = [
        ((k.partition(":")[2] or k,), (k.partition(":")[0] if ":" in k else "",), (str(v),))
        for k, v in found.items()
        if isinstance(k, str)
    ]
    counts: dict[str, int] = {}
    for v in steps.values():
        counts[str(v)] = counts.get(str(v), 0) + 1
    rows += [((f"{n} of {len(steps)} steps",), ("step",), (verdict,)) for verdict, n in counts.items()]
    lost = [f"Step {k}: {v}" for k, v in steps.items() if str(v) != "proved"]
    return [
        *head,
        Para(
            (
                "The exact check evaluates both sides of every statement on random values modulo the prime "
                "2^61 - 1, at several sizes; an identity that fails is refuted for certain.",
            )
        ),
        Table(("what", "kind", "verdict"), tuple(rows)),
        *([Bullets(tuple((x,) for x in lost))] if lost else []),
    ]
