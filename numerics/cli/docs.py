"""``derive docs``: a folder of pages for a model."""

from __future__ import annotations

from pathlib import Path

import typer

from numerics.subject.find import find

from .common import Folder, Json, Loss, ModelArgument, Order, Seed, Wrt, names_of, plainly, write_json


@plainly
def docs(
    model: ModelArgument,
    wrt: Wrt = None,
    order: Order = 1,
    loss: Loss = None,
    out: Folder = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write a folder of pages for a model: definitions, derivation, generated source and evidence; no network needed.

    Examples:

        derive docs softmax_regression

        derive docs model.dv -o site/

        derive docs lenet5 -o lenet5_pages/
    """
    from numerics.pages.folder import write_folder

    subject = find(model, names_of(wrt), loss)
    derivation = subject.derive(order)
    folder = out or Path(f"{subject.name}_docs")
    ok = write_folder(derivation, subject.compile(derivation), folder, title=subject.name, text=subject.text, seed=seed)
    if as_json:
        write_json({"ok": ok, "folder": str(folder), "files": sorted(p.name for p in folder.iterdir() if p.is_file())})
    else:
        typer.echo(f"wrote {folder / 'index.html'}")
    if not ok:
        typer.echo("the checks refused this program: see the evidence", err=True)
        raise typer.Exit(1)
