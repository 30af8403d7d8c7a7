"""``derive check``: the exact check, the numeric ones, and a gradient that somebody wrote by hand."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from numerics.subject.find import find
from numerics.subject.userfile import function_from_file

from .common import Json, Loss, ModelArgument, Order, Out, Seed, Wrt, names_of, plainly, write_json


@plainly
def check(
    model: ModelArgument,
    wrt: Wrt = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="FILE.py:FUNCTION", help="A gradient written by hand: fn(**inputs) -> {name: array}."),
    ] = None,
    allow_unseen: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION", help="A condition that no input needs to meet, as printed after 'not seen: '."
        ),
    ] = None,
    order: Order = 1,
    loss: Loss = None,
    seed: Seed = 0,
    steps: Annotated[bool, typer.Option("--steps", help="List the exact check of every step.")] = False,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Check the derivation exactly and the compiled program numerically; exit code 1 if anything is refused.

    With --against, also compare a gradient that you wrote with the derived one, and say what is wrong with it.

    Examples:

        derive check attention

        derive check softmax_regression --against mine.py:gradients

        derive check huber --json

        derive check quadratic.txt --order 2 --seed 7
    """
    from numerics.checks.crosscheck import crosscheck
    from numerics.checks.verify import verify
    from numerics.pages.folder import brief, exact_check

    # read the user's file first: a wrong path should not wait for the derivation
    written = None if against is None else function_from_file(against)
    subject = find(model, names_of(wrt), loss)
    derivation = subject.derive(order)
    exact, found = exact_check(derivation, seed)
    kernel = subject.compile(derivation)
    allowed = allow_unseen or []
    report = verify(kernel, seed=seed, allow_unseen=allowed)
    cross = None if written is None else crosscheck(kernel, written, allow_unseen=allowed)
    ok = bool(found["ok"] and report.ok and (cross is None or cross.ok))
    if as_json or out is not None:
        write_json(
            {"ok": ok, "name": derivation.name, "exact": found, "verify": report.as_dict()}
            | ({} if cross is None else {"crosscheck": json.loads(cross.to_json())}),
            out,
        )
    if not as_json:
        typer.echo(exact if steps else brief(exact))
        for said in (report, cross):
            if said is not None:
                typer.echo(f"\n{said}")
    if not ok:
        raise typer.Exit(1)
