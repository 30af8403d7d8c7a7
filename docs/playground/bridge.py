"""What the page asks of the library, in a worker of the browser: requests and answers are plain data.

A text is parsed by the library's grammars and never evaluated; nothing that comes from the page is code here.  The module
needs neither JAX nor NumPy, which the browser does not have; tests import it where they are.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sympy

import derive as dv
from derive import layers as L
from derive.derivation.updates import RULES
from derive.exact.check import Checker
from derive.exact.verdict import REFUTED, Evidence
from derive.language.naming import adjoint
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Term
from derive.show.document import blocks as B
from derive.show.document.options import Options
from derive.show.document.outline import outline
from derive.show.html import blocks_article
from derive.show.text import expr_text
from numerics.emit.targets import source

ACTIVATIONS = ("tanh", "relu", "sigmoid", "linear", "softplus", "gelu_tanh", "silu", "elu")
LOSSES = ("sigmoid_binary_cross_entropy", "mean_squared_error", "hinge", "squared_hinge")
SIGNED = ("mean_squared_error", "hinge", "squared_hinge")  # their labels are -1 and 1, those of the others 0 and 1
UNITS, DEPTH = 16, 4  # at most, of a network that is drawn
FORWARD = {"The network", "What is given", "The definitions"}
AFTER = {"Facts used and conventions", "A worked example"}
Told = Callable[[dict[str, Any]], None]


class Desk:
    """The derivation that the page shows, kept between requests."""

    def __init__(self) -> None:
        self.d: dv.Derivation | None = None

    def answer(self, request: Mapping[str, Any], tell: Told) -> dict[str, Any]:
        """The answer to one request; an error of the library is an answer too, with its place in the text."""
        try:
            return {"derive": self.derive, "prove": self.prove, "plant": self.plant}[request["do"]](request, tell)
        except dv.DeriveError as error:
            line, column = place(error)
            return {"error": str(error), "kind": type(error).__name__, "line": line, "column": column}
        except RecursionError:
            return {"error": "this nests too deeply for the browser", "kind": "RecursionError"}

    def derive(self, request: Mapping[str, Any], tell: Told) -> dict[str, Any]:
        started = time.perf_counter()
        self.d, more = WAYS[request["way"]](request)
        if "closed" in more:  # a formula's result, before the documents are written
            tell(more)
        return {**shown(self.d), **opened(request), **more, "seconds": time.perf_counter() - started}

    def prove(self, request: Mapping[str, Any], tell: Told) -> dict[str, Any]:
        """The exact check, told row by row."""
        return checked(self._kept(), tell)

    def plant(self, request: Mapping[str, Any], tell: Told) -> dict[str, Any]:
        """The exact check of the derivation with one step's first sign turned: it has to be refuted."""
        bad, what = planted(self._kept(), int(request["step"]))
        return {**checked(bad, tell), "planted": what}

    def _kept(self) -> dv.Derivation:
        if self.d is None:
            raise dv.DeriveError("nothing is derived yet")
        return self.d


def place(error: dv.DeriveError) -> tuple[int | None, int | None]:
    """Line and column of an error, where it has them or says them."""
    said = re.search(r"line (\d+), column (\d+)", str(error))
    if error.line is None and said:
        return int(said[1]), int(said[2])
    return error.line, error.column


# -- three ways in ---------------------------------------------------------------------------------------------------


def of_formula(request: Mapping[str, Any]) -> tuple[dv.Derivation, dict[str, Any]]:
    d = dv.derive_matrix(request["text"], names(request["wrt"]), order=2 if request["hessian"] else 1)
    given = {t.name: _axes(t) for t in d.source.inputs}
    return d, {"closed": closed(d), "matrix": d.to_matrix_notation(), "given": given}


def closed(d: dv.Derivation) -> list[dict[str, str]]:
    """Every derivative as one expression in the inputs, or why it has none."""
    found = []
    for tensor in (t for _, group in d.results if isinstance(group, Mapping) for t in group.values()):
        try:
            form = d.closed_form(tensor.name)
            found.append({"name": tensor.name, "text": str(form), "latex": form.to_latex()})
        except dv.DeriveError as error:
            found.append({"name": tensor.name, "why": str(error)})
    return found


def of_definitions(request: Mapping[str, Any]) -> tuple[dv.Derivation, dict[str, Any]]:
    found = dv.parse(request["text"])
    defined = [t for t in found.values() if not t.is_input]
    if not defined:
        raise dv.DeriveError("the text declares inputs and defines nothing; a definition is  loss = sum[i](x[i]^2)")
    loss, asked = defined[-1], names(request["wrt"])
    for n in asked:
        if n not in found:
            raise dv.DeriveError(f"{n!r} is not in the text; its inputs are {', '.join(_inputs(found))}")
    wrt = [found[n] for n in asked] or [t for t in found.values() if t.role == "parameter"]
    wrt = wrt or [t for t in found.values() if t.is_input and t.dtype == "float"]
    return (dv.jacobian(loss, wrt) if loss.rank else dv.backprop(loss, wrt)), {}


def _inputs(found: Mapping[str, Tensor]) -> list[str]:
    return [n for n, t in found.items() if t.is_input]


def of_network(request: Mapping[str, Any]) -> tuple[dv.Derivation, dict[str, Any]]:
    units = [int(u) for u in request["units"]]
    if len(units) > DEPTH or not all(1 <= u <= UNITS for u in units):
        raise dv.DeriveError(f"a network here has up to {DEPTH} layers of 1 to {UNITS} units, not {units}")
    for what, name, known in (("activation", request["activation"], ACTIVATIONS), ("loss", request["loss"], LOSSES)):
        if name not in known:
            raise dv.DeriveError(f"{what} {name!r}: here are {', '.join(known)}")
    activation = None if request["activation"] == "linear" else request["activation"]
    rates = {n: float(request[n]) for n in ("l1", "l2") if request[n]}
    pixels, last, loss = of_data(request)
    layers = [L.Dense(u, activation=activation) for u in units] + [L.Dense(last)]
    if rates:
        layers = [one.penalize(kernel=L.Penalty(**rates)) for one in layers]
    model = dv.Sequential(layers, input_shape=(pixels,))
    d = model.backprop(loss)
    known = {e.name: e.tensor for e in d.source.equations}
    maps = [known.get(f"h{n}", known[f"z{n}"]) for n in range(1, len(units) + 1)]
    output = known[f"z{len(units) + 1}"]
    sizes = [pixels, *units, last]
    training = {
        "sizes": sizes,
        "signed": loss in SIGNED,
        "parameters": [
            {"name": f"dense_{n}_{role}", "shape": list(shape)}
            for n, (i, o) in enumerate(zip(sizes, sizes[1:], strict=False), start=1)
            for role, shape in (("kernel", (i, o)), ("bias", (o,)))
        ],
        "maps": [t.name for t in maps],
        "output": output.name,
        "gradient": source(d, target="javascript"),
        "forward": source([*maps, output], target="javascript"),
        "updates": {rule: update(rule) for rule in ("sgd", "adam")},
        **examined(d),
    }
    return d, {"training": training}


def of_data(request: Mapping[str, Any]) -> tuple[int, int, str]:
    """Inputs, outputs and loss: those of digits are what they are, of points in the plane the loss is chosen."""
    return (64, 10, "sparse_softmax_cross_entropy") if request.get("digits") else (2, 1, request["loss"])


def examined(d: dv.Derivation) -> dict[str, Any]:
    """What ``trainer.diagnose()`` looks at: every equation's values, and the slopes that adjoints pass through."""
    layer = {e.name: e.tensor.block for e in d.program}
    primal = {t.name: name for name, t in (*d.adjoints, *d.gradients.items())}
    layer |= {t.name: name.rpartition("_")[0] for name, t in d.gradients.items()}
    slopes, gates = [], []
    for e in d.program:
        local = (
            _local(e, primal)
            if e.idx and e.name in primal and e.name not in {t.name for t in d.gradients.values()}
            else []
        )
        if local:
            value = sympy.Add(*(sympy.Abs(t.expr()) for t in local))
            reads = {r: dv.tensor(r.tensor.name, *r.tensor.axes)[r.idx] for r in value.atoms(Read)}
            slopes.append(dv.define(f"slope_{e.name}", e.idx, value.xreplace(reads)))
            text = " + ".join(expr_text(t.expr()) for t in local)
            gates.append({"slope": slopes[-1].name, "layer": layer[e.name], "eq": e.number, "text": text})
    values = replace(d, results=(("values", {e.name: e.tensor for e in d.program}),), name="values")
    return {
        "values": source(values, target="javascript"),
        "slopes": source(slopes, target="javascript") if slopes else "",
        "gates": gates,
        "equations": [
            {"name": e.name, "eq": e.number, "layer": layer[e.name], "of": primal.get(e.name, "")} for e in d.program
        ],
    }


def _local(e: Equation, primal: Mapping[str, str]) -> list[Term]:
    """The local derivatives in an adjoint, as numerics.training.diagnosis has them: factors of what went forward."""
    found = []
    for t in e.terms:
        inside = [f for f in t.fac if not f.free_symbols & set(t.bnd) and _forward(f, primal)]
        if not inside or not {r.tensor.name for r in t.reads()} & set(primal):
            return []
        found.append(Term(sympy.Integer(1), tuple(inside)))
    return found


def _forward(f: sympy.Expr, primal: Mapping[str, str]) -> bool:
    read = {r.tensor for r in f.atoms(Read)}
    return bool(read) and all(t.role == "computed" and t.name not in primal for t in read)


def number(d: dv.Derivation, name: str) -> int:
    equation = d.program.equation(name)
    return equation.number if equation is not None else 0


WAYS = {"formula": of_formula, "definitions": of_definitions, "network": of_network}


def names(text: str) -> tuple[str, ...]:
    return tuple(n for n in re.split(r"[,\s]+", text.strip()) if n)


def _axes(t: Tensor) -> str:
    return " × ".join(map(str, t.axes)) or "scalar"


# -- one step of an optimizer, from the same rule as dv.with_update ----------------------------------------------------


class OneStep:
    """What a rule of :mod:`derive.derivation.updates` is given, of one step: what is kept comes in and goes out."""

    def __init__(self, rule: str) -> None:
        p = dv.index("p")
        self.idx = p
        self.n = dv.tensor("n", role="constant")[()]
        self.weight, self.gradient = dv.tensor("w", p)[p], dv.tensor("g", p)[p]
        self.constants = {c.name: dv.tensor(c.name, role="constant")[()] for c in RULES[rule].constants}
        self.kept: list[Tensor] = []

    def __getattr__(self, name: str) -> sympy.Expr:
        try:
            return self.__dict__["constants"][name]
        except KeyError:
            raise AttributeError(name) from None

    def keep(self, name: str, body: Callable[[sympy.Expr], sympy.Expr]) -> sympy.Expr:
        before = dv.tensor(f"{name}_before", self.idx)
        self.kept.append(dv.define(name, (self.idx,), body(before[self.idx])))
        return self.kept[-1][self.idx]

    def name(self, name: str, body: sympy.Expr) -> sympy.Expr:
        return dv.define(name, (self.idx,), body)[self.idx]


def update(rule: str) -> dict[str, Any]:
    """The program of one step over a flat array ``w``, what it keeps, and the usual constants."""
    step = OneStep(rule)
    after = dv.define("after", (step.idx,), step.weight + RULES[rule].change(step))  # type: ignore[arg-type]
    usual = {c.name: float(c.usual) for c in RULES[rule].constants}
    text = source([after, *step.kept], target="javascript")
    return {"source": text, "kept": [t.name for t in step.kept], "constants": usual}


# -- the same elsewhere -------------------------------------------------------------------------------------------------


def opened(request: Mapping[str, Any]) -> dict[str, str]:
    """What is asked for as text, as a Python program and as a notebook of it; texts stand in it as literals."""
    head = ["import derive as dv", "import numerics as nx", ""]
    if request["way"] == "formula":
        order = 2 if request["hessian"] else 1
        made = [f"d = dv.derive_matrix({request['text']!r}, {list(names(request['wrt']))!r}, order={order})"]
        written = request["text"]
    elif request["way"] == "definitions":
        written = request["text"]
        made = [
            "found = dv.parse(",
            *(f"    {line!r}" for line in written.splitlines(keepends=True)),
            ")",
            "defined = [t for t in found.values() if not t.is_input]",
            f"wrt = [found[n] for n in {list(names(request['wrt']))!r}]",
            'wrt = wrt or [t for t in found.values() if t.role == "parameter"]',
            'wrt = wrt or [t for t in found.values() if t.is_input and t.dtype == "float"]',
            "d = dv.jacobian(defined[-1], wrt) if defined[-1].rank else dv.backprop(defined[-1], wrt)",
        ]
    else:
        (pixels, _, loss), layers = of_data(request), network_layers(request)
        made = [
            "from derive import layers as L",
            "",
            f"model = dv.Sequential([{', '.join(layers)}], input_shape=({pixels},))",
            f"d = model.backprop({loss!r})",
        ]
        written = "\n".join([*layers, f"loss: {loss}"])
    end = ["print(d)", "print(d.check())", "print(nx.source(d))"]
    cells = [[*head[:-1]], made, *([line] for line in end)]
    return {"written": written, "script": "\n".join([*head, *made, *end, ""]), "notebook": notebook(cells)}


def network_layers(request: Mapping[str, Any]) -> list[str]:
    rates = ", ".join(f"{n}={float(request[n])!r}" for n in ("l1", "l2") if request[n])
    price = f".penalize(kernel=L.Penalty({rates}))" if rates else ""
    activation = "" if request["activation"] == "linear" else f", activation={request['activation']!r}"
    return [
        *(f"L.Dense({int(u)}{activation}){price}" for u in request["units"]),
        f"L.Dense({of_data(request)[1]}){price}",
    ]


def notebook(cells: Sequence[Sequence[str]]) -> str:
    def cell(lines: Sequence[str]) -> dict[str, Any]:
        source = "\n".join(lines).splitlines(keepends=True)
        return {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": source}

    return json.dumps({"cells": [*map(cell, cells)], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}, indent=1)


# -- four views --------------------------------------------------------------------------------------------------------


def shown(d: dv.Derivation) -> dict[str, Any]:
    """Definitions, derivation, JAX source and the statements to prove, all with the numbers of the equations."""
    chapters = list(chapter(outline(d, Options(example=d.kind == "backprop"))))
    return {
        "name": d.name,
        "definitions": article(b for title, b in chapters if title in FORWARD),
        "derivation": article(b for title, b in chapters if title not in FORWARD | {"The evidence", ""}),
        "jax": source(d),
        "javascript": source(d, target="javascript"),
        "tex": d.to_latex(),
        "steps": [{"id": s.id, "rule": s.rule, "target": s.target, "eq": number(d, s.target)} for s in d.steps],
    }


def chapter(blocks: Sequence[B.Block]) -> Iterator[tuple[str, B.Block]]:
    """Every block with the title of its chapter."""
    title = ""
    for block in blocks:
        if isinstance(block, B.Heading) and block.level <= 2:
            title = block.text if block.level == 2 else ""
        yield title, block


def article(blocks: Iterator[B.Block]) -> str:
    """The document's own HTML, less the one style that stands on an element, which the page's policy forbids."""
    return blocks_article(list(blocks)).replace(' style="max-width:100%;height:auto"', "")


# -- evidence ----------------------------------------------------------------------------------------------------------


def checked(d: dv.Derivation, tell: Told) -> dict[str, Any]:
    """The rows of the check, each told when it is found, and the message about the first that is refuted."""
    started = time.perf_counter()
    checker, evidence, refuted = Checker(d, 0), Evidence(d.name), []
    for key, finding in checker.all_findings():
        evidence.rows.append(finding)
        refuted += [(key, finding)] if finding.verdict == REFUTED else []
        step = next((s for s in d.steps if s.id == key), None) if isinstance(key, int) else None
        eq = number(d, step.target) if step else number(d, adjoint(finding.what.partition(" ")[2]))
        tell({"what": finding.what, "verdict": finding.verdict, "by": finding.by, "eq": eq})
    said = checker.explain(refuted[0], evidence) if refuted else ""
    counts = {v: len(evidence.named(v)) for v in ("proved", "undecided", "refuted")}
    return {"refutation": said, "counts": counts, "proved": evidence.proved, "seconds": time.perf_counter() - started}


def planted(d: dv.Derivation, step: int) -> tuple[dv.Derivation, str]:
    """The derivation with the sign of the first term of one step turned, and what that is in words."""
    found = next((s for s in d.steps if s.id == step), None)
    if found is None or not found.after.terms:
        raise dv.DeriveError(f"there is no step {step} with a term to change")
    first, *rest = found.after.terms
    after = replace(found.after, terms=(first.scaled(sympy.Integer(-1)), *rest))
    steps = tuple(replace(s, after=after) if s.id == step else s for s in d.steps)
    return replace(d, steps=steps, evidence={}), f"In step {step} ({found.rule}) this was put:  {after}"
