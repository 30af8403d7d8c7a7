"""``derive show`` and ``derive emit``: the derivation, and the program that comes from it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from derive.derivation.closed.printing import plain, tex_name
from derive.derivation.derivation import Derivation
from derive.derivation.updates import Updated, with_update
from derive.language.errors import DeriveError
from derive.language.tensor import Tensor
from derive.show.document.options import Choices, read_options
from derive.show.latex import equation_latex
from numerics.subject.find import find

from .common import Json, Loss, ModelArgument, Order, Out, Wrt, names_of, plainly, progress, write, write_json


class Format(StrEnum):
    """The forms a derivation is shown in."""

    text = "text"
    latex = "latex"
    markdown = "markdown"
    html = "html"


@plainly
def show(
    model: ModelArgument,
    format: Annotated[Format, typer.Option("--format", "-f", help="How to write it.")] = Format.text,
    wrt: Wrt = None,
    order: Order = 1,
    loss: Loss = None,
    update: Annotated[
        str | None,
        typer.Option(metavar="adam", help="Write an optimizer's update under each gradient: sgd, momentum, adam, ..."),
    ] = None,
    notation: Annotated[
        str, typer.Option(metavar="both|index|matrix", help="In which notation results stand.")
    ] = "both",
    closed: Annotated[
        bool, typer.Option("--closed", help="Only the results, each as one expression of matrices in the inputs.")
    ] = False,
    helpers: Annotated[
        bool, typer.Option("--helpers", help="With --closed: names for what an expression would repeat.")
    ] = False,
    example: Annotated[bool, typer.Option("--example/--no-example", help="With a small worked example.")] = True,
    short: Annotated[
        bool, typer.Option("--short", help="Only what each layer computes and hands back, a line each.")
    ] = False,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Show the derivation of the gradients, step by step.

    Examples:

        derive show softmax_regression

        derive show model.dv --format html -o derivation.html

        derive show mlp --wrt W1,c1 --format latex --notation index

        derive show lenet5 --short

        derive show softmax_regression --update adam

        derive show quadratic.txt --wrt x --order 2

        derive show "logdet(X'*X)" --closed

        derive show "tr(inv(X'*X)*B)" --wrt X --closed --helpers

        derive show net.py:model --loss mean_squared_error

        derive show gelu --json
    """
    options: Choices = {"notation": notation, "example": example, "short": short}
    read_options(options)  # refused before the work, in every format
    if helpers and not closed:
        raise DeriveError("--helpers names what closed forms repeat; it goes with --closed")
    if closed and update is not None:
        raise DeriveError("--closed writes gradients alone, without --update")
    if closed and format is Format.html:
        raise DeriveError("--closed is written as text, latex or markdown, not as a page of html")
    with progress(f"deriving {model}"):
        derivation = find(model, names_of(wrt), loss).derive(order)
    if closed:
        _write_closed(derivation, format, out, as_json, helpers)
        return
    document: Derivation | Updated = derivation
    if update is not None:
        if order != 1:
            raise DeriveError("--update writes under gradients; it goes with --order 1")
        document = with_update(derivation, update)
    if as_json:
        write_json(described(derivation) | ({} if update is None else {"updates": _updates(document)}), out)
        return
    with progress(f"writing {len(derivation.steps)} steps"):
        text = getattr(document, f"to_{format.value}")(**options)
    write(text, out)


def _write_closed(d: Derivation, format: Format, out, as_json: bool, helpers: bool) -> None:
    """The results of a derivation in closed form, a line each."""
    groups = {"grads": r"\mathrm{d}", "jacobian": "J_", "hessian": "H_"}
    wanted = [(g, v) for g, v in d.results if g in (("hessian",) if d.kind == "hessian" else ("grads", "jacobian"))]
    forms = {t.name: d.closed_form(t.name, helpers) for _, value in wanted for t in value.values()}
    if as_json:
        named = {n: {h: plain(f) for h, f in form.helpers} for n, form in forms.items()} if helpers else {}
        found = {"ok": True, "closed": {n: plain(f.shown) for n, f in forms.items()}}
        write_json(found | ({"helpers": named} if helpers else {}), out)
    elif format is Format.text:
        write("\n".join(f"{n} = {f}" for n, f in forms.items()), out)
    else:
        lines = " \\\\\n".join(
            rf"{groups[g]}{{{', '.join(map(tex_name, k if isinstance(k, tuple) else (k,)))}}} &= {forms[t.name].to_latex()}"
            for g, value in wanted
            for k, t in value.items()
        )
        body = f"\\begin{{align*}}\n{lines}\n\\end{{align*}}"
        write(body if format is Format.latex else f"$$\n{body.replace('align*', 'aligned')}\n$$", out)


@plainly
def emit(
    model: ModelArgument, wrt: Wrt = None, order: Order = 1, loss: Loss = None, out: Out = None, as_json: Json = False
) -> None:
    """Write the JAX module that computes the loss and all gradients; it runs where only JAX is installed.

    Examples:

        derive emit softmax_regression

        derive emit model.dv -o my_gradients.py

        derive emit lenet5 --loss softmax_cross_entropy -o lenet5.py

        derive emit quadratic.txt --order 2 --json
    """
    subject = find(model, names_of(wrt), loss)
    derivation = subject.derive(order)
    kernel = subject.compile(derivation)
    if not as_json:
        write(kernel.source, out)
        return
    write_json(
        {
            "ok": True,
            "name": derivation.name,
            "kind": derivation.kind,
            "source": kernel.source,
            "inputs": [_tensor(t) for t in kernel.inputs],
            "results": {
                group: value.name if isinstance(value, Tensor) else sorted(map(_key, value))
                for group, value in derivation.results
            },
            "choices": [{"rule": rule, "equation": number, "why": why} for rule, number, why in kernel.choices],
        },
        out,
    )


def described(d: Derivation) -> dict:
    """A derivation as plain data."""
    return {
        "ok": True,
        "name": d.name,
        "kind": d.kind,
        "loss": d.loss.name,
        "wrt": [t.name for t in d.wrt],
        "inputs": [_tensor(t) for t in d.program.inputs],
        "sizes": [s.name for s in d.program.sizes()],
        "definitions": [str(e) for e in d.source],
        "equations": [_equation(e) for e in d.program],
        "gradients": {n: t.name for n, t in dict(d.results).get("grads", {}).items()},
        "steps": [
            {
                "id": s.id,
                "rule": s.rule,
                "target": s.target,
                "before": [str(e) for e in s.before],
                "after": str(s.after),
                "why": s.why,
                "parents": list(s.parents),
            }
            for s in d.steps
        ],
        "facts": [str(f) for f in d.facts],
        "kinks": list(d.kinks),
    }


def _updates(document) -> dict:
    return {
        "rule": document.rule.name,
        "references": list(document.rule.references),
        "equations": {n: [_equation(e) for e in document.equations(n)] for n in document.updates},
    }


def _equation(e) -> dict:
    return {"number": e.number, "name": e.name, "text": str(e), "latex": equation_latex(e), "from": list(e.parents)}


def _tensor(t) -> dict:
    return {"name": t.name, "axes": [str(a) for a in t.axes], "dtype": t.dtype, "role": t.role}


def _key(key) -> str:
    return ",".join(key) if isinstance(key, tuple) else key
