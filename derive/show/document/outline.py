"""The outline of a derivation's document: one list of blocks, from which every format is drawn, so that they agree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from derive.language.facts import structure_of
from derive.language.tensor import Tensor
from derive.language.unknown import Unknown
from derive.program.derived import Derived
from derive.program.graph import ancestors
from derive.program.program import Equation
from derive.show.formulas.expressions import expression
from derive.show.formulas.layout import Num, Relation
from derive.show.formulas.names import symbol

from .argument import argument
from .blocks import Block, Bullets, Drawing, Equations, Fold, Heading, Line, Mono, Para, Part, Sentence, Table
from .chapters import chapters
from .formulas import Formulas, shape_of
from .graph import network
from .legend import differentiated, legend
from .options import Options
from .short import short
from .worked import worked


def outline(d: Derived, options: Options, flat: bool = False, narrow: bool = False) -> list[Block]:
    """Title and question, network, inputs, definitions, chapters, result, conditions, example, evidence.

    ``flat`` is for plain text, where nothing is raised or lowered and an adjoint is written dW; ``narrow`` is for pages on
    which a table of formulas has no room.
    """
    options = replace(options, adjoint="d") if flat else options
    f = Formulas(d, options)
    if options.short:
        return [Heading(1, title(d)), *(short(f, flat or narrow) or _result(f))]
    opening = [*_network(f), *_inputs(f), *_definitions(f), *([] if flat else _called(f)), *_asked(f)]
    brief = [] if flat else short(f, narrow)
    derivation = [*chapters(f), *_result(f)]
    closing = [*_conditions(f), *(worked(f) if options.example else []), *_evidence(f)]
    return [
        Heading(1, title(d)),
        Para(_question(f)),
        *brief,
        *opening,
        *legend(f, brief + opening + derivation, flat),
        *derivation,
        *closing,
    ]


def title(d: Derived) -> str:
    if d.kind == "forward":
        return f"The program of {d.name}"
    what = {
        "backprop": "the gradient of {}",
        "vjp": "the vector-Jacobian product of {}",
        "hvp": "a Hessian-vector product",
        "gauss_newton": "a Gauss-Newton product",
    }.get(d.kind, d.kind + " of {}").format(d.loss.name)
    return what[:1].upper() + what[1:] if d.name in what else f"{d.name}: {what}"


def _question(f: Formulas) -> Sentence:
    d = f.d
    wanted = _names(f, d.wrt)
    target = f.names.name(d.loss)
    steps = f"{len(d.steps)} steps" if len(d.steps) != 1 else "one step"
    count = f"{len(d.source)} definition{'s' * (len(d.source) > 1)}"
    if d.kind == "forward":
        how = f", rewritten in {steps} so that nothing overflows" if d.steps else ""
        return (
            "How are ",
            *_names(f, _forward(d)),
            f" computed? What follows are {count}{how}; nothing is differentiated.",
        )
    asked: Sentence
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
    elif d.kind == "hessian":
        asked = ("What are the second derivatives of ", target, " with respect to all pairs of ", *wanted, "? ")
    elif d.kind == "jacobian":
        asked = ("How does each element of ", target, " change with each of ", *wanted, "? ")
    elif d.kind == "gauss_newton" and d.between is not None:
        asked = (
            "How does the gradient of a loss with respect to ",
            *wanted,
            " change along a direction, if ",
            f.names.name(d.between),
            " were linear in it? ",
        )
    else:
        asked = ("How does the gradient of a loss with respect to ", *wanted, " change along a direction? ")
    return (
        *asked,
        f"What follows derives the answer from {count} in {steps}; nothing about "
        "derivatives is taken from a catalogue but those of scalar functions.",
    )


def _names(f: Formulas, tensors: Sequence[Tensor]) -> list[Part]:
    out: list[Part] = []
    for n, t in enumerate(tensors):
        out += ([", " if n < len(tensors) - 1 else " and "] if n else []) + [f.names.name(t)]
    return out


def _network(f: Formulas) -> list[Block]:
    d = f.d
    shown = {n: f.names.name(t) for n, t in f.tensors.items()}
    return [Heading(2, "The network"), Drawing(network(d.source, {t.name for t in d.wrt}, shown))]


def _inputs(f: Formulas) -> list[Block]:
    wrt = {t.name for t in f.d.wrt}
    rows: list[tuple[Sentence, ...]] = []
    for t in f.given():
        role = "parameter" if t.name in wrt else t.role
        facts = [f.fact(x.text(t)) for x in t.facts]
        if t.below is not None:
            facts.append((Relation((Num("0"), f.names.name(t), expression(t.below)), ("<=", "<")),))
        known = tuple(p for n, fact in enumerate(facts) for p in (*(["; "] if n else []), *fact)) or ("–",)
        rows.append(((f.names.name(t),), (Mono(t.name),), shape_of(t), (t.dtype,), (role,), known))
    if not rows:
        return []
    return [Heading(2, "What is given"), Table(("", "name", "shape", "type", "role", "known facts"), tuple(rows))]


def _definitions(f: Formulas) -> list[Block]:
    lines = tuple(f.line(e) for e in _by_gate(f))
    said = []
    if any(line.label.endswith("′") for line in lines):
        said.append(
            "A primed number marks a definition that the program computes in another form, given below under the same number."
        )
    if any(line.label[:1].isalpha() for line in lines):
        said.append("A letter marks one that the program does without in the end.")
    note = [Para((" ".join(said),))] if said else []
    return [Heading(2, "The definitions"), *note, Equations(lines)]


def _called(f: Formulas) -> list[Block]:
    """What the letters that are not the program's own names are called there."""
    inputs = {t.name for t in f.given()}
    rows: list[tuple[Sentence, ...]] = []
    for name, tensor in f.tensors.items():
        s = f.symbols.found.get(name)
        if s is None or name in inputs or s == symbol(name) or name in f.adjoints:
            continue
        rows.append(((f.names.name(tensor),), (Mono(name),), (f.symbols.sentences.get(name, ""),)))
    return (
        [Fold("What these letters are called in the program", (Table(("", "name", "what it is"), tuple(rows)),))]
        if rows
        else []
    )


def _by_gate(f: Formulas) -> list[Equation]:
    """The definitions, in which gates stand in the order of the axis that they are read from."""
    out = list(f.d.source.equations)
    for name, axis in f.names.entries:
        slots = {e.name: int(r.idx[axis]) for e in out for r in e.reads() if r.tensor.name == name}
        places = [n for n, e in enumerate(out) if e.name in slots]
        for n, e in zip(places, sorted((out[n] for n in places), key=lambda e: slots[e.name]), strict=True):
            out[n] = e
    order = {e.name: n for n, e in enumerate(out)}
    right = all(
        order.get(t.name, -1) <= n or e.name in _cyclic(f, t.name) for n, e in enumerate(out) for t in e.tensors()
    )
    return out if right else list(f.d.source.equations)


def _cyclic(f: Formulas, name: str) -> set[str]:
    """Everything that a tensor is computed from, itself in a recurrence included."""
    return ancestors(f.d.source.equations, [t for t in (f.tensors.get(name),) if t is not None])


def _forward(d: Derived) -> list[Tensor]:
    """All results of a program that only goes forward."""
    every = (t for _, v in d.results for t in ([v] if isinstance(v, Tensor) else v.values()))
    return list(dict.fromkeys(every))


def _asked(f: Formulas) -> list[Block]:
    d = f.d
    items: list[Sentence] = []
    if d.kind == "forward":
        items = [(f.names.name(t), *_of_shape(t)) for t in _forward(d)]
        return [Heading(2, "What is asked for"), Bullets(tuple(items))]
    for name, t in dict(d.results).get("grads", {}).items():  # a Jacobian has none
        primal = f.tensors.get(name)
        items.append(
            (
                f.names.name(t),
                " = the derivative of ",
                *differentiated(f),
                " with respect to ",
                f.names.name(primal) if primal is not None else name,
                *_of_shape(t),
            )
        )
    if len(items) > MANY:
        every = [t for name, t in dict(d.results)["grads"].items() if name in f.tensors]
        items = [
            (
                "the derivatives of ",
                *differentiated(f),
                f" with respect to all {len(every)} parameters, each of the shape of its parameter: ",
                *_names(f, every),
            )
        ]
    for group, value in d.results[1:]:
        if group != "grads":
            for name, t in value.items():
                of = f.name(name)
                matrix = {"hvp": "the Hessian", "gauss_newton": "the Gauss-Newton matrix"}.get(group)
                what = (f" = {matrix} times the direction, at ", of) if matrix else (BESIDE.get(group, f" ({group})"),)
                items.append((f.names.name(t), *what, *_of_shape(t)))
    return [Heading(2, "What is asked for"), Bullets(tuple(items)), *_product(f)]


MANY = 8  # gradients, beyond which they are asked for in one sentence
BESIDE = {"outputs": ", a value of the program, beside the gradients"}


def _of_shape(t: Tensor) -> Sentence:
    return (", of shape ", *shape_of(t)) if t.rank else (", a number",)


def _product(f: Formulas) -> list[Block]:
    """How a product with a matrix that is never built comes out of a gradient."""
    d, made = f.d, {"hvp": "along", "gauss_newton": "curved"}
    target = next((e for e in d.source.equations if d.kind in made and e.name == f"{d.loss.name}_{made[d.kind]}"), None)
    if target is None:
        return []
    name = f.names.name(target.tensor)
    if d.between is None:
        return [
            Para(
                (
                    name,
                    " is the derivative of ",
                    f.names.name(d.loss),
                    " along the direction, a number; its gradient "
                    "is the Hessian times the direction, and the Hessian itself is never built.",
                )
            )
        ]
    held = f.names.name(d.between)
    return [
        Para(
            (
                "The direction moves ",
                held,
                " first; what the curvature of ",
                f.names.name(d.loss),
                " there makes of that is held fixed in ",
                name,
                ", whose gradient is then the product. The curvature of the way to ",
                held,
                " is left out.",
            )
        )
    ]


def _result(f: Formulas) -> list[Block]:
    d = f.d
    if d.kind == "forward":
        return [Heading(2, "The result"), Equations(_lines(f, d.program.equations, aside=False), boxed=True)]
    wanted = {t.name for group, v in d.results[1:] for t in v.values()}
    forward = {e.name for e in d.source.equations}
    back = f.adjoints | wanted - forward
    reached: set[str] = set()  # what is computed from an adjoint is one of the way back
    for e in d.program.equations:
        if e.name in back or any(t.name in reached for t in e.tensors()):
            reached.add(e.name)
    backward = [e for e in d.program.equations if e.name in reached and e.name not in forward]
    made = [e for e in d.program.equations if e.name not in reached or e.name in forward]
    out: list[Block] = [Heading(2, "The result")]
    given = {e.name: e for e in d.source.equations}
    if any(e.name not in given or not f.same(e, given[e.name]) for e in made):
        out += [
            Para(("Forward, as it is computed:",)),
            Equations(_lines(f, made, aside=False)),
            Para(("Backward:" if d.kind in ("backprop", "vjp") else "And then:",)),
        ]
    return [*out, Equations(_lines(f, backward), boxed=True)]


def _lines(f: Formulas, equations: Iterable[Equation], aside: bool = True) -> tuple[Line, ...]:
    return tuple(line for e in equations for line in f.lines(e, aside))


def _conditions(f: Formulas) -> list[Block]:
    told = argument(f.d)
    items: list[Sentence] = []
    for u in f.d.facts:
        steps = sorted({told.number(k) for k in u.steps})
        used = f"; used by step{'s' * (len(steps) > 1)} {', '.join(map(str, steps))}" if steps else ""
        items.append((*f.fact(u.text), used))
    items += [(f"Convention where the derivative does not exist: {k}",) for k in f.d.kinks]
    unknown = {u.name_only for e in f.d.source.equations for t in e.terms for x in t.fac for u in x.atoms(Unknown)}
    items += [(f"{n} is any function of one number that has the derivatives written here.",) for n in sorted(unknown)]
    items += [
        (
            f"Convention for {t.name}, declared symmetric: all its entries are differentiated as independent ones, and "
            "the declaration is used only to simplify. The steepest direction among symmetric matrices is the "
            "symmetric part of the gradient.",
        )
        for t in f.d.wrt
        if any(fact.is_symmetric for fact in t.facts) and structure_of(t) is None
    ]
    items += [
        (
            f"Convention for {t.name}: it is differentiated by its free entries. The element at (i, j) of the gradient is the "
            f"derivative by the entry that stands there, wherever else it stands, and zero where there is none; half of "
            f"an off-diagonal one comes from each place, so the steepest direction among symmetric matrices has half of it."
            if structure_of(t) == "symmetric"
            else f"Convention for {t.name}: it is differentiated by its free entries. The element at (i, j) of the gradient "
            "is the derivative by the entry that stands there, wherever else it stands, and zero where there is none.",
        )
        for t in f.d.wrt
        if t.is_input and structure_of(t) is not None
    ]
    if not items:
        items = [
            ("No declared fact was used, and no convention was needed: every function involved is differentiable.",)
        ]
    return [Heading(2, "Facts used and conventions"), Bullets(tuple(items))]


def _evidence(f: Formulas) -> list[Block]:
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
    told = argument(f.d)
    rules = {s.id: s for s in f.d.steps}
    lost = [
        f"Step {told.number(k)}, {rules[k].rule} of {rules[k].target}: {v}"
        for k, v in steps.items()
        if str(v) != "proved"
    ]
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
